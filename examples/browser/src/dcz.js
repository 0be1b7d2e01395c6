/**
 * Reads `.dcz` files in browsers, workers and Node, as FORMAT.md (versions 1.0 and 1.1) says; sections are of that page.
 *
 *     const session = await ort.InferenceSession.create(await load("model.dcz"));
 *
 * Each record is decoded while the next one arrives, straight into its place in the model: beside that, memory holds one
 * record and some blocks of it. Machines are taken to be little-endian, as all are that browsers run on.
 *
 * @typedef {import("./directory.js").Entry} Entry
 * @typedef {import("./graph.js").Hole} Hole
 * @typedef {import("./part.js").Bytes} Bytes
 * @typedef {import("./source.js").Source} Source
 *
 * @typedef {object} Options
 * @property {number} [maxBytes] that the file may decode to: 50 MB, or 1024 times the file where that is more
 * @property {(received: number, total?: number) => void} [onProgress] told how many bytes of the file are here
 * @property {number} [retries] of one record, where the connection breaks: 4
 * @property {number} [wait] milliseconds before the first of them, and twice as many before each further one: 500
 * @property {AbortSignal} [signal] stops the download
 * @property {typeof fetch} [fetch] in place of the global one
 */

import { parseDirectory, readDirectory } from "./directory.js";
import { fill } from "./fill.js";
import { Skeleton } from "./graph.js";
import { inflatedTo } from "./inflate.js";
import { EMPTY, allocate, check, crc32 } from "./part.js";
import { decodeRecord } from "./record.js";
import { Local, Remote } from "./source.js";

export { DczError } from "./part.js";

/** An open file: its directory is here, the rest is read when it is asked for. */
class Dcz {
  /** Milliseconds spent waiting for bytes, and decoding them. */
  times = { fetch: 0, decode: 0 };
  /** @type {Promise<Bytes> | undefined} */ #running;
  /** @type {{out: Bytes, holes: Map<number, Hole[]>, next: number} | undefined} what of the model is done */ #model;

  /**
   * @param {Source} source @param {ReturnType<typeof parseDirectory>} directory @param {Options} options
   */
  constructor(source, directory, options) {
    this.source = source;
    this.graph = directory.graph;
    this.metadata = directory.metadata;
    this.tensors = directory.entries;
    this.size = directory.end; // of the file
    this.limit = options.maxBytes ?? Math.max(5e7, 1024 * this.size);
  }

  /** Whether a broken download goes on where it was; else the server knows no byte ranges, and all of it comes anew. */
  get isResumable() {
    return this.source.ranges;
  }

  /** The bytes of a tensor (ONNX's raw_data), by its name: nothing but its record is fetched. @param {string} name */
  async tensor(name) {
    const entry = this.tensors.find((each) => each.name === name);
    if (!entry) throw new RangeError(`no tensor ${JSON.stringify(name)}`);
    this.#checkLimit(entry.bytes);
    const source = this.source.fork();
    source.seek(entry.offset);
    const record = await this.#read(source, entry.length, true);
    source.close();
    return decodeRecord(record, entry);
  }

  /** The ONNX model. Where this fails for want of a connection, another call goes on with the record that is missing. */
  onnx() {
    this.#running ??= this.#restore().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #restore() {
    const model = (this.#model ??= await this.#skeleton()); const { out, holes } = model;
    for (; model.next < this.tensors.length; model.next++) {
      const entry = this.tensors[model.next]; const uses = holes.get(model.next) ?? [];
      this.source.seek(entry.offset);
      const record = await this.#read(this.source, entry.length); const start = performance.now();
      const direct = uses.find((hole) => !hole.transposed && !hole.varint);
      const data = await decodeRecord(record, entry, direct && out.subarray(direct.at, direct.at + direct.size));
      for (const hole of uses) if (hole !== direct) fill(out, hole, data, entry);
      this.times.decode += performance.now() - start;
    }
    this.checkSize(await this.source.read(1)); // none, where the length was not known before
    this.#model = undefined;
    this.source.close();
    return out;
  }

  /** The model without its tensors. */
  async #skeleton() {
    const { offset, stored, size, crc } = this.graph;
    this.#checkLimit(this.tensors.reduce((all, entry) => all + entry.bytes, size));
    this.source.seek(offset);
    const data = await this.#read(this.source, stored); const start = performance.now();
    check(crc32(data) === crc, "graph-crc", "the graph does not have its checksum");
    const found = new Skeleton(await inflatedTo(data, size, "graph"), stored, this.tensors);
    this.#checkLimit(found.size);
    check(found.size < 2 ** 31, "too-large", "an ONNX file of 2 GB or more needs external data, which this cannot make");
    const out = allocate(found.size);
    found.write(out);
    this.times.decode += performance.now() - start;
    return { out, holes: found.holes, next: 0 };
  }

  /** @param {Source} source @param {number} length @param {boolean} [alone] */
  async #read(source, length, alone) {
    const start = performance.now(); const data = await source.read(length, alone);
    this.times.fetch += performance.now() - start;
    check(data.length === length, "truncated", `the file ends ${length - data.length} bytes too early`);
    return data;
  }

  /** @param {number} bytes */
  #checkLimit(bytes) {
    const detail = `it decodes to ${bytes} bytes, more than the limit of ${this.limit}; maxBytes allows more`;
    check(bytes <= this.limit, "too-large", detail);
  }

  /** Refuses a file whose length is not the sum of its parts. @param {Bytes} [more] of it */
  checkSize(more = EMPTY) {
    const size = this.source.size ?? this.size + more.length;
    check(size >= this.size, "truncated", `its parts end at byte ${this.size}, the file at ${size}`);
    check(size <= this.size, "trailing-bytes", `its parts end at byte ${this.size}, the file at ${size}`);
  }
}

/**
 * Opens a file: fetches and checks its directory, and no more. `source` is an address, a Blob (or File), or bytes.
 * @param {string | URL | Blob | ArrayBuffer | Bytes} source @param {Options} [options]
 */
export async function open(source, options = {}) {
  const isAddress = typeof source === "string" || source instanceof URL;
  const data = source instanceof ArrayBuffer ? new Uint8Array(source) : source;
  const file = isAddress ? new Remote(source, options) : new Local(/** @type {Blob | Bytes} */ (data));
  if (file instanceof Remote) await file.open();
  const [plain, stored] = await readDirectory(file);
  const opened = new Dcz(file, parseDirectory(plain, 24 + stored), options);
  opened.checkSize();
  return opened;
}

/**
 * The ONNX model in a file: see `open`.
 * @param {string | URL | Blob | ArrayBuffer | Bytes} source @param {Options} [options]
 */
export async function load(source, options) {
  return (await open(source, options)).onnx();
}
