/** The table of many images: a row for each, lowest scores first. */

import { classNames } from "./metadata.js";
import { overlaid, thumbnail } from "./pictures.js";

const LONGEST = 64; // pixels of a small picture's longer side
const SHORT = 5; // seconds of which the time left is not told

const [list, rows, summary, running, progress, progressText] = [
  "list",
  "list-rows",
  "list-summary",
  "running",
  "progress",
  "progress-text",
].map((id) => document.getElementById(id));

let counts;
let start;

/** Hides the table, so that it is not taken for that of other images. */
export function hideList() {
  list.hidden = true;
}

/** Shows an empty table, and that so many images are to come. */
export function beginList(total) {
  counts = { minority: 0, majority: 0, unread: 0 };
  start = performance.now();
  rows.replaceChildren();
  progress.max = total;
  showProgress();
  summary.textContent = "";
  running.hidden = false;
  list.hidden = false;
}

/**
 * Adds an image's row where its score belongs.
 *
 * @param {string} path of the image.
 * @param {import("./score.js").Scorer} scorer
 * @param {{image: object, scored: object} | {error: Error}} result what `readImage` and
 *     `Scorer.score` returned, or why the image has none.
 * @param {() => void} choose shows the image with its score.
 */
export function addRow(path, scorer, { image, scored, error }, choose) {
  const row = document.createElement("tr");
  const score = error ? Infinity : scored.score;
  row.dataset.score = score;
  if (error) {
    counts.unread += 1;
    row.append(cellOf(error.message, 3));
  } else {
    const kind = scored.isMinority ? "minority" : "majority";
    counts[kind] += 1;
    const seen = scored.heatMap ? overlaid(image.pixels, scored.heatMap) : image.pixels;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "row";
    const name = document.createElement("span");
    name.textContent = path;
    button.append(thumbnail(seen, scorer.size, LONGEST), name);
    button.addEventListener("click", () => {
      rows.querySelector("[aria-current]")?.removeAttribute("aria-current");
      button.setAttribute("aria-current", "true");
      choose();
    });
    const header = document.createElement("th");
    header.scope = "row";
    header.append(button);
    row.append(header, cellOf(badge(scorer, kind)), cellOf(number(score)));
  }
  const after = Array.from(rows.children).find((other) => other.dataset.score > score);
  rows.insertBefore(row, after ?? null);
  showProgress();
}

/** Tells what was found, and whether all images were scored. */
export function endList() {
  running.hidden = true;
  const { minority, majority, unread } = counts;
  summary.textContent =
    (done() < progress.max ? `Stopped after ${done()} of ${progress.max}. ` : "") +
    `${minority} minority, ${majority} majority` +
    (unread ? `, ${unread} could not be read.` : ".");
}

function done() {
  return counts.minority + counts.majority + counts.unread;
}

function showProgress() {
  progress.value = done();
  const each = (performance.now() - start) / 1000 / done();
  const left = Math.round(each * (progress.max - done()));
  progressText.textContent =
    `${done()} of ${progress.max}` + (left >= SHORT ? `, about ${left} s left` : "");
}

function cellOf(content, columns = 1) {
  const cell = document.createElement("td");
  cell.colSpan = columns;
  cell.append(content);
  return cell;
}

function badge(scorer, kind) {
  const shown = document.createElement("span");
  shown.className = `badge ${kind}`;
  shown.textContent = kind;
  shown.title = classNames(scorer.metadata, kind).join(" or ");
  return shown;
}

function number(value) {
  const data = document.createElement("data");
  data.value = value;
  data.textContent = value.toFixed(3);
  return data;
}
