/**
 * A network out of a `.dcz` file, run by onnxruntime-web.
 *
 * @typedef {object} Description models/model.json
 * @property {string} name
 * @property {number} onnxBytes of the ONNX file that the model was
 * @property {import("./picture.js").Input} input
 * @property {string[]} labels
 */

import { open } from "dcz-reader";
import * as ort from "onnxruntime-web/wasm";

ort.env.wasm.wasmPaths = new URL("ort/", document.baseURI).href;
ort.env.wasm.numThreads = 1; // more need headers that isolate the page

export class Network {
  /** Milliseconds. */
  times = { fetch: 0, decode: 0, session: 0, run: 0 };
  /** @type {ort.InferenceSession | undefined} */ session;

  /**
   * Reads the directory. @param {string | Blob} source
   * @param {(received: number, total?: number) => void} onProgress
   */
  static async open(source, onProgress) {
    const address = typeof source === "string" ? new URL(source, document.baseURI) : source;
    return new Network(await open(address, { onProgress }));
  }

  /** @param {Awaited<ReturnType<typeof open>>} file */
  constructor(file) {
    this.file = file;
  }

  /** Fetches and decodes what is not here yet, and makes a session; may be called again after it has failed. */
  async start() {
    const model = await this.file.onnx();
    const start = performance.now();
    this.session = await ort.InferenceSession.create(model);
    Object.assign(this.times, this.file.times, { session: performance.now() - start });
  }

  /** @param {Float32Array} numbers @param {number} height @param {number} width */
  async run(numbers, height, width) {
    if (!this.session) throw new Error("the network is not here yet");
    const start = performance.now();
    const feeds = { [this.session.inputNames[0]]: new ort.Tensor("float32", numbers, [1, 3, height, width]) };
    const outputs = await this.session.run(feeds);
    this.times.run = performance.now() - start;
    return /** @type {Float32Array} */ (outputs[this.session.outputNames[0]].data);
  }
}
