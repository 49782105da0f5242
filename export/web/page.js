/** The page: what is dropped, chosen or pasted goes in, scores come out. */

import { droppedFiles, fetchModel, listedFiles, sortFiles } from "./files.js";
import { ImageError, readImage } from "./image.js";
import { addRow, beginList, endList, hideList } from "./list.js";
import { ModelError, readGolden, readMetadata } from "./metadata.js";
import { compare, Scorer } from "./score.js";
import { hideResult, showGolden, showModel, showResult } from "./show.js";

const RUNTIME = new URL("node_modules/@litertjs/core/wasm/", location.href).pathname;
const DEFAULT_MODEL = "models/egan.tflite";

const main = document.getElementById("main");
const message = document.getElementById("message");
const check = document.getElementById("check");

let current;
let lastImages;
let shown;
let running = 0;
let turn = Promise.resolve();
let stopper = new AbortController();

/** Runs a task, and shows its error as a sentence. */
async function attempt(task) {
  running += 1;
  main.setAttribute("aria-busy", "true");
  message.hidden = true;
  try {
    await task();
  } catch (error) {
    const expected = error instanceof ModelError || error instanceof ImageError;
    if (!expected) console.error(error);
    message.textContent = expected
      ? error.message
      : `Something went wrong: ${error.message}. Reload the page and try again.`;
    message.hidden = false;
  }
  running -= 1;
  main.setAttribute("aria-busy", String(running > 0));
}

/** Stops the scoring of many images, then runs a task after those before it. */
function inTurn(task) {
  stopper.abort();
  stopper = new AbortController();
  const { signal } = stopper;
  turn = turn.then(() => attempt(() => task(signal)));
}

/** Replaces the model, once the new one is ready. */
async function useModel(files, signal) {
  const { name, bytes, json, jsonName, readSample } = files;
  const metadata = readMetadata(bytes, name);
  const golden =
    json === undefined ? undefined : await readGolden(json, jsonName, bytes, name);
  const scorer = await Scorer.load(bytes, metadata, RUNTIME);
  current?.scorer.delete();
  current = { scorer, golden, readSample };
  check.disabled = !golden?.images.length;
  showModel(name, bytes.length, metadata, golden);
  if (lastImages) await scoreImages(lastImages, signal);
}

/** Shows one image with its score, or a table of many, until the signal stops it. */
async function scoreImages(images, signal) {
  hideResult();
  hideList();
  if (!current) {
    throw new ModelError(
      "There is no model yet: expected one before an image. " +
        `Received: file=${images[0].path}. Choose a model below.`,
    );
  }
  if (images.length === 1) {
    await scoreImage(images[0]);
  } else {
    await scoreMany(images, signal);
  }
  lastImages = images;
}

async function scoreMany(images, signal) {
  const { scorer } = current;
  beginList(images.length);
  for (const image of images) {
    if (signal.aborted) break;
    const result = await read(image, scorer).catch((error) => {
      if (!(error instanceof ImageError)) throw error;
      return { error };
    });
    addRow(image.path, scorer, result, () => attempt(() => scoreImage(image)));
  }
  endList();
}

/** Shows an image and its score, unless another was chosen meanwhile. */
async function scoreImage(image) {
  shown = image;
  const { scorer } = current;
  const result = await read(image, scorer);
  if (shown !== image) return;
  showResult(image.path, scorer, result.image, result.scored, result.reading);
}

async function read({ path, file }, scorer) {
  const start = performance.now();
  const image = await readImage(file, path, scorer.size);
  const reading = performance.now() - start;
  return { image, reading, scored: await scorer.score(image.pixels) };
}

async function take(found, signal) {
  const { model, images } = await sortFiles(found);
  await (model ? useModel(model, signal) : scoreImages(images, signal));
}

async function checkGolden() {
  const { scorer, golden, readSample } = current;
  const rows = [];
  for (const expected of golden.images) {
    const blob = await readSample(expected.file);
    if (!blob) {
      throw new ModelError(
        "A golden sample is missing: expected it beside the model. " +
          `Received: file=${expected.file}. Choose the model, its .json and its golden ` +
          "images together, or drop the folder that holds them.",
      );
    }
    const { scored: actual } = await read({ path: expected.file, file: blob }, scorer);
    rows.push({ expected, actual, ...compare(expected, actual, golden.tolerance) });
  }
  showGolden(rows, golden.tolerance);
}

for (const id of ["image-input", "folder-input", "model-input"]) {
  const input = document.getElementById(id);
  input.addEventListener("change", () => {
    const found = listedFiles(input.files);
    // Otherwise choosing the same file again would not be a change.
    input.value = "";
    if (found.length > 0) inTurn((signal) => take(found, signal));
  });
}
check.addEventListener("click", () => inTurn(checkGolden));
document.getElementById("stop").addEventListener("click", () => stopper.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stopper.abort();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", () => {
  document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const found = droppedFiles(event.dataTransfer);
  inTurn(async (signal) => take(await found, signal));
});
document.addEventListener("paste", (event) => {
  const found = listedFiles(event.clipboardData.files);
  if (found.length > 0) inTurn((signal) => take(found, signal));
});

const named = new URLSearchParams(location.search).get("model");
inTurn(async (signal) => {
  try {
    await useModel(await fetchModel(named ?? DEFAULT_MODEL), signal);
  } finally {
    if (!current) document.getElementById("model-status").textContent = "No model yet.";
  }
});
