/** What the page shows of a model, a score and golden samples. */

import { classNames } from "./metadata.js";
import { draw, overlaid } from "./pictures.js";

const elements = Object.fromEntries(
  Array.from(document.querySelectorAll("[id]"), (element) => [element.id, element]),
);

/** Shows a model's metadata, and forgets the golden samples of the one before. */
export function showModel(name, byteCount, metadata, golden) {
  const { input, threshold, pairing, quantize } = metadata;
  const [, height, width] = input.shape;
  elements["model-status"].textContent =
    `${name}, ${Math.round(byteCount / 1000)} kB` +
    (golden ? "" : "; without its .json neither damage nor golden samples can be checked");
  elements.majority.textContent = classNames(metadata, "majority").join(", ");
  elements.minority.textContent = classNames(metadata, "minority").join(", ");
  elements.input.textContent = `${width} x ${height} pixels, ${input.dtype}`;
  elements.network.textContent = `${pairing?.replace("->", " -> ") ?? "unnamed"}, ${quantize}`;
  elements.guarantee.textContent =
    threshold.guarantee ??
    "The threshold is not calibrated: nothing is guaranteed of its decisions.";
  elements.model.hidden = false;
  elements.golden.hidden = true;
}

/** Hides a result, so that it is not taken for that of another image. */
export function hideResult() {
  elements.result.hidden = true;
}

/** Shows the image as the model sees it, its score and the decision. */
export function showResult(name, scorer, image, scored, reading) {
  const { threshold } = scorer.metadata.threshold;
  const { height, width } = scorer.size;
  const kind = scored.isMinority ? "minority" : "majority";
  draw(elements.seen, image.pixels, scorer.size);
  elements.where.hidden = !scored.heatMap;
  if (scored.heatMap) {
    draw(elements.marked, overlaid(image.pixels, scored.heatMap), scorer.size);
  }
  elements["seen-caption"].textContent =
    `${name} as the model sees it: ${width} x ${height} pixels` +
    (image.width === width && image.height === height
      ? ""
      : `, stretched from ${image.width} x ${image.height}`);
  elements.decision.textContent = classNames(scorer.metadata, kind).join(" or ");
  elements.kind.textContent = kind;
  elements.kind.className = `badge ${kind}`;
  elements.comparison.textContent = scored.isMinority
    ? "The score is below the threshold."
    : "The score is not below the threshold.";
  setNumber(elements.score, scored.score, scored.score.toFixed(3));
  setNumber(elements.threshold, threshold, threshold.toFixed(3));
  setNumber(elements.milliseconds, scored.milliseconds, asTime(scored.milliseconds));
  setNumber(elements.reading, reading, asTime(reading));
  elements.result.hidden = false;
  // It stands above a table that may be long.
  elements.result.scrollIntoView({ block: "nearest" });
}

/** Shows each golden sample's difference, and whether it passed. */
export function showGolden(rows, tolerance) {
  const passed = rows.filter((row) => row.passed).length;
  const largest = Math.max(...rows.map((row) => row.difference));
  const times = rows.map((row) => row.actual.milliseconds).sort((a, b) => a - b);
  elements["golden-summary"].textContent =
    `${passed} of ${rows.length} passed. Largest difference ${asDifference(largest)}, ` +
    `tolerance ${tolerance}. Median time ${asTime(times[Math.trunc(times.length / 2)])}.`;
  elements["golden-summary"].classList.toggle("failed", passed < rows.length);
  elements["golden-rows"].replaceChildren(...rows.map(goldenRow));
  elements.golden.hidden = false;
}

function goldenRow({ expected, actual, difference, passed }) {
  const row = document.createElement("tr");
  row.classList.toggle("failed", !passed);
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = expected.file.slice(expected.file.lastIndexOf("/") + 1);
  const shown = [
    [passed, passed ? "passed" : "failed"],
    [difference, asDifference(difference)],
    [expected.score, expected.score.toFixed(3)],
    [actual.score, actual.score.toFixed(3)],
  ];
  const cells = shown.map(([value, text]) => {
    const cell = document.createElement("td");
    const data = document.createElement("data");
    setNumber(data, value, text);
    cell.append(data);
    return cell;
  });
  row.append(name, ...cells);
  return row;
}

/** Shows a number rounded, and keeps all of it for programs. */
function setNumber(data, value, text) {
  data.value = value;
  data.textContent = text;
}

function asTime(milliseconds) {
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}

function asDifference(difference) {
  const small = difference > 0 && difference < 0.001;
  return small ? difference.toExponential(1) : String(Number(difference.toPrecision(2)));
}
