/**
 * Damage to a real file: of its bits, and of those of a record whose CRC-32 a forger has mended. No tensor comes out
 * wrong. DCZ_FILE is the file, DCZ_FLIPS how many bits of it are flipped.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DczError, load, open } from "../src/dcz.js";
import { crc32 } from "../src/part.js";
import { decodeRecord } from "../src/record.js";

const FILE = process.env.DCZ_FILE || new URL("../../../spec/vectors/valid/model.dcz", import.meta.url);
const FLIPS = Number(process.env.DCZ_FLIPS ?? 1000);
const sound = new Uint8Array(readFileSync(FILE));

/** The same numbers each time (mulberry32). @param {number} seed @returns {(below: number) => number} */
function drawn(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** What an attempt gives: a refusal by its reason. @template T @param {() => Promise<T>} attempt */
async function outcome(attempt) {
  try {
    return await attempt();
  } catch (error) {
    if (error instanceof DczError) return error.reason;
    throw error;
  }
}

test(`${FLIPS} flipped bits are all refused, where they are`, async () => {
  const draw = drawn(1);
  const data = sound.slice();
  const { graph, tensors } = await open(sound);
  for (let flip = 0; flip < FLIPS; flip++) {
    const bit = draw(8 * data.length);
    const at = bit >> 3;
    const entry = tensors.findLast((each) => each.offset <= at && each.length);
    data[at] ^= 1 << (bit & 7);
    const reason = await outcome(async () => {
      const file = await open(data);
      return at < graph.offset + graph.stored ? file.onnx() : file.tensor(entry?.name ?? "");
    });
    const wanted = at < graph.offset ? null : at < graph.offset + graph.stored ? "graph-crc" : "record-crc";
    if (wanted) assert.equal(reason, wanted, `bit ${bit}`);
    else assert.equal(typeof reason, "string", `bit ${bit}`);
    data[at] ^= 1 << (bit & 7);
  }
});

test(`${FLIPS} flipped bits in records with mended checksums are refused, or change nothing`, async () => {
  const draw = drawn(2);
  const { tensors } = await open(sound);
  const filled = tensors.filter((entry) => entry.length);
  const reasons = new Set();
  for (let flip = 0; flip < FLIPS; flip++) {
    const entry = filled[draw(filled.length)];
    const record = sound.slice(entry.offset, entry.offset + entry.length);
    const bit = draw(2) ? draw(8 * record.length) : draw(8 * Math.min(record.length, 64)); // half of them in the fields
    record[bit >> 3] ^= 1 << (bit & 7);
    const found = await outcome(() => decodeRecord(record, { ...entry, recordCrc: crc32(record) }));
    if (typeof found === "string") reasons.add(found);
    else assert.equal(crc32(found), entry.tensorCrc, `bit ${bit} of ${entry.name}`);
  }
  assert.ok(reasons.size > 1 && !reasons.has("record-crc"), [...reasons].join());
});

test("every cut is refused, and every byte too many", async () => {
  const draw = drawn(3);
  for (let cut = 0; cut < 50; cut++) {
    const size = draw(sound.length);
    assert.equal(
      await outcome(() => load(sound.subarray(0, size))),
      size < 8 ? "not-dcz" : "truncated",
      `cut at ${size}`,
    );
  }
  const longer = new Uint8Array(sound.length + 1);
  longer.set(sound);
  assert.equal(await outcome(() => load(longer)), "trailing-bytes");
});
