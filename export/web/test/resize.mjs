// Resizes RGB pixels from standard input to standard output.
// Usage: node resize.mjs HEIGHT WIDTH WANTED_HEIGHT WANTED_WIDTH

import { readFileSync, writeSync } from "node:fs";

import { blocksOf, resize } from "../resize.js";

const [height, width, wantedHeight, wantedWidth] = process.argv.slice(2).map(Number);
const resized = resize(
  blocksOf(readFileSync(0), width),
  { height, width },
  { height: wantedHeight, width: wantedWidth },
);
for (let written = 0; written < resized.length; ) {
  written += writeSync(1, resized, written);
}
