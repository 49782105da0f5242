/** Pixels and heat maps on canvases. */

/**
 * Draws pixels, at their own size.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8ClampedArray} pixels RGB, (height, width, 3).
 */
export function draw(canvas, pixels, { height, width }) {
  canvas.height = height;
  canvas.width = width;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let pixel = 0; pixel < height * width; pixel++) {
    const rgb = pixels.subarray(3 * pixel, 3 * pixel + 3);
    image.data.set(rgb, 4 * pixel);
    image.data[4 * pixel + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Returns a small canvas with the pixels on it, so that thousands fit into memory. */
export function thumbnail(pixels, size, longest) {
  const whole = document.createElement("canvas");
  draw(whole, pixels, size);
  const scale = Math.min(1, longest / Math.max(size.height, size.width));
  const small = document.createElement("canvas");
  small.height = Math.max(1, Math.round(scale * size.height));
  small.width = Math.max(1, Math.round(scale * size.width));
  small.getContext("2d").drawImage(whole, 0, 0, small.width, small.height);
  return small;
}

/**
 * Returns an image in shades of gray under its heat map, as egan_keras draws it.
 *
 * The colour begins at 0 and is strongest from 1 on, whatever the image's largest.
 *
 * @param {Uint8ClampedArray} pixels RGB, (height, width, 3).
 * @param {Float32Array} heatMap (height, width).
 * @returns {Uint8ClampedArray} RGB, (height, width, 3).
 */
export function overlaid(pixels, heatMap) {
  const colour = [0xd5, 0x5e, 0x00];
  const drawn = new Uint8ClampedArray(pixels.length);
  heatMap.forEach((heat, pixel) => {
    const [red, green, blue] = pixels.subarray(3 * pixel, 3 * pixel + 3);
    const gray = 0.299 * red + 0.587 * green + 0.114 * blue;
    const opaque = 0.75 * Math.min(Math.max(heat, 0), 1);
    const mixed = colour.map((part) => (1 - opaque) * gray + opaque * part);
    drawn.set(mixed, 3 * pixel);
  });
  return drawn;
}
