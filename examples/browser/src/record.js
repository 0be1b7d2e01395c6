/**
 * Records (section 5).
 *
 * @typedef {import("./directory.js").Entry} Entry
 * @typedef {import("./part.js").Bytes} Bytes
 * @typedef {(count: number, places?: Float64Array) => Promise<Bytes>} Elements gives the bytes of the next ones
 */

import { readCodebook } from "./codebook.js";
import { BITS } from "./dtypes.js";
import { readIndex } from "./gaps.js";
import { inflate } from "./inflate.js";
import { EMPTY, Part, allocate, crc32 } from "./part.js";
import { STEP, readSymbols } from "./symbols.js";

/**
 * The bytes of a tensor, from those of its record; into `out`, of zeros, where that is given.
 * @param {Bytes} record @param {Entry} entry @param {Bytes} [out]
 */
export async function decodeRecord(record, entry, out) {
  const part = new Part(record, `tensor ${JSON.stringify(entry.name)}`);
  const isExact = entry.encoding % 3 === 0;
  part.check(crc32(record) === entry.recordCrc, "record-crc");
  const index = entry.encoding > 1 ? readIndex(part, entry.dims) : undefined;
  const count = index ? index.kept : entry.count;
  const block = isExact ? readBlock(part, count, entry.dtype) : undefined;
  const coded = isExact || (index && count === 0) ? undefined : readCoded(part, count, entry);
  part.check(part.left() === 0, "record-trailing");

  // All of its structure is sound: from here on it takes memory.
  const tensor = out ?? allocate(entry.bytes);
  if (block && !index) await block(tensor);
  else if (index)
    await scatter(tensor, index.places(), block ? await inOrder(block, count, entry) : await coded?.(), entry);
  else await gather(tensor, await coded?.(), entry);
  part.check(crc32(tensor) === entry.tensorCrc, "tensor-crc");
  return tensor;
}

/**
 * @param {(out: Bytes) => Promise<void>} block @param {number} count @param {Entry} entry
 * @returns {Promise<Elements>}
 */
async function inOrder(block, count, entry) {
  const size = BITS[entry.dtype] / 8;
  const exact = allocate(count * size);
  await block(exact);
  let at = 0;
  return async (count) => exact.subarray(at, (at += count * size));
}

/** @param {Bytes} tensor @param {Elements | undefined} elements @param {Entry} entry */
async function gather(tensor, elements, entry) {
  const size = BITS[entry.dtype] / 8;
  for (let done = 0; elements && done < entry.count; done += STEP) {
    tensor.set(await elements(Math.min(STEP, entry.count - done)), done * size);
  }
}

/**
 * @param {Bytes} tensor @param {AsyncIterable<Float64Array>} blocks @param {Elements | undefined} elements
 * @param {Entry} entry
 */
async function scatter(tensor, blocks, elements, entry) {
  const size = BITS[entry.dtype] / 8;
  for await (const places of blocks) {
    const data = elements ? await elements(places.length, places) : tensor;
    for (let number = 0, from = 0; number < places.length; number++) {
      for (let byte = 0, to = places[number] * size; byte < size; byte++) tensor[to++] = data[from++];
    }
  }
}

/** @param {Part} part @param {number} count @param {number} dtype @returns {(out: Bytes) => Promise<void>} */
function readBlock(part, count, dtype) {
  const method = part.u8();
  const bits = BITS[dtype];
  part.check(method < 2 || (method === 2 && bits >= 16), "block-method");
  const data = part.take(part.left());
  const size = Math.ceil((count * bits) / 8);
  const planes = method === 2 ? bits / 8 : 1;
  return async (out) => {
    if (method === 0) {
      part.check(data.length === size, "block-length");
      return out.set(data);
    }
    part.check(size <= 1032 * data.length, "deflate"); // which makes no more of a byte
    await inflate([data], size, "deflate", part.name, (chunk, at) => {
      if (planes === 1) return out.set(chunk, at);
      for (let from = 0, to = (at % count) * planes + Math.floor(at / count); from < chunk.length; from++) {
        out[to] = chunk[from];
        if ((to += planes) >= size) to -= size - 1; // on to the next plane
      }
    });
  };
}

/**
 * A codebook and `count` codes, once they are decoded.
 * @param {Part} part @param {number} count @param {Entry} entry @returns {() => Promise<Elements>}
 */
function readCoded(part, count, entry) {
  const { alphabet, lowBits, prepare } = readCodebook(part, entry);
  const codes = inTurn(readSymbols(part, count, alphabet));
  const low = lowBits ? inTurn(readSymbols(part, count, 1 << lowBits)) : undefined;
  return async () => {
    const expand = await prepare();
    let first = 0;
    return async (count, places) => {
      const high = await codes(count);
      const numbers = low ? combine(high, lowBits, await low(count)) : high;
      first += count;
      return expand(numbers, first - count, places);
    };
  };
}

/** @param {Bytes} codes @param {number} lowBits @param {Bytes} low */
function combine(codes, lowBits, low) {
  const numbers = new Uint16Array(codes.length);
  for (let at = 0; at < numbers.length; at++) numbers[at] = (codes[at] << lowBits) | low[at];
  return numbers;
}

/** Symbols as many at a time as are asked for. @param {(number: number) => Promise<Bytes>} blocks */
function inTurn(blocks) {
  let ready = EMPTY;
  let number = 0;
  return async (/** @type {number} */ count) => {
    while (ready.length < count) {
      const rest = ready;
      const next = await blocks(number++);
      ready = rest.length ? new Uint8Array(rest.length + next.length) : next;
      if (rest.length) {
        ready.set(rest);
        ready.set(next, rest.length);
      }
    }
    const taken = ready.subarray(0, count);
    ready = ready.subarray(count);
    return taken;
  };
}
