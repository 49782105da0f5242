// Works the page in a headless Chromium and prints what it shows, as JSON.
//
// Usage: node browser.mjs CHROMIUM MODELS STEPS
// MODELS is the folder shown as /models/. STEPS is a JSON list of objects, each with one
// of: {"open": ADDRESS}, {"choose": [FILE], "input": ID, "stopAfter": ROWS},
// {"drop": [FILE_OR_FOLDER]}, {"paste": [FILE]}, {"golden": true},
// {"press": KEY, "on": SELECTOR}, {"look": FILE.png, "width": N, "dark": BOOLEAN}.
// One object is printed for each step: what the page shows after it. A request to
// another server is an error.

import { readFileSync } from "node:fs";
import { basename } from "node:path";

import puppeteer from "puppeteer-core";

import { serve } from "../serve.mjs";

const TIMEOUT = 60_000;

const actions = {
  async open(page, { open }, address) {
    await page.goto(new URL(open, address).href);
    await page.waitForFunction(
      () => document.getElementById("main")?.getAttribute("aria-busy") === "false",
      { timeout: TIMEOUT },
    );
  },
  async choose(page, { choose, input, stopAfter }) {
    const element = await page.$(`#${input}`);
    await untilDone(page, async () => {
      await element.uploadFile(...choose);
      if (stopAfter === undefined) return;
      const enough = (rows) =>
        document.getElementById("list-rows").rows.length >= rows;
      await page.waitForFunction(enough, { timeout: TIMEOUT, polling: "mutation" }, stopAfter);
      await page.keyboard.press("Escape");
    });
  },
  async drop(page, { drop }) {
    const client = await page.createCDPSession();
    const data = { items: [], files: drop, dragOperationsMask: 1 };
    await untilDone(page, async () => {
      for (const type of ["dragEnter", "dragOver", "drop"]) {
        await client.send("Input.dispatchDragEvent", { type, x: 100, y: 200, data });
      }
    });
  },
  async paste(page, { paste }) {
    const files = paste.map((path) => [basename(path), readFileSync(path, "base64")]);
    await untilDone(page, () => page.evaluate(pasteInPage, files));
  },
  async golden(page) {
    await untilDone(page, () => page.click("#check"));
  },
  async press(page, { press, on }) {
    await page.focus(on);
    await untilDone(page, () => page.keyboard.press(press));
  },
  async look(page, { look, width, dark }) {
    await page.setViewport({ width, height: 900 });
    const value = dark ? "dark" : "light";
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
    await page.screenshot({ path: look, fullPage: true });
  },
};

/** Waits until the page has done what an action started. */
async function untilDone(page, action) {
  await page.evaluate(() => {
    const main = document.getElementById("main");
    window.done = new Promise((done) => {
      new MutationObserver((_, observer) => {
        if (main.getAttribute("aria-busy") !== "false") return;
        observer.disconnect();
        done();
      }).observe(main, { attributeFilter: ["aria-busy"] });
    });
  });
  await action();
  await page.evaluate(() => window.done);
}

function pasteInPage(files) {
  const clipboardData = new DataTransfer();
  for (const [name, base64] of files) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    clipboardData.items.add(new File([bytes], name));
  }
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
}

/** Returns what the page shows; null for what it does not. */
function shown() {
  const shownElement = (id) => {
    const element = document.getElementById(id);
    return element?.checkVisibility() ? element : null;
  };
  const text = (id) => shownElement(id)?.textContent ?? null;
  const number = (id) => (shownElement(id) ? Number(shownElement(id).value) : null);
  const pixelsOf = (canvas) => {
    const context = canvas?.getContext("2d");
    const rgba = context?.getImageData(0, 0, canvas.width, canvas.height).data;
    return rgba ? Array.from(rgba).filter((_, index) => index % 4 < 3) : null;
  };
  const rowsOf = (id) => shownElement(id)?.querySelectorAll("tbody tr") ?? [];
  const { scrollWidth, clientWidth } = document.documentElement;
  return {
    message: text("message"),
    model: text("model-status"),
    guarantee: text("guarantee"),
    decision: text("decision"),
    kind: text("kind"),
    score: number("score"),
    milliseconds: number("milliseconds"),
    caption: text("seen-caption"),
    pixels: pixelsOf(shownElement("seen")),
    marked: pixelsOf(shownElement("marked")),
    summary: text("golden-summary"),
    wider: scrollWidth - clientWidth,
    running: text("progress-text"),
    listed: text("list-summary"),
    list: Array.from(rowsOf("list"), (row) => ({
      file: row.cells[0].textContent,
      told: row.cells[1]?.textContent ?? null,
      score: Number(row.querySelector("data")?.value ?? NaN),
      picture: pixelsOf(row.querySelector("canvas")),
    })),
    golden: Array.from(rowsOf("golden"), (row) => {
      const values = Array.from(row.querySelectorAll("data"), (data) => data.value);
      const [difference, expected, actual] = values.slice(1).map(Number);
      const passed = values[0] === "true";
      return { file: row.cells[0].textContent, expected, actual, difference, passed };
    }),
  };
}

const [chromium, models, steps] = process.argv.slice(2);
const server = await serve({ port: 0, models });
const browser = await puppeteer.launch({
  executablePath: chromium,
  args: ["--no-sandbox"],
  protocolTimeout: TIMEOUT,
});
try {
  const page = await browser.newPage();
  const address = `http://127.0.0.1:${server.address().port}/`;
  const broken = new Promise((_, failed) => {
    page.once("pageerror", failed);
    page.on("request", (request) => {
      const own = [address, "blob:", "data:"].some((start) => request.url().startsWith(start));
      if (!own) failed(new Error(`a request to ${request.url()}`));
    });
  });
  const states = [];
  for (const step of JSON.parse(steps)) {
    const [name] = Object.keys(step);
    await Promise.race([actions[name](page, step, address), broken]);
    states.push(await page.evaluate(shown));
  }
  console.log(JSON.stringify(states));
} finally {
  await browser.close();
  server.close();
}
