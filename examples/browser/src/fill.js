/**
 * Decoded tensors into the fields of a ModelProto (section 4).
 *
 * @typedef {import("./directory.js").Entry} Entry
 * @typedef {import("./graph.js").Hole} Hole
 * @typedef {import("./part.js").Bytes} Bytes
 */

import { BITS } from "./dtypes.js";
import { allocate, view } from "./part.js";

/**
 * Puts a decoded tensor where it belongs.
 * @param {Bytes} out the model @param {Hole} hole @param {Bytes} data @param {Entry} entry
 */
export function fill(out, hole, data, entry) {
  const size = BITS[entry.dtype] / 8;
  const target = out.subarray(hole.at, hole.at + hole.size);
  if (hole.transposed) data = transpose(data, entry.dims, size);
  if (hole.varint === 0) return target.set(data);
  const words = view(data);
  const last = hole.varint - 1;
  for (let at = 0, from = 0; from < data.length; from += size, at += hole.varint) {
    const value =
      size === 8
        ? words.getBigUint64(from, true)
        : size === 4
          ? words.getUint32(from, true)
          : words.getUint16(from, true);
    for (let place = 0; place <= last; place++) {
      const seven =
        typeof value === "bigint" ? Number((value >> BigInt(7 * place)) & 127n) : (value / 128 ** place) & 127;
      target[at + place] = seven | (place < last ? 128 : 0);
    }
  }
}

/** @param {Bytes} data @param {number[]} dims of it @param {number} size of an element */
function transpose(data, [rows, columns], size) {
  const out = allocate(data.length);
  for (let row = 0, from = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const to = (column * rows + row) * size;
      for (let byte = 0; byte < size; byte++) out[to + byte] = data[from++];
    }
  }
  return out;
}
