/** Files on servers: what is fetched, what happens where a connection breaks, what is said where a server is wrong. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { load, open } from "../src/dcz.js";
import { serve } from "../server.js";

const VALID = new URL("../../../spec/vectors/valid/", import.meta.url);
const FILE = process.env.DCZ_FILE
  ? new URL(`file://${process.env.DCZ_FILE}`)
  : new URL("huffman-two-segments.dcz", VALID);
const NAME = FILE.pathname.split("/").pop() ?? "";
const sound = new Uint8Array(readFileSync(FILE));
const model = await load(sound);
const HEAD = 16384;
const QUICK = { wait: 1 };
const LONGER_THAN_HEAD = { skip: sound.length > HEAD ? false : `DCZ_FILE names no file of ${HEAD} bytes` };
const LARGE = { skip: sound.length > 350_000 ? false : "DCZ_FILE names no file of 350 kB" };
/** @type {{close: () => unknown}[]} */ const servers = [];
after(() => servers.map((server) => server.close()));

/** @param {import("../server.js").Faults} [faults] */
async function serving(faults) {
  const server = await serve({ "": new URL(".", FILE) }, { faults });
  servers.push(server);
  return { ...server, file: server.url + NAME };
}

test("a model comes by two requests, and its directory by one of some kilobytes", async () => {
  const { file, requests } = await serving();
  const opened = await open(file);
  assert.deepEqual(
    requests.map((each) => each.range),
    [`bytes=0-${HEAD - 1}`],
  );
  assert.ok(opened.isResumable && opened.size === sound.length);
  assert.deepEqual(await opened.onnx(), model);
  assert.deepEqual(
    requests.map((each) => each.range),
    [`bytes=0-${HEAD - 1}`, ...(sound.length > HEAD ? [`bytes=${HEAD}-`] : [])],
  );
});

test("one tensor comes by its own bytes", async () => {
  const { file, requests } = await serving();
  const opened = await open(file);
  const entry = opened.tensors[opened.tensors.length - 1];
  const data = await opened.tensor(entry.name);
  assert.equal(data.length, entry.bytes);
  assert.equal(requests[1].range, `bytes=${entry.offset}-${entry.offset + entry.length - 1}`);
  await assert.rejects(opened.tensor("there is none of this name"), RangeError);
});

test("a broken connection goes on at a record, and no checked record comes again", LARGE, async () => {
  const { file, requests } = await serving({ drop: [1000, Infinity, 5, 40_000, 0, 300_000] });
  /** @type {number[]} */ const told = [];
  const opened = await open(file, { ...QUICK, onProgress: (received) => told.push(received) });
  assert.deepEqual(await opened.onnx(), model);
  const starts = requests.map((each) => Number(each.range?.match(/\d+/)?.[0]));
  const parts = new Set([0, HEAD, opened.graph.offset, ...opened.tensors.map((entry) => entry.offset)]);
  for (const start of starts) assert.ok(parts.has(start), `${start} is no boundary`);
  assert.deepEqual(
    starts,
    starts.toSorted((one, other) => one - other),
  );
  assert.equal(requests.length, 7);
  assert.equal(told.pop(), sound.length);
});

test("what a failed download has done is kept for the next call", LARGE, async () => {
  const reached = HEAD + Math.floor(sound.length / 2);
  const { file, requests } = await serving({ drop: [Infinity, reached - HEAD, 0, 0] });
  const opened = await open(file, { ...QUICK, retries: 2 });
  await assert.rejects(opened.onnx(), { reason: "network" });
  assert.equal(requests.length, 4);
  assert.deepEqual(await opened.onnx(), model);
  const broken = opened.tensors.findLast((each) => each.offset <= reached);
  assert.equal(requests[4].range, `bytes=${Math.max(HEAD, broken?.offset ?? 0)}-`);
  assert.equal(requests.length, 5);
});

test("a server without ranges sends one stream, which is said; broken, it comes anew", async () => {
  const whole = await serving({ noRanges: true });
  const opened = await open(whole.file);
  assert.equal(opened.isResumable, false);
  assert.deepEqual(await opened.onnx(), model);
  assert.deepEqual(
    whole.requests.map((each) => each.status),
    [200],
  );
  const broken = await serving({ noRanges: true, drop: [sound.length / 2] });
  assert.deepEqual(await load(broken.file, QUICK), model);
  assert.deepEqual(
    broken.requests.map((each) => each.status),
    [200, 200],
  );
});

