/** Where models and images come from: an address, a choice, a drop. */

import { ImageError } from "./image.js";
import { ModelError } from "./metadata.js";

/**
 * A model's files, before they are checked.
 *
 * @typedef {object} ModelFiles
 * @property {string} name of the `.tflite` file.
 * @property {Uint8Array} bytes of it.
 * @property {string} [jsonName] name of the JSON beside it.
 * @property {string} [json] its text; undefined without one.
 * @property {(path: string) => Promise<Blob>} readSample returns a golden image, named
 *     as in the JSON.
 */

/**
 * Fetches a model and the JSON beside it.
 *
 * @param {string} address of a `.tflite` file on this page's own server.
 * @returns {Promise<ModelFiles>}
 * @throws {ModelError} if the address leads elsewhere or to nothing.
 */
export async function fetchModel(address) {
  const url = new URL(address, location.href);
  if (url.origin !== location.origin || !url.pathname.endsWith(".tflite")) {
    throw new ModelError(
      "The model's address is not allowed: expected a .tflite file on this page's own " +
        `server. Received: model=${address}. Put the model into the folder models/.`,
    );
  }
  const response = await fetchFile(url);
  if (!response) {
    throw new ModelError(
      "There is no model at the address: expected a .tflite file. " +
        `Received: model=${address}. Put egan.tflite, egan.json and egan_golden/ into ` +
        "the folder models/, or choose a model below.",
    );
  }
  const jsonUrl = new URL(url);
  jsonUrl.pathname = url.pathname.replace(/\.tflite$/, ".json");
  const json = await fetchFile(jsonUrl);
  return {
    name: lastPart(url.pathname),
    bytes: new Uint8Array(await response.arrayBuffer()),
    jsonName: lastPart(jsonUrl.pathname),
    json: await json?.text(),
    readSample: async (path) => (await fetchFile(new URL(path, jsonUrl)))?.blob(),
  };
}

/** Returns the response, or undefined if the server has no such file. */
async function fetchFile(url) {
  const response = await fetch(url);
  return response.ok ? response : undefined;
}

/**
 * Tells a model with what belongs to it from images.
 *
 * @param {{path: string, file: File}[]} found the files chosen or dropped together.
 * @returns {Promise<{model: ModelFiles} | {images: {path: string, file: File}[]}>} hidden
 *     files, which systems leave in folders, are no images.
 * @throws {ModelError | ImageError} if they are neither one model nor images.
 */
export async function sortFiles(found) {
  const models = found.filter(({ path }) => path.endsWith(".tflite"));
  const texts = found.filter(({ path }) => path.endsWith(".json"));
  if (models.length === 1) return { model: await gatherModel(models[0], texts, found) };
  if (models.length > 1 || (texts.length > 0 && texts.length === found.length)) {
    throw new ModelError(
      "The files are not one model: expected one .tflite file, with the .json of the " +
        `same name. Received: ${list([...models, ...texts])}. Choose both together.`,
    );
  }
  const images = found.filter(({ path }) => !lastPart(path).startsWith("."));
  if (images.length === 0) {
    throw new ImageError(
      "There are no images: expected one or more, or a folder of them. " +
        `Received: ${list(found)}. Choose others.`,
    );
  }
  return { images };
}

async function gatherModel(model, texts, found) {
  const stem = lastPart(model.path).replace(/\.tflite$/, "");
  const json =
    texts.find(({ path }) => lastPart(path) === `${stem}.json`) ??
    (texts.length === 1 ? texts[0] : undefined);
  return {
    name: model.file.name,
    bytes: new Uint8Array(await model.file.arrayBuffer()),
    jsonName: json?.file.name,
    json: await json?.file.text(),
    readSample: async (sample) =>
      (
        found.find(({ path }) => `/${path}`.endsWith(`/${sample}`)) ??
        found.find(({ path }) => lastPart(path) === lastPart(sample))
      )?.file,
  };
}

function list(found) {
  const names = found.slice(0, 4).map(({ path }) => path);
  if (found.length > names.length) names.push(`${found.length - names.length} more`);
  return `files=${names.join(", ") || "none"}`;
}

function lastPart(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * Returns the files of a drop, those in dropped folders included.
 *
 * @param {DataTransfer} transfer of the drop's event, which must still be running.
 * @returns {Promise<{path: string, file: File}[]>}
 */
export async function droppedFiles(transfer) {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.());
  if (entries.some((entry) => entry?.isDirectory)) {
    return (await Promise.all(entries.filter(Boolean).map(filesBelow))).flat();
  }
  return listedFiles(transfer.files);
}

/** Returns files with their paths, from what an input or a clipboard lists. */
export function listedFiles(files) {
  return Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }));
}

async function filesBelow(entry) {
  if (entry.isFile) {
    const file = await new Promise((found, failed) => entry.file(found, failed));
    return [{ path: entry.fullPath.slice(1), file }];
  }
  const reader = entry.createReader();
  const below = [];
  for (;;) {
    // A reader hands out a folder in parts, and an empty part at its end.
    const part = await new Promise((found, failed) => reader.readEntries(found, failed));
    if (part.length === 0) return below.flat();
    below.push(...(await Promise.all(part.map(filesBelow))));
  }
}
