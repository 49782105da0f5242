/**
 * What a model says of itself: the JSON inside the `.tflite` file, and the JSON beside
 * it, which names the file and its golden samples.
 */

const NAME = "egan_keras";
const FORMAT = "egan-keras";
const FORMAT_VERSION = 1;
const EXPORT_AGAIN = "Export it with `egan-keras export RUN --format tflite`.";

/** A model, or a file beside it, that cannot be used; the message says why. */
export class ModelError extends Error {}

/** Reads the tables of a flatbuffer; reading past the end throws a RangeError. */
class Flatbuffer {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Follows the offset stored at a position. */
  follow(position) {
    return position + this.view.getUint32(position, true);
  }

  /** Returns where a table's field is stored, or 0 if the table lacks it. */
  field(table, index) {
    const layout = table - this.view.getInt32(table, true);
    const entry = 4 + 2 * index;
    if (entry >= this.view.getUint16(layout, true)) return 0;
    const offset = this.view.getUint16(layout + entry, true);
    return offset && table + offset;
  }

  /** Returns where the tables of a field that is a vector of tables are stored. */
  tables(table, index) {
    const field = this.field(table, index);
    if (!field) return [];
    const vector = this.follow(field);
    const count = this.view.getUint32(vector, true);
    if (count > this.bytes.length / 4) throw new RangeError("vector past the end");
    return Array.from({ length: count }, (_, item) => this.follow(vector + 4 + 4 * item));
  }

  /** Returns the bytes of a field that is a string or a vector of bytes. */
  bytesOf(table, index) {
    const field = this.field(table, index);
    if (!field) return new Uint8Array();
    const vector = this.follow(field);
    const end = vector + 4 + this.view.getUint32(vector, true);
    if (end > this.bytes.length) throw new RangeError("bytes past the end");
    return this.bytes.subarray(vector + 4, end);
  }
}

/** Returns the UTF-8 text of a model's metadata entry, or undefined without one. */
function readEntry(bytes) {
  const model = new Flatbuffer(bytes);
  const root = model.follow(0);
  const [buffers, entries] = [model.tables(root, 4), model.tables(root, 6)];
  const contents = buffers.map((buffer) => model.bytesOf(buffer, 0));
  const decoder = new TextDecoder();
  for (const entry of entries) {
    if (decoder.decode(model.bytesOf(entry, 0)) !== NAME) continue;
    const index = model.field(entry, 1);
    return decoder.decode(contents[index ? model.view.getUint32(index, true) : 0]);
  }
  return undefined;
}

/**
 * Returns the checked metadata that a `.tflite` file carries.
 *
 * @param {Uint8Array} bytes of the file.
 * @param {string} name of the file, for messages.
 * @throws {ModelError} if it is no TFLite model, damaged, or not of egan_keras.
 */
export function readMetadata(bytes, name) {
  if (String.fromCharCode(...bytes.subarray(4, 8)) !== "TFL3") {
    throw new ModelError(
      "The file is no TFLite model: expected the letters TFL3 at its fifth byte. " +
        `Received: file=${name}. ${EXPORT_AGAIN}`,
    );
  }
  let text;
  try {
    text = readEntry(bytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ModelError(
      "The model is damaged: expected a whole TFLite file. " +
        `Received: file=${name} of ${bytes.length} bytes. Copy it here again.`,
    );
  }
  if (text === undefined) {
    throw new ModelError(
      "The model is not one of egan_keras: expected a metadata entry named " +
        `${NAME} in it. Received: file=${name}. ${EXPORT_AGAIN}`,
    );
  }
  const metadata = parse(text, name);
  checkMetadata(metadata, name);
  return metadata;
}

/** Returns what a JSON text holds, which must be an object. */
function parse(text, name) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (value === null || typeof value !== "object") {
    throw new ModelError(
      "The metadata is not JSON: expected an object. " +
        `Received: file=${name}. Copy the file here again, or export the model again.`,
    );
  }
  return value;
}

/** Refuses metadata that this page cannot follow. */
function checkMetadata(metadata, name) {
  const { format, format_version: version, input, threshold } = metadata;
  if (format !== FORMAT || version !== FORMAT_VERSION) {
    throw new ModelError(
      "The model's metadata has another format: expected " +
        `format=${FORMAT}, format_version=${FORMAT_VERSION}. Received: format=${format}, ` +
        `format_version=${version} in ${name}. Use this page and egan_keras of the ` +
        "same version.",
    );
  }
  const [batch, height, width, channels] = input?.shape ?? [];
  const whole = [height, width].every((size) => Number.isInteger(size) && size > 0);
  if (batch !== 1 || !whole || channels !== 3) {
    throw new ModelError(
      "The model's input does not fit: expected one RGB image, shape 1,height,width,3. " +
        `Received: shape=${input?.shape} in ${name}. Export it with ` +
        "--batch-size 1.",
    );
  }
  if (!["uint8", "float32"].includes(input.dtype)) {
    throw new ModelError(
      "The model's input type does not fit: expected uint8 or float32. " +
        `Received: dtype=${input.dtype} in ${name}. ${EXPORT_AGAIN}`,
    );
  }
  if (typeof threshold?.threshold !== "number") {
    throw new ModelError(
      "The model's metadata is incomplete: expected a threshold. " +
        `Received: threshold=${threshold?.threshold} in ${name}. ${EXPORT_AGAIN}`,
    );
  }
}

/**
 * Returns the names of a class's folders; the word itself if the model knows none.
 *
 * @param {object} metadata that `readMetadata` returned.
 * @param {"majority" | "minority"} kind
 * @returns {string[]}
 */
export function classNames(metadata, kind) {
  const names = metadata.classes?.[kind];
  return Array.isArray(names) && names.length > 0 ? names : [kind];
}

/**
 * Returns the golden samples that the JSON beside a model names.
 *
 * @param {string} text of the JSON file.
 * @param {string} jsonName of that file, for messages.
 * @param {Uint8Array} bytes of the model, whose digest must be the one in the JSON.
 * @param {string} name of the model's file, for messages.
 * @returns {Promise<{tolerance: number,
 *     images: {file: string, score: number, is_minority: number}[]}>}
 * @throws {ModelError} if the JSON describes another file, or is not of egan_keras.
 */
export async function readGolden(text, jsonName, bytes, name) {
  const { file, golden } = parse(text, jsonName);
  const complete = typeof golden?.tolerance === "number" && Array.isArray(golden.images);
  if (typeof file?.bytes !== "number" || !complete) {
    throw new ModelError(
      "The JSON is not that of a model of egan_keras: expected the entries file and " +
        `golden in it. Received: file=${jsonName}. Take the one that the export wrote ` +
        "beside the model.",
    );
  }
  const digest = await sha256(bytes);
  if (file.bytes !== bytes.length || (digest && digest !== file.sha256)) {
    throw new ModelError(
      "Model and JSON do not belong together: expected the file that the JSON " +
        `describes, ${file.bytes} bytes with SHA-256 ${file.sha256}. Received: ` +
        `file=${name} of ${bytes.length} bytes with SHA-256 ${digest ?? "unknown"}. ` +
        "Take both from the same export.",
    );
  }
  return golden;
}

/** Returns a digest in hexadecimal; browsers compute none for pages without https. */
async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return undefined;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
