/** What the format bounds, and a caller may bound: memory is not taken for a mere claim. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { deflateRawSync, gzipSync } from "node:zlib";
import { load, open } from "../src/dcz.js";
import { crc32 } from "../src/part.js";
import { decodeRecord } from "../src/record.js";

const { DCZ_FILE } = process.env;
const VALID = new URL("../../../spec/vectors/valid/", import.meta.url);
/** @param {string} name */
const vector = (name) => new Uint8Array(readFileSync(new URL(`${name}.dcz`, VALID)));

test("dcz.js, as a browser fetches it, takes at most 10 kB", () => {
  assert.ok(gzipSync(readFileSync(new URL("../dcz.js", import.meta.url)), { level: 9 }).length <= 10_000);
});

test("a file that decodes to more than is allowed is refused before anything is decoded", async () => {
  const data = vector("huffman-two-segments");
  const file = await open(data, { maxBytes: 100_000 });
  await assert.rejects(file.onnx(), { reason: "too-large", message: /maxBytes/ });
  await assert.rejects(file.tensor(file.tensors[0].name), { reason: "too-large" });
  const size = file.graph.size + file.tensors.reduce((all, entry) => all + entry.bytes, 0);
  await load(data, { maxBytes: 2 * size });
});

test("a model of 2 GB or more is refused before memory is taken for it, and says why", async () => {
  const file = await open(vector("taken-apart"), { maxBytes: Infinity });
  file.tensors[0].bytes = 2 ** 31; // as if its directory said so, which that of no small file may
  const { rss } = process.memoryUsage();
  await assert.rejects(file.onnx(), { reason: "too-large", message: /2 GB or more needs external data/ });
  assert.ok(process.memoryUsage().rss - rss < 1 << 28);
});

test("the default bound is 50 MB, or 1024 times the file", async () => {
  const file = await open(vector("expansion-edge"));
  assert.equal(file.limit, 5e7);
});

test("a bomb is not inflated", async () => {
  const record = new Uint8Array(Buffer.concat([Buffer.of(1), deflateRawSync(Buffer.alloc(1 << 28))])); // 260 kB
  const dims = [250];
  const entry = { name: "w", dtype: 1, dims, encoding: 0, offset: 0, length: record.length, count: 250, bytes: 1000 };
  const before = process.memoryUsage().rss;
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss - before)), 1);
  await assert.rejects(decodeRecord(record, { ...entry, recordCrc: crc32(record), tensorCrc: 0 }), {
    reason: "deflate",
  });
  clearInterval(watch);
  assert.ok(most < 1 << 27, `${most} bytes`);
});

test(
  "memory holds the model, and beside it less than its largest tensor",
  { skip: !DCZ_FILE || !global.gc },
  async () => {
    setFlagsFromString("--no-concurrent-array-buffer-sweeping"); // what is collected is gone at once
    const file = await open(new Blob([readFileSync(DCZ_FILE ?? "")]));
    const most = Math.max(...file.tensors.map((each) => each.bytes));
    const live = () => {
      global.gc?.();
      return process.memoryUsage().arrayBuffers;
    };
    const before = live();
    let peak = 0;
    let isDone = false;
    const watch = () => {
      peak = Math.max(peak, live() - before);
      if (!isDone) setImmediate(watch);
    };
    watch();
    const model = await file.onnx();
    isDone = true;
    console.log(`model ${model.length}, largest tensor ${most}, buffers at the peak ${peak}`);
    assert.ok(peak > model.length && peak < model.length + most, `${peak}`);
  },
);
