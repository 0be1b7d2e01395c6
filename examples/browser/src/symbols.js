/**
 * Streams of symbols (section 6).
 *
 * @typedef {import("./part.js").Bytes} Bytes
 * @typedef {import("./part.js").Part} Part
 * @typedef {(number: number) => Promise<Bytes>} Blocks gives the symbols of a block: SEGMENT, or what is left
 */

import { inflate } from "./inflate.js";
import { EMPTY } from "./part.js";

export const SEGMENT = 1 << 18; // symbols
export const STEP = 1 << 15; // symbols that are worked on at once: they stay in cache
const END = 256; // the symbol that ends a segment

/** @param {Part} part @param {number} count @param {number} alphabet @returns {Blocks} */
export function readSymbols(part, count, alphabet) {
  const length = (/** @type {number} */ number) => Math.min(SEGMENT, count - number * SEGMENT);
  if (count === 0) return async () => EMPTY;
  const form = part.u8();
  part.check(form < 3, "stream-form");
  if (form === 0) {
    const symbol = part.u8();
    part.check(symbol < alphabet, "symbol-range");
    return async (number) => new Uint8Array(length(number)).fill(symbol);
  }
  if (form === 1) {
    const width = part.u8();
    part.check(width > 0 && width < 9, "packed-width");
    const packed = part.take(Math.ceil((count * width) / 8));
    return async (number) => {
      const symbols = unpack(packed.subarray((number * SEGMENT * width) / 8), width, length(number));
      part.check(
        symbols.every((symbol) => symbol < alphabet),
        "symbol-range",
      );
      return symbols;
    };
  }
  const header = blockHeader(readLengths(part, alphabet));
  const sizes = [];
  for (let left = count; left > 0; left -= SEGMENT) sizes.push(part.varint());
  const segments = sizes.map((size) => part.take(size));
  return async (number) => {
    const symbols = new Uint8Array(length(number));
    const segment = segments[number];
    const put = (/** @type {Uint8Array} */ chunk, /** @type {number} */ at) => symbols.set(chunk, at);
    // All at once: without matches, a byte becomes eight at most.
    await inflate([header, segment], symbols.length, "segment", part.name, put, segment.length + 1);
    return symbols;
  };
}

/** @param {Bytes} packed @param {number} width @param {number} count */
function unpack(packed, width, count) {
  const symbols = new Uint8Array(count);
  const mask = (1 << width) - 1;
  for (let number = 0, bit = 0; number < count; number++, bit += width) {
    symbols[number] = ((packed[bit >> 3] | (packed[(bit >> 3) + 1] << 8)) >> (bit & 7)) & mask;
  }
  return symbols;
}

/** The word lengths of the symbols 0 to 256. @param {Part} part @param {number} alphabet */
function readLengths(part, alphabet) {
  const last = part.u8();
  const lengths = /** @type {number[]} */ ([]);
  part.check(last < alphabet, "symbol-range");
  let byte = 0;
  let isHigh = false;
  const nibble = () => ((isHigh = !isHigh) ? (byte = part.u8()) & 15 : byte >> 4);
  const end = nibble();
  for (let previous = -1; lengths.length <= last;) {
    const length = nibble();
    lengths.push(length);
    if (length !== previous) previous = length;
    else {
      for (let run = nibble(); run > 0; run--) lengths.push(length);
      previous = -1;
    }
  }
  part.check(lengths.length === last + 1, "code-run");
  part.check(end > 0, "no-end-symbol");
  while (lengths.length < END) lengths.push(0);
  lengths.push(end);
  const filled = lengths.reduce((all, length) => all + (length && 2 ** -length), 0);
  part.check(filled <= 1, "code-over-full");
  part.check(filled >= 1, "code-under-full");
  return lengths;
}

/**
 * What makes a DEFLATE stream of a segment: the header of a last block, for literals with words of these lengths, in
 * whole bytes. Its code for lengths has 1 bit for 0, 4 for 1, 5 for 2 to 15; so surplus lengths of 0 fill it up bit by
 * bit.
 * @param {number[]} lengths
 */
function blockHeader(lengths) {
  const number = (/** @type {number} */ value, /** @type {number} */ width) =>
    [...value.toString(2).padStart(width, "0")].reverse().join("");
  const word = (/** @type {number} */ length) => (length ? (length > 1 ? (16 + length).toString(2) : "1000") : "0");
  const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
  const code = order.map((length) => number(length > 15 ? 0 : length > 1 ? 5 : length ? 4 : 1, 3)).join("");
  const body = number(0, 5) + number(15, 4) + code + lengths.map(word).join("") + "0"; // the last: no distances
  const surplus = (8 - ((8 + body.length) % 8)) % 8;
  const bits = "101" + number(surplus, 5) + body + "0".repeat(surplus);
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (eight) => parseInt([...eight].reverse().join(""), 2));
}
