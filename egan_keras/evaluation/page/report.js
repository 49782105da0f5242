"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const slider = element("slider");
const field = element("threshold");
let threshold = data.threshold;

/** Returns how many images of a class have scores below the threshold. */
function countBelow({ n, scores, below }) {
  if (threshold === data.threshold) return below;
  let low = 0;
  let high = scores.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (scores[middle] < threshold) low = middle + 1;
    else high = middle;
  }
  if (low === scores.length) return n;
  if (low === 0 || scores.length === n) return low;
  // Of thinned scores only the ranks are known, between two of which the count is.
  const rank = (index) => Math.round((index * (n - 1)) / (scores.length - 1));
  return Math.round((rank(low - 1) + 1 + rank(low)) / 2);
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const brief = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

function share(part, all) {
  if (!all) return "–";
  const value = part / all;
  return value >= 0.01 || value === 0 ? value.toFixed(3) : value.toPrecision(2);
}

/** Returns the number in a field; NaN, and the field is marked, if it cannot be. */
function numberIn(id, most = Infinity) {
  const input = element(id);
  const value = input.valueAsNumber;
  const isWrong = input.validity.badInput || value < 0 || value > most;
  input.setAttribute("aria-invalid", String(isWrong));
  return isWrong ? NaN : value;
}

function showExpected(sensitivity, specificity) {
  element("precision").textContent = "–";
  const prevalence = numberIn("prevalence", 100) / 100;
  const costs = { miss: numberIn("miss"), alarm: numberIn("alarm") };
  if (sensitivity === null || specificity === null) {
    element("expected").textContent =
      "What to expect elsewhere needs images of both classes.";
    return;
  }
  if (Number.isNaN(prevalence)) {
    element("expected").textContent =
      "Enter the share of minority images, from 0 to 100 %, to see what to expect.";
    element("cost").textContent = "";
    return;
  }
  const found = 1000 * prevalence * sensitivity;
  const alarms = 1000 * (1 - prevalence) * (1 - specificity);
  const missed = 1000 * prevalence * (1 - sensitivity);
  element("precision").textContent = share(found, found + alarms);
  element("expected").textContent =
    `Of 1,000 images ${brief.format(found + alarms)} would be called minority, ` +
    `${brief.format(found)} of them rightly; ${brief.format(missed)} minority images ` +
    "would be missed.";
  if (Number.isNaN(costs.miss) || Number.isNaN(costs.alarm)) {
    element("cost").textContent =
      "Enter both costs, in the same unit, to see what 1,000 images would cost.";
    return;
  }
  const cost = missed * costs.miss + alarms * costs.alarm;
  const never = 1000 * prevalence * costs.miss;
  const always = 1000 * (1 - prevalence) * costs.alarm;
  element("cost").textContent =
    `Expected cost per 1,000 images: ${brief.format(cost)}. Calling none minority ` +
    `would cost ${brief.format(never)}, calling all so ${brief.format(always)}.`;
}

function show() {
  const { majority, minority } = data.classes;
  const found = countBelow(minority);
  const alarms = countBelow(majority);
  const missed = minority.n - found;
  const passed = majority.n - alarms;
  for (const [id, count] of Object.entries({ found, missed, alarms, passed })) {
    element(id).textContent = whole.format(count);
  }
  element("sensitivity").textContent = share(found, minority.n);
  element("specificity").textContent = share(passed, majority.n);
  showExpected(
    minority.n ? found / minority.n : null,
    majority.n ? passed / majority.n : null,
  );
  const place = (1000 * (threshold - data.low)) / (data.high - data.low);
  const inside = Math.min(1000, Math.max(0, place));
  for (const line of document.querySelectorAll(".strip .line")) {
    line.setAttribute("x1", inside);
    line.setAttribute("x2", inside);
  }
  for (const area of document.querySelectorAll(".strip .called")) {
    area.setAttribute("width", inside);
  }
  element("chosen").textContent = String(threshold);
  slider.setAttribute(
    "aria-valuetext",
    `${brief.format(threshold)}: ${found} found, ${missed} missed, ` +
      `${alarms} false alarms`,
  );
}

function stepOf(value) {
  return Math.round((data.steps * (value - data.low)) / (data.high - data.low));
}

slider.addEventListener("input", () => {
  const exact = data.low + (slider.valueAsNumber / data.steps) * (data.high - data.low);
  threshold = Number(exact.toPrecision(5));
  field.value = threshold;
  field.removeAttribute("aria-invalid");
  show();
});
field.addEventListener("input", () => {
  const isNumber = Number.isFinite(field.valueAsNumber);
  field.setAttribute("aria-invalid", String(!isNumber));
  if (!isNumber) return;
  threshold = field.valueAsNumber;
  slider.value = stepOf(threshold);
  show();
});
element("back").addEventListener("click", () => {
  threshold = data.threshold;
  field.value = threshold;
  field.removeAttribute("aria-invalid");
  slider.value = stepOf(threshold);
  show();
});
for (const id of ["prevalence", "miss", "alarm"]) {
  element(id).addEventListener("input", show);
}
// Browsers put back what stood in fields when a page was left.
element("back").click();
