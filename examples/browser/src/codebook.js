/**
 * Codebooks and scales (section 8).
 *
 * @typedef {import("./directory.js").Entry} Entry
 * @typedef {import("./part.js").Bytes} Bytes
 * @typedef {import("./part.js").Part} Part
 * @typedef {Bytes | Uint16Array} Numbers of entries
 * @typedef {(numbers: Numbers, first: number, places?: Float64Array) => Bytes} Expand gives the elements of entries:
 *   those from the `first` one of the tensor on, or those at some places of it
 */

import { FLOATS, fromHalf } from "./floats.js";
import { SEGMENT, readSymbols } from "./symbols.js";

const NATIVE = 0;
const HALVES = 1;
const FINE = 3; // forms; 2: a ramp

/** @param {Part} part @param {Entry} entry */
export function readCodebook(part, entry) {
  const head = part.u8();
  const form = head & 127;
  const alphabet = part.u8() + 1;
  const real = FLOATS[entry.dtype];
  part.check(form <= FINE, "codebook-form");
  const data = part.take([alphabet * real.size, 2 * alphabet, 8, 8][form]).slice(); // so that it is aligned
  const lowBits = form === FINE ? part.u8() : 0;
  part.check(form < FINE || (lowBits > 0 && lowBits < 9), "low-bits");
  const scales = head > 127 ? readScales(part, entry.dims) : undefined;

  function values() {
    if (form === NATIVE) return Float64Array.from(real.array(data.buffer), real.from);
    if (form === HALVES) return Float64Array.from(new Uint16Array(data.buffer), fromHalf);
    const [first, step] = new Float32Array(data.buffer);
    return new Float64Array(alphabet << lowBits).map((_, number) => first + number * step);
  }

  /** @returns {Promise<Expand>} */
  async function prepare() {
    if (form === NATIVE && !scales) return lookUp(data, real.size);
    const entries = values();
    const factors = (await scales?.decode()) ?? [1];
    const table = real.array(entries.length);
    let largest = 0;
    for (const factor of factors) largest = Math.max(largest, factor);
    let isFinite = entries.every(Number.isFinite);
    for (let number = 0; number < entries.length; number++) {
      table[number] = real.to(entries[number] * largest);
      isFinite &&= Number.isFinite(real.from(table[number]));
    }
    part.check(isFinite, "codebook-value");
    return scales ? multiply(real, entries, factors, scales) : lookUp(new Uint8Array(table.buffer), real.size);
  }
  return { alphabet, lowBits, prepare };
}

/**
 * Elements of a table bit for bit, which numbers need not be.
 * @param {Bytes} table @param {number} size of an element @returns {Expand}
 */
function lookUp(table, size) {
  const Words = size === 2 ? Uint16Array : Uint32Array;
  const words = new Words(table.buffer);
  return (numbers) => {
    const out = new Words((numbers.length * size) / Words.BYTES_PER_ELEMENT);
    if (size < 8) for (let at = 0; at < out.length; at++) out[at] = words[numbers[at]];
    else for (let at = 0; at < out.length; at++) out[at] = words[2 * numbers[at >> 1] + (at & 1)];
    return new Uint8Array(out.buffer);
  };
}

/**
 * Entries times scales, rounded once.
 * @param {import("./floats.js").Real} real @param {Float64Array} entries @param {ArrayLike<number>} factors
 * @param {{count: number, inner: number}} scales @returns {Expand}
 */
function multiply({ array, to }, entries, factors, { count, inner }) {
  return (numbers, first, places) => {
    const out = array(numbers.length);
    let row = Math.floor(first / inner) % count;
    let left = inner - (first % inner);
    for (let number = 0; number < out.length; number++, left--) {
      if (places) row = Math.floor(places[number] / inner) % count;
      else if (left === 0) {
        row = (row + 1) % count;
        left = inner;
      }
      out[number] = to(entries[numbers[number]] * factors[row]);
    }
    return new Uint8Array(out.buffer);
  };
}

/**
 * Scales along an axis: that of an element is its number over `inner`, modulo `count`.
 * @param {Part} part @param {number[]} dims
 */
function readScales(part, dims) {
  const axis = part.u8();
  part.check(axis < dims.length && !dims.includes(0), "scale-axis");
  const count = dims[axis];
  const inner = dims.slice(axis + 1).reduce((all, dim) => all * dim, 1);
  const form = part.u8();
  part.check(form < 2, "scale-form");
  const steps = form === 0 ? readSymbols(part, count, 256) : undefined;
  const exact = form === 1 ? part.take(4 * count) : undefined;

  async function decode() {
    const scales = exact ? Float64Array.from(new Float32Array(exact.slice().buffer)) : new Float64Array(count);
    for (let at = 0; steps && at < count; at += SEGMENT) {
      const block = await steps(at / SEGMENT);
      block.forEach((step, number) => (scales[at + number] = (8 + (step & 7)) * 2 ** (step >> 3)));
    }
    part.check(
      scales.every((scale) => scale > 0 && scale < Infinity),
      "scale-value",
    );
    return scales;
  }
  return { count, inner, decode };
}