test("a length that nobody tells is found at the end", async () => {
  for (const noRanges of [true, false]) {
    const { file } = await serving({ hidesLength: true, noRanges });
    assert.deepEqual(await load(file), model);
  }
});

test("a file that changes is an error, at once and after a break", async () => {
  const changed = { reason: "changed", message: /another version/ };
  await assert.rejects(load((await serving({ versions: ["one", "two"] })).file), changed);
  await assert.rejects(
    load((await serving({ versions: ["one", "one", "two"], drop: [Infinity, 9] })).file, QUICK),
    changed,
  );
  await assert.rejects(
    load((await serving({ versions: ["one", "two"], noRanges: true, drop: [9] })).file, QUICK),
    changed,
  );
});

test("a version is known by the header that names it, a weak one or not", LONGER_THAN_HEAD, async () => {
  const { file, requests } = await serving();
  /** @param {Record<string, string>[]} named by the first answer, and by others */
  const loaded = (...named) => {
    requests.length = 0;
    /** @param {any} url @param {any} [asked] */
    const naming = async (url, asked) => {
      const answer = await fetch(url, asked);
      const headers = new Headers({
        ...Object.fromEntries(answer.headers),
        etag: "",
        ...named[requests.length > 1 ? 1 : 0],
      });
      return new Response(answer.body, { status: answer.status, headers });
    };
    return load(file, { ...QUICK, fetch: naming });
  };
  const modified = { "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT" };
  assert.deepEqual(await loaded({ etag: '"a"', ...modified }, modified), model);
  assert.deepEqual(await loaded({ etag: 'W/"a"' }, { etag: '"a"' }), model);
  const later = { "last-modified": "Tue, 02 Jan 2024 00:00:00 GMT" };
  await assert.rejects(loaded(modified, later), { reason: "changed" });
  await assert.rejects(loaded({ etag: '"a"', ...modified }, { etag: '"a"', ...later }), { reason: "changed" });
  await assert.rejects(loaded({ etag: 'W/"a"' }, { etag: '"b"' }), { reason: "changed" });
});

test("a server that answers without any bytes is not asked for ever", LONGER_THAN_HEAD, async () => {
  let asked = 0;
  const head = { status: 206, headers: { "content-range": `bytes 0-${HEAD - 1}/${sound.length}` } };
  const stops = async () => {
    assert.ok(++asked <= 10, "it is asked for ever");
    return asked === 1 ? new Response(sound.slice(0, HEAD), head) : new Response("", { status: 206 });
  };
  const refused = load("http://local/x.dcz", { ...QUICK, retries: 2, fetch: stops });
  await assert.rejects(refused, { reason: "network", message: /no bytes came/ });
});

test("a wrong length is an error", async () => {
  const size = sound.length;
  await assert.rejects(load((await serving({ length: size - 1 })).file), { reason: "truncated" });
  await assert.rejects(load((await serving({ length: size + 1 })).file), { reason: "trailing-bytes" });
  const long = await serving({ length: size + 1, noRanges: true });
  await assert.rejects(load(long.file, { ...QUICK, retries: 1 }), { reason: "trailing-bytes" });
});

test("what a server refuses is an error, and what it may do later is tried again", async () => {
  const { file } = await serving({ status: [404] });
  await assert.rejects(load(file), { reason: "http", message: /404/ });
  const busy = await serving({ status: [503, 0, 429] });
  assert.deepEqual(await load(busy.file, QUICK), model);
  const dead = await serving({ status: [500, 500, 500] });
  await assert.rejects(load(dead.file, { ...QUICK, retries: 2 }), { reason: "http", message: /500/ });
  assert.equal(dead.requests.length, 3);
  await assert.rejects(load("http://127.0.0.1:9/x.dcz", { ...QUICK, retries: 1 }), { reason: "network" });
});

test("a download can be stopped", async () => {
  const { file } = await serving();
  const control = new AbortController();
  control.abort();
  await assert.rejects(load(file, { signal: control.signal }), { name: "AbortError" });
});
