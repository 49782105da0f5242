// Works a page in a headless Chromium and prints what it shows, as JSON.
//
// Usage: node report_browser.mjs CHROMIUM PAGE STEPS
// PAGE is a file or an address. STEPS is a JSON list of objects, each with one of:
// {"press": [KEY], "on": ID}, {"keys": [KEY]}, {"type": TEXT, "on": ID}, {"click": ID},
// {"await": TEXT, "in": ID}, {"look": FILE.png} or {}; any may have "width" and "dark"
// besides. One object is printed for each step: what the page shows after it. Of `keys`,
// each waits until the page has asked for nothing for a moment.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../../export/web/package.json", import.meta.url));
const puppeteer = require("puppeteer-core");

const QUIET = 300;
const LONGEST = 60000;

const actions = {
  async press(page, { press, on }) {
    await page.focus(`#${on}`);
    for (const key of press) await page.keyboard.press(key);
  },
  async keys(page, { keys }) {
    for (const key of keys) {
      await page.keyboard.press(key);
      await page.waitForNetworkIdle({ idleTime: QUIET });
    }
  },
  async await(page, { await: text, in: id }) {
    const says = (name, part) =>
      document.getElementById(name).textContent.includes(part);
    await page.waitForFunction(says, { timeout: LONGEST }, id, text);
    await page.waitForNetworkIdle({ idleTime: QUIET });
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
    broken: [...document.images].filter((image) => image.src && !image.naturalWidth)
      .length,
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
  const isServed = file.startsWith("http:");
  await page.goto(isServed ? file : pathToFileURL(file).href);
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
  const isOwn = (url) => isServed && url.startsWith(file);
  const others = requests.filter((url) => !/^(file|data):/.test(url) && !isOwn(url));
  console.log(JSON.stringify({ states, errors, requests: others }));
} finally {
  await browser.close();
}
