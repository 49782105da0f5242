/** The page: what is dropped, chosen or pasted goes in, scores come out. */

import { droppedFiles, fetchModel, listedFiles, sortFiles } from "./files.js";
import { ImageError, readImage } from "./image.js";
import { ModelError, readGolden, readMetadata } from "./metadata.js";
import { compare, Scorer } from "./score.js";
import { hideResult, showGolden, showModel, showResult } from "./show.js";

const RUNTIME = new URL("node_modules/@litertjs/core/wasm/", location.href).pathname;
const DEFAULT_MODEL = "models/egan.tflite";

const main = document.getElementById("main");
const message = document.getElementById("message");
const check = document.getElementById("check");

let current;
let lastImage;
let turn = Promise.resolve();

/** Runs a task after those before it, and shows its error as a sentence. */
function inTurn(task) {
  turn = turn.then(async () => {
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
    main.setAttribute("aria-busy", "false");
  });
}

/** Replaces the model, once the new one is ready. */
async function useModel(files) {
  const { name, bytes, json, jsonName, readSample } = files;
  const metadata = readMetadata(bytes, name);
  const golden =
    json === undefined ? undefined : await readGolden(json, jsonName, bytes, name);
  const scorer = await Scorer.load(bytes, metadata, RUNTIME);
  current?.scorer.delete();
  current = { scorer, golden, readSample };
  check.disabled = !golden?.images.length;
  showModel(name, bytes.length, metadata, golden);
  if (lastImage) await scoreImage(lastImage);
}

async function scoreImage(file) {
  hideResult();
  if (!current) {
    throw new ModelError(
      "There is no model yet: expected one before an image. " +
        `Received: file=${file.name}. Choose a model below.`,
    );
  }
  const { scorer } = current;
  const start = performance.now();
  const image = await readImage(file, file.name, scorer.size);
  const reading = performance.now() - start;
  const scored = await scorer.score(image.pixels);
  lastImage = file;
  showResult(file.name, scorer, image, scored, reading);
}

async function take(found) {
  const { model, image } = await sortFiles(found);
  await (model ? useModel(model) : scoreImage(image));
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
    const { pixels } = await readImage(blob, expected.file, scorer.size);
    const actual = await scorer.score(pixels);
    rows.push({ expected, actual, ...compare(expected, actual, golden.tolerance) });
  }
  showGolden(rows, golden.tolerance);
}

for (const id of ["image-input", "model-input"]) {
  const input = document.getElementById(id);
  input.addEventListener("change", () => {
    const found = listedFiles(input.files);
    // Otherwise choosing the same file again would not be a change.
    input.value = "";
    if (found.length > 0) inTurn(() => take(found));
  });
}
check.addEventListener("click", () => inTurn(checkGolden));
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
  inTurn(async () => take(await found));
});
document.addEventListener("paste", (event) => {
  const found = listedFiles(event.clipboardData.files);
  if (found.length > 0) inTurn(() => take(found));
});

const named = new URLSearchParams(location.search).get("model");
inTurn(async () => {
  try {
    await useModel(await fetchModel(named ?? DEFAULT_MODEL));
  } finally {
    if (!current) document.getElementById("model-status").textContent = "No model yet.";
  }
});
