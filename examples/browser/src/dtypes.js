/** The types of elements (section 3), by ONNX's numbers. */

/** @type {Record<number, number>} */
export const BITS = {};
for (const [bits, dtypes] of /** @type {[number, number[]][]} */ ([
  [2, [25, 26]],
  [4, [21, 22, 23]],
  [8, [2, 3, 9, 17, 18, 19, 20, 24]],
  [16, [4, 5, 10, 16]],
  [32, [1, 6, 12]],
  [64, [7, 11, 13, 14]],
  [128, [15]],
]))
  for (const dtype of dtypes) BITS[dtype] = bits;
export const FLOAT = 1;
export const HALF = 10;
export const DOUBLE = 11;
export const BRAIN = 16; // bfloat16
export const REAL = [FLOAT, HALF, DOUBLE, BRAIN];

/** @param {bigint[]} dims @param {number} bits */
export const isShape = (dims, bits) => dims.reduce((all, dim) => all * (dim || 1n), BigInt(bits)) < 1n << 63n;
