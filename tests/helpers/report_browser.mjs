// Works a report's page in a headless Chromium and prints what it shows, as JSON.
//
// Usage: node report_browser.mjs CHROMIUM PAGE STEPS
// STEPS is a JSON list of objects, each with one of: {"press": [KEY], "on": ID},
// {"type": TEXT, "on": ID}, {"click": ID}, {"look": FILE.png} or {}; any may have "width"
// and "dark" besides. One object is printed for each step: what the page shows after it.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../../export/web/package.json", import.meta.url));
const puppeteer = require("puppeteer-core");

const actions = {
  async press(page, { press, on }) {
    await page.focus(`#${on}`);
    for (const key of press) await page.keyboard.press(key);
  },
  async type(page, { type, on }) {
    await page.focus(`#${on}`);
    await page.$eval(`#${on}`, (input) => input.select());
    await page.keyboard.type(type);
  },
  async click(page, { click }) {
    await page.click(`#${click}`);
  },
  async look(page, { look }) {
    await page.screenshot({ path: look, fullPage: true });
  },
};

/** Returns the texts and values of the page, and whether it scrolls sideways. */
function shown() {
  const root = document.documentElement;
  const texts = {};
  for (const element of document.querySelectorAll("[id]")) {
    texts[element.id] = element.value ?? element.textContent.trim();
  }
  const line = document.querySelector(".strip .line");
  return {
    texts,
    line: Number(line?.getAttribute("x1")),
    overflow: root.scrollWidth - root.clientWidth,
    focused: document.activeElement?.id,
    broken: [...document.images].filter((image) => !image.naturalWidth).length,
  };
}

const [chromium, file, steps] = process.argv.slice(2);
const browser = await puppeteer.launch({
  executablePath: chromium,
  args: ["--no-sandbox"],
});
try {
  const page = await browser.newPage();
  const requests = [];
  const errors = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  await page.goto(pathToFileURL(file).href);
  const states = [];
  for (const step of JSON.parse(steps)) {
    if (step.width) await page.setViewport({ width: step.width, height: 900 });
    const value = step.dark ? "dark" : "light";
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
    for (const [name, act] of Object.entries(actions)) {
      if (name in step) await act(page, step);
    }
    states.push(await page.evaluate(shown));
  }
  const others = requests.filter((url) => !/^(file|data):/.test(url));
  console.log(JSON.stringify({ states, errors, requests: others }));
} finally {
  await browser.close();
}
