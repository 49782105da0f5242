/** Pixels to a score with LiteRT, and the comparison with golden samples. */

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

import { ModelError } from "./metadata.js";

const SIGNATURE = "serving_default";

let loading;

/** Loads LiteRT once, from the folder of its WebAssembly files. */
function loadRuntime(folder) {
  loading ??= loadLiteRt(folder).catch((error) => {
    loading = undefined;
    throw new ModelError(
      "LiteRT did not start: expected a browser with WebAssembly and SIMD, and " +
        `LiteRT's files in place. Received: folder=${folder}, error=${error.message}. ` +
        "Run `npm install`, or use a current browser.",
    );
  });
  return loading;
}

/** A model ready to score images. */
export class Scorer {
  /** Use `Scorer.load`. */
  constructor(model, metadata) {
    this.model = model;
    this.metadata = metadata;
    this.turn = Promise.resolve();
  }

  /**
   * Compiles a model for the processor.
   *
   * @param {Uint8Array} bytes of the `.tflite` file.
   * @param {object} metadata that `readMetadata` returned for them.
   * @param {string} folder of LiteRT's WebAssembly files.
   * @returns {Promise<Scorer>}
   * @throws {ModelError} if LiteRT does not start or cannot run the model.
   */
  static async load(bytes, metadata, folder) {
    await loadRuntime(folder);
    let scorer;
    try {
      const model = await loadAndCompile(bytes, { accelerator: "wasm" });
      scorer = new Scorer(model, metadata);
      scorer.checkOutputs();
      // The first run of a model is slow; and it fails if the metadata is not right.
      await scorer.score(new Uint8ClampedArray(3 * scorer.size.height * scorer.size.width));
    } catch (error) {
      scorer?.delete();
      if (error instanceof ModelError) throw error;
      throw new ModelError(
        "LiteRT cannot run the model: expected a whole file with TFLite's own " +
          `operators. Received: error=${error.message.split("\n")[0]}. Export the model ` +
          "again.",
      );
    }
    return scorer;
  }

  /** Refuses a model without the outputs that are read by name. */
  checkOutputs() {
    const outputs = this.model.signatures[SIGNATURE]?.getOutputDetails() ?? [];
    const names = outputs.map((output) => output.name);
    if (names.includes("score") && names.includes("is_minority")) return;
    throw new ModelError(
      "The model's outputs do not fit: expected score and is_minority of the " +
        `signature ${SIGNATURE}. Received: outputs=${names.join(", ") || "none"}. ` +
        "Export it with `egan-keras export RUN --format tflite`.",
    );
  }

  /** The size of the images that the model reads. */
  get size() {
    const [, height, width] = this.metadata.input.shape;
    return { height, width };
  }

  /**
   * Scores one image, after those that are being scored.
   *
   * @param {Uint8ClampedArray} pixels RGB 0..255, (height, width, 3).
   * @returns {Promise<{score: number, isMinority: boolean, milliseconds: number,
   *     heatMap: Float32Array=}>} a score that is low for the minority, the decision, the
   *     time it took, and, if the model tells, where the image speaks for minority:
   *     (height, width), 1 where that is enough for an else usual image to score 0.
   * @throws {ModelError} if the score is no finite number.
   */
  score(pixels) {
    const scored = this.turn.then(() => this.run(pixels));
    this.turn = scored.catch(() => {});
    return scored;
  }

  async run(pixels) {
    const { name, dtype, shape } = this.metadata.input;
    const values = dtype === "uint8" ? Uint8Array.from(pixels) : Float32Array.from(pixels);
    const start = performance.now();
    const input = new Tensor(values, shape);
    const outputs = await this.model.run(SIGNATURE, { [name]: input });
    const [score] = outputs.score.toTypedArray();
    const [isMinority] = outputs.is_minority.toTypedArray();
    const heatMap = outputs.heat_map?.toTypedArray().slice();
    const milliseconds = performance.now() - start;
    [input, ...Object.values(outputs)].forEach((tensor) => tensor.delete());
    if (!Number.isFinite(score)) {
      throw new ModelError(
        "The model gave no score: expected a finite number. " +
          `Received: score=${score}. Check its golden samples, or export it again.`,
      );
    }
    return { score, isMinority: isMinority === 1, milliseconds, heatMap };
  }

  /** Frees the model's memory, which the browser does not do by itself. */
  delete() {
    this.model.delete();
  }
}

/**
 * Compares a score with that of a golden sample.
 *
 * @param {{score: number, is_minority: number}} expected of the JSON beside the model.
 * @param {{score: number, isMinority: boolean}} actual of `Scorer.score`.
 * @param {number} tolerance the largest difference that passes.
 * @returns {{difference: number, passed: boolean}}
 */
export function compare(expected, actual, tolerance) {
  const difference = Math.abs(actual.score - expected.score);
  const agree = actual.isMinority === (expected.is_minority === 1);
  return { difference, passed: agree && difference <= tolerance };
}
