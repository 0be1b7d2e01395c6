/** Every file of spec/vectors decodes as expected.json says, or is refused by the reason in its name. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { load, open } from "../src/dcz.js";

const VECTORS = new URL("../../../spec/vectors/", import.meta.url);
/** @param {string} path */
const bytes = (path) => new Uint8Array(readFileSync(new URL(path, VECTORS)));
const expected = JSON.parse(readFileSync(new URL("valid/expected.json", VECTORS), "utf8"));
const invalid = readdirSync(new URL("invalid/", VECTORS));

test("there are vectors", () => {
  assert.ok(Object.keys(expected).length >= 39 && invalid.length >= 242);
});

for (const [name, tensors] of Object.entries(expected)) {
  test(`${name} decodes`, async () => {
    const file = await open(bytes(`valid/${name}.dcz`));
    assert.deepEqual(new Set(file.tensors.map((entry) => entry.name)), new Set(Object.keys(tensors)));
    for (const [tensor, { dtype, dims, sha256 }] of Object.entries(tensors)) {
      const data = await file.tensor(tensor);
      const entry = file.tensors.find((each) => each.name === tensor);
      assert.deepEqual([entry?.dtype, entry?.dims], [dtype, dims]);
      assert.equal(createHash("sha256").update(data).digest("hex"), sha256, tensor);
    }
    await file.onnx();
  });
}

for (const name of invalid) {
  const reason = name.replace(/(-\d+)?\.dcz$/, "");
  test(`${name} is refused`, async () => {
    await assert.rejects(load(bytes(`invalid/${name}`)), { name: "DczError", reason });
    await assert.rejects(load(new Blob([bytes(`invalid/${name}`)])), { name: "DczError", reason });
  });
}
