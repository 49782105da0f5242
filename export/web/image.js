/** An image file to the pixels a model reads, as `egan_keras` decodes it in Python. */

import { resize } from "./resize.js";

const MAX_BYTES = 256 * 1024 ** 2;
const MAX_PIXELS = 80_000_000;
const BEGINNINGS = {
  PNG: /^\x89PNG/,
  JPEG: /^\xff\xd8\xff/,
  GIF: /^GIF8/,
  WebP: /^RIFF[^]{4}WEBP/,
  BMP: /^BM/,
};

/** An image that cannot be scored; the message says why. */
export class ImageError extends Error {}

/**
 * Decodes an image and stretches it to a model's size.
 *
 * The first frame of an animation; EXIF orientation applied; colour profiles ignored,
 * as Pillow ignores them; transparent pixels laid on white; no aspect ratio kept.
 *
 * @param {Blob} blob the file.
 * @param {string} name of the file, for messages.
 * @param {{height: number, width: number}} wanted size.
 * @returns {Promise<{pixels: Uint8ClampedArray, height: number, width: number}>} RGB
 *     pixels 0..255, (wanted.height, wanted.width, 3), and the image's own size.
 * @throws {ImageError} if it is no image of a known type, damaged or too large.
 */
export async function readImage(blob, name, wanted) {
  await checkType(blob, name);
  const bitmap = await decode(blob, name);
  try {
    const { height, width } = bitmap;
    if (height * width > MAX_PIXELS) {
      throw new ImageError(
        `The image is too large: expected at most ${MAX_PIXELS} pixels. ` +
          `Received: file=${name} of ${width} x ${height} pixels. Scale it down.`,
      );
    }
    const pixels = resize(blocksOnWhite(bitmap), { height, width }, wanted);
    return { pixels, height, width };
  } finally {
    bitmap.close();
  }
}

async function checkType(blob, name) {
  if (blob.size > MAX_BYTES) {
    throw new ImageError(
      `The file is too large: expected at most ${MAX_BYTES} bytes. ` +
        `Received: file=${name} of ${blob.size} bytes. Scale the image down.`,
    );
  }
  const start = String.fromCharCode(
    ...new Uint8Array(await blob.slice(0, 12).arrayBuffer()),
  );
  if (!Object.values(BEGINNINGS).some((beginning) => beginning.test(start))) {
    throw new ImageError(
      "The file is not an image that this page reads: expected " +
        `${Object.keys(BEGINNINGS).join(", ")}. Received: file=${name}. ` +
        "Save it as PNG, or choose another file.",
    );
  }
}

async function decode(blob, name) {
  try {
    return await createImageBitmap(blob, {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
      imageOrientation: "from-image",
    });
  } catch {
    throw new ImageError(
      "The image cannot be decoded: expected a whole file. " +
        `Received: file=${name} of ${blob.size} bytes. Copy it again, or save it as PNG.`,
    );
  }
}

/** Returns a reader of blocks of a bitmap's RGBA pixels, laid on white. */
function blocksOnWhite(bitmap) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return (left, top, width, height) => {
    // Setting the size makes the canvas transparent again.
    canvas.width = width;
    canvas.height = height;
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, -left, -top);
    return { pixels: context.getImageData(0, 0, width, height).data, channels: 4 };
  };
}
