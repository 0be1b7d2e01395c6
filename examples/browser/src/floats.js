/** Numbers of 16 bits, and the real types of elements (section 8). */

import { BRAIN, DOUBLE, FLOAT, HALF } from "./dtypes.js";

const F32 = new Float32Array(1);
const F64 = new Float64Array(1);
const U32 = new Uint32Array(F32.buffer);
const EXPONENT = new Uint32Array(F64.buffer);

/** A float16 as a number. @param {number} bits */
export function fromHalf(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits >> 15 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}

/** The nearest float16, ties to even. @param {number} value */
function toHalf(value) {
  F64[0] = value;
  const sign = (EXPONENT[1] >>> 16) & 0x8000;
  const size = Math.abs(value);
  if (!(size < 65520)) return sign | 0x7c00;
  const exponent = Math.max(((EXPONENT[1] >>> 20) & 2047) - 1023, -14);
  const units = size * 2 ** (10 - exponent);
  const whole = Math.floor(units);
  const rest = units - whole;
  return sign | (((exponent + 14) << 10) + whole + (rest > 0.5 || (rest === 0.5 && whole & 1) ? 1 : 0));
}

/** A bfloat16 as a number. @param {number} bits */
function fromBrain(bits) {
  U32[0] = bits << 16;
  return F32[0];
}

/** The nearest float32, and of that the nearest bfloat16, ties to even. @param {number} value */
function toBrain(value) {
  F32[0] = value;
  return (U32[0] + 0x7fff + ((U32[0] >>> 16) & 1)) >>> 16;
}

/**
 * @typedef {Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer> | Uint16Array<ArrayBuffer>} Elements
 *
 * @typedef {object} Real
 * @property {number} size of an element, in bytes
 * @property {(from: number | ArrayBuffer) => Elements} array so many of them, or those in a buffer
 * @property {(bits: number) => number} from what such an array holds, to a number
 * @property {(value: number) => number} to the nearest that it can hold
 */

const same = (/** @type {number} */ value) => value;
const pairs = (/** @type {number | ArrayBuffer} */ from) => new Uint16Array(/** @type {ArrayBuffer} */ (from));
/** By dtype. @type {Record<number, Real>} */
export const FLOATS = {
  [FLOAT]: { size: 4, array: (from) => new Float32Array(/** @type {ArrayBuffer} */ (from)), from: same, to: same },
  [HALF]: { size: 2, array: pairs, from: fromHalf, to: toHalf },
  [DOUBLE]: { size: 8, array: (from) => new Float64Array(/** @type {ArrayBuffer} */ (from)), from: same, to: same },
  [BRAIN]: { size: 2, array: pairs, from: fromBrain, to: toBrain },
};
