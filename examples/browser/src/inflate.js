/**
 * Raw DEFLATE streams, by the machine's own DecompressionStream (section 1).
 *
 * @typedef {import("./part.js").Bytes} Bytes
 */

import { DczError, allocate, check } from "./part.js";

const SLICE = 1 << 14; // stored bytes that are inflated at once: at most 17 MB come of them before they are counted

/** The chunks of a raw DEFLATE stream that lies in pieces. @param {Bytes[]} pieces @param {number} slice */
async function* inflated(pieces, slice) {
  const { readable, writable } = new DecompressionStream("deflate-raw");
  const reader = readable.getReader();
  const writer = writable.getWriter();
  const feed = async () => {
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; at += slice) await writer.write(piece.subarray(at, at + slice));
    }
    await writer.close();
  };
  feed().catch(() => {}); // whose error the reader meets too
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Whether a stream comes to an end. @param {Bytes[]} pieces */
async function ends(pieces) {
  try {
    for await (const _ of inflated(pieces, SLICE));
    return true;
  } catch {
    return false;
  }
}

/** @type {Promise<boolean> | undefined} */
let isLax; // whether this machine overlooks bytes after the end of a stream, as Node 20 does

/**
 * Inflates exactly `size` bytes, which `put` gets in chunks, with their places.
 * @param {Bytes[]} pieces @param {number} size @param {string} reason @param {string} name
 * @param {(chunk: Uint8Array, at: number) => void} put @param {number} [slice] stored bytes that are inflated at once
 */
export async function inflate(pieces, size, reason, name, put, slice = SLICE) {
  let done = 0;
  try {
    for await (const chunk of inflated(pieces, slice)) {
      if (done + chunk.length <= size) put(chunk, done);
      if ((done += chunk.length) > size) break;
    }
  } catch (cause) {
    throw new DczError(reason, `${name}: deflated data is damaged`, { cause });
  }
  isLax ??= ends([Uint8Array.of(3, 0, 0)]);
  const isLong = (await isLax) && (await ends([...pieces.slice(0, -1), pieces[pieces.length - 1].subarray(0, -1)]));
  check(done === size && !isLong, reason, `${name}: deflated data does not hold exactly ${size} bytes`);
}

/** @param {Bytes} stored @param {number} size @param {string} name */
export async function inflatedTo(stored, size, name) {
  if (stored.length === size) return stored;
  const out = allocate(size);
  await inflate([stored], size, "deflate", name, (chunk, at) => out.set(chunk, at));
  return out;
}
