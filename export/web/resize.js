/**
 * Pillow's bilinear resize, bit for bit, so that scores agree with Python's.
 *
 * A canvas's own smoothing blurs differently. Pillow weighs with a triangle that
 * widens when an image shrinks (it antialiases), along one axis, then along the
 * other, and rounds to whole numbers in between.
 */

const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);
const STRIP = 256;

/** Returns, for each output position, where its inputs begin and their weights. */
function triangles(inputSize, outputSize) {
  const scale = inputSize / outputSize;
  const support = Math.max(scale, 1);
  const perPixel = 1 / support;
  return Array.from({ length: outputSize }, (_, position) => {
    const center = (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(inputSize, Math.trunc(center + support + 0.5));
    const values = [];
    for (let input = first; input < end; input++) {
      values.push(Math.max(0, 1 - Math.abs((input - center + 0.5) * perPixel)));
    }
    const total = values.reduce((sum, value) => sum + value, 0);
    const whole = values.map((value) =>
      Math.trunc(0.5 + (value / total) * (1 << PRECISION_BITS)),
    );
    return { first, weights: Int32Array.from(whole) };
  });
}

/**
 * Resizes lines of pixels, rows or columns.
 *
 * A layout says where a line's pixels lie in an array: line `n` begins at
 * `start + n * line`, and from one of its pixels to the next are `step` numbers.
 */
function resizeLines(source, sourceLayout, target, targetLayout, count, positions) {
  for (let line = 0; line < count; line++) {
    const origin = sourceLayout.start + line * sourceLayout.line;
    let to = targetLayout.start + line * targetLayout.line;
    for (const { first, weights } of positions) {
      let from = origin + first * sourceLayout.step;
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      for (let index = 0; index < weights.length; index++) {
        red += source[from] * weights[index];
        green += source[from + 1] * weights[index];
        blue += source[from + 2] * weights[index];
        from += sourceLayout.step;
      }
      target[to] = red >> PRECISION_BITS;
      target[to + 1] = green >> PRECISION_BITS;
      target[to + 2] = blue >> PRECISION_BITS;
      to += targetLayout.step;
    }
  }
}

/** Resizes along rows to RGB pixels, (size.height, width, 3). */
function resizeWidth(readBlock, size, width) {
  const positions = triangles(size.width, width);
  const stride = 3 * width;
  const target = new Uint8ClampedArray(size.height * stride);
  for (let top = 0; top < size.height; top += STRIP) {
    const count = Math.min(STRIP, size.height - top);
    const { pixels, channels } = readBlock(0, top, size.width, count);
    const from = { start: 0, line: channels * size.width, step: channels };
    const to = { start: top * stride, line: stride, step: 3 };
    resizeLines(pixels, from, target, to, count, positions);
  }
  return target;
}

/** Resizes along columns to RGB pixels, (height, size.width, 3). */
function resizeHeight(readBlock, size, height) {
  const positions = triangles(size.height, height);
  const stride = 3 * size.width;
  const target = new Uint8ClampedArray(height * stride);
  for (let left = 0; left < size.width; left += STRIP) {
    const count = Math.min(STRIP, size.width - left);
    const { pixels, channels } = readBlock(left, 0, count, size.height);
    const from = { start: 0, line: channels, step: channels * count };
    const to = { start: 3 * left, line: 3, step: stride };
    resizeLines(pixels, from, target, to, count, positions);
  }
  return target;
}

/** Returns a reader of blocks of RGB pixels that lie in memory. */
export function blocksOf(rgb, width) {
  return (left, top, blockWidth, blockHeight) => {
    const pixels = new Uint8ClampedArray(3 * blockWidth * blockHeight);
    for (let row = 0; row < blockHeight; row++) {
      const start = 3 * ((top + row) * width + left);
      const line = rgb.subarray(start, start + 3 * blockWidth);
      pixels.set(line, 3 * row * blockWidth);
    }
    return { pixels, channels: 3 };
  };
}

/**
 * Stretches an image as `Image.resize(size, Resampling.BILINEAR)` of Pillow 13 does.
 *
 * Pillow 12 always begins with the rows; where Pillow 13 begins with the columns, its
 * pixels differ from those of Pillow 12 by at most 1.
 *
 * @param {(left: number, top: number, width: number, height: number) =>
 *     {pixels: Uint8ClampedArray, channels: number}} readBlock returns the pixels,
 *     0..255, of a part of the image, red, green and blue being the first channels.
 *     The image is read in strips, so that a large photo never lies in memory twice.
 * @param {{height: number, width: number}} size of the image.
 * @param {{height: number, width: number}} wanted size.
 * @returns {Uint8ClampedArray} RGB pixels 0..255, (wanted.height, wanted.width, 3).
 */
export function resize(readBlock, size, wanted) {
  const lessRows = size.height - wanted.height;
  const lessColumns = size.width - wanted.width;
  if (lessRows > 0 && lessRows > 2 * lessColumns) {
    const shortened = resizeHeight(readBlock, size, wanted.height);
    const middle = { height: wanted.height, width: size.width };
    return resizeWidth(blocksOf(shortened, size.width), middle, wanted.width);
  }
  const narrowed = resizeWidth(readBlock, size, wanted.width);
  const middle = { height: size.height, width: wanted.width };
  return resizeHeight(blocksOf(narrowed, wanted.width), middle, wanted.height);
}
