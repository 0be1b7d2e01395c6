/** What the format bounds, and a caller may bound: memory is not taken for a mere claim. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { load, open } from "../src/dcz.js";

const { DCZ_FILE } = process.env;
const VALID = new URL("../../../spec/vectors/valid/", import.meta.url);
/** @param {string} name */
const vector = (name) => new Uint8Array(readFileSync(new URL(`${name}.dcz`, VALID)));

test("dcz.js, as a browser fetches it, takes at most 10 kB", () => {
  assert.ok(gzipSync(readFileSync(new URL("../dcz.js", import.meta.url)), { level: 9 }).length <= 10_000);
});

test("a file that decodes to more than is allowed is refused before anything is decoded", async () => {
  const data = vector("huffman-two-segments"), file = await open(data, { maxBytes: 100_000 });
  await assert.rejects(file.onnx(), { reason: "too-large", message: /maxBytes/ });
  await assert.rejects(file.tensor(file.tensors[0].name), { reason: "too-large" });
  const size = file.graph.size + file.tensors.reduce((all, entry) => all + entry.bytes, 0);
  await load(data, { maxBytes: 2 * size });
});

test("the default bound is 100 MB, or 1024 times the file", async () => {
  const file = await open(vector("expansion-edge"));
  assert.equal(file.limit, 1e8);
});

test("memory holds the model, and beside it less than its largest tensor", { skip: !DCZ_FILE || !global.gc }, async () => {
  const file = await open(new Blob([readFileSync(DCZ_FILE ?? "")])), most = Math.max(...file.tensors.map((each) => each.bytes));
  const live = () => {
    global.gc?.();
    return process.memoryUsage().arrayBuffers;
  };
  const before = live();
  let peak = 0, isDone = false;
  const watch = () => {
    peak = Math.max(peak, live() - before);
    if (!isDone) setImmediate(watch);
  };
  watch();
  const model = await file.onnx();
  isDone = true;
  console.log(`model ${model.length}, largest tensor ${most}, buffers at the peak ${peak}`);
  assert.ok(peak > model.length && peak < model.length + most, `${peak}`);
});
