"use strict";

const element = (id) => document.getElementById(id);
const KEYS = {
  1: "minority", m: "minority", arrowleft: "minority",
  0: "majority", j: "majority", arrowright: "majority",
  u: "unsure", backspace: "undo", t: "train",
};
const LABELS = ["minority", "majority", "unsure"];
const MOST_DIGITS = 9;
const SMALL = 200;
const MILLISECONDS_BETWEEN_LOOKS = 1000;

let state = null;
let isBusy = false;
// Kept, or the browser might forget what was loaded ahead.
let ahead = [];

function source(what, shown) {
  return `${what}/${shown.number}.jpg${what === "heat" ? `?v=${state.generation}` : ""}`;
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Marks a button, which keeps the focus in either case. */
function enable(id, isPossible) {
  element(id).setAttribute("aria-disabled", String(!isPossible));
}

/** Shows a picture, unless it is shown already, and says what to a screen reader. */
function setPicture(id, url, alt) {
  const image = element(id);
  image.alt = alt;
  if (image.getAttribute("src") === url) return;
  image.classList.remove("small");
  image.setAttribute("src", url);
}

/** The name of what is rare: of its class, unless there are several. */
function rare() {
  return state.classes.minority2 ? "minority" : state.classes.minority;
}

/** Makes a button for each further minority class, with the next digit as its key. */
function addButtons() {
  for (let digit = 2; state.classes[`minority${digit}`]; digit += 1) {
    const kind = `minority${digit}`;
    if (element(kind)) continue;
    const button = element("minority").cloneNode(true);
    button.id = kind;
    button.removeAttribute("aria-keyshortcuts");
    button.lastElementChild.textContent = "";
    if (digit <= MOST_DIGITS) {
      KEYS[digit] = kind;
      button.setAttribute("aria-keyshortcuts", String(digit));
      button.lastElementChild.textContent = String(digit);
    }
    button.firstElementChild.textContent = state.classes[kind];
    button.addEventListener("click", () => act(kind));
    element("majority").before(button);
    LABELS.push(kind);
  }
}

function showImage() {
  const { current, threshold } = state;
  element("shown").hidden = !current;
  element("done").hidden = Boolean(current);
  for (const kind of LABELS) enable(kind, current);
  if (!current) {
    element("done").textContent =
      "No image is left to label. Press Ctrl-C in the terminal to see how to train for good.";
    return;
  }
  setPicture("image", source("image", current), `Image ${current.name}`);
  element("heat").hidden = !state.has_heat_maps;
  if (state.has_heat_maps) {
    const alt = `The same image; coloured where it speaks for ${rare()}`;
    setPicture("heat", source("heat", current), alt);
  }
  element("name").textContent = current.name;
  const called = current.called ? rare() : state.classes.majority;
  const like = current.most_like ? `, most like ${current.most_like} of the rare` : "";
  const alien = current.alien ? " Unlike anything seen in training." : "";
  element("score").textContent =
    `score ${current.score.toFixed(2)}, threshold ${threshold.toFixed(2)}: ` +
    `the model says ${called}${like}.${alien}`;
}

function loadAhead() {
  ahead = [];
  if (!state.next) return;
  const kinds = state.has_heat_maps ? ["image", "heat"] : ["image"];
  for (const what of kinds) {
    const image = new Image();
    image.src = source(what, state.next);
    ahead.push(image);
  }
}

function show(found) {
  state = found;
  const { minority, majority } = state.classes;
  element("minority").firstElementChild.textContent = minority;
  element("majority").firstElementChild.textContent = majority;
  element("minority-name").textContent = minority;
  addButtons();
  element("majority-name").textContent = majority;
  const passed = state.passed_over ? `, ${state.passed_over} passed over` : "";
  element("progress").textContent =
    `${plural(state.labelled, "image")} labelled: ${state.minority} ${rare()}, ` +
    `${state.majority} ${majority}, ${state.unsure} unsure. ` +
    `${state.left.toLocaleString("en")} left${passed}.`;
  enable("undo", state.labelled);
  enable("train", !state.training && state.can_train);
  element("train").firstElementChild.textContent =
    state.training ? "Training" : "Train again";
  const next = state.told && state.current ? ` Next: ${state.current.name}.` : "";
  const told = state.told + next;
  if (element("told").textContent !== told) element("told").textContent = told;
  element("refused").hidden = !state.refused;
  element("refused").textContent = state.refused ?? "";
  showImage();
  loadAhead();
}

function lost() {
  element("refused").hidden = false;
  element("refused").textContent =
    "The program in the terminal does not answer, so nothing more is written. " +
    "Start it again, and open the address that it prints.";
}

/** Asks the program for something, and shows its answer. */
async function ask(what, body) {
  if (isBusy) return;
  isBusy = true;
  try {
    const options = body && {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    };
    const answer = await fetch(what, options);
    show(await answer.json());
  } catch {
    lost();
  } finally {
    isBusy = false;
  }
}

function act(what) {
  if (!state || element(what).getAttribute("aria-disabled") === "true") return;
  if (!LABELS.includes(what)) {
    ask(what, {});
    return;
  }
  // Nobody can have seen what is not there yet.
  const image = element("image");
  if (image.complete && image.naturalWidth) {
    ask("label", { number: state.current.number, kind: what });
  }
}

document.addEventListener("keydown", (event) => {
  const what = KEYS[event.key.toLowerCase()];
  const isOther = event.ctrlKey || event.altKey || event.metaKey;
  if (!what || isOther) return;
  event.preventDefault();
  // A key held down labels one image.
  if (!event.repeat) act(what);
});
for (const what of new Set(Object.values(KEYS))) {
  element(what).addEventListener("click", () => act(what));
}
for (const id of ["image", "heat"]) {
  const image = element(id);
  image.addEventListener("load", () => {
    const side = Math.max(image.naturalWidth, image.naturalHeight);
    image.classList.toggle("small", side < SMALL);
  });
}
// It cannot be read, or is gone, and has been passed over.
element("image").addEventListener("error", () => ask("state"));
setInterval(() => {
  if (state?.training) ask("state");
}, MILLISECONDS_BETWEEN_LOOKS);
ask("state");
