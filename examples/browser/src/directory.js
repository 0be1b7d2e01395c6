/**
 * Header and directory (sections 2 and 3).
 *
 * @typedef {import("./part.js").Bytes} Bytes
 * @typedef {import("./source.js").Source} Source
 *
 * @typedef {object} Entry what the directory says of a tensor
 * @property {string} name
 * @property {number} dtype ONNX's number, TensorProto.DataType
 * @property {number[]} dims
 * @property {number} encoding 0 stored, 1 shared, 2 sparse, 3 pruned
 * @property {number} offset where its record begins in the file
 * @property {number} length of the record, in bytes
 * @property {number} recordCrc
 * @property {number} tensorCrc
 * @property {number} count of its elements
 * @property {number} bytes of the decoded tensor
 */

import { BITS, REAL, isShape } from "./dtypes.js";
import { inflatedTo } from "./inflate.js";
import { Part, check, crc32 } from "./part.js";

const MAGIC = "\x89DCZ\r\n\x1a\n";
export const HEAD = 1 << 14; // bytes that are fetched first: header and directory of most files

/**
 * The plain bytes of the directory, and its length in the file.
 * @param {Source} source @returns {Promise<[Bytes, number]>}
 */
export async function readDirectory(source) {
  const header = await source.read(24);
  const magic = String.fromCharCode(...header.subarray(0, 8));
  const isText = magic.length === 8 && /^[\x89\t]DCZ/.test(magic);
  check(magic === MAGIC, isText ? "text-mode" : "not-dcz", isText ? "damaged by a transfer as text" : "no .dcz file");
  const part = new Part(header, "header");
  part.check(header.length === 24, "truncated");
  check(header[8] === 1, "version", `format version ${header[8]}.${header[9]}, and this reader knows 1`);
  part.take(10);
  part.check(part.u8() + part.u8() === 0, "flags");
  const stored = part.u32();
  const size = part.u32();
  const crc = part.u32();
  part.check(stored <= size && size <= 1 << 26 && size <= 2 ** 20 + 16 * stored, "directory-size");
  const data = await source.read(stored);
  part.check(data.length === stored, "truncated");
  part.check(crc32(data, crc32(header.subarray(0, 20))) === crc, "directory-crc");
  return [await inflatedTo(data, size, "directory"), stored];
}

/** @param {Bytes} data @param {number} offset where the graph begins */
export function parseDirectory(data, offset) {
  const part = new Part(data, "directory");
  const most = 2 ** 12 + Math.floor((offset - 24) / 8);
  const counted = () => {
    const count = part.varint();
    part.check(count <= most, "directory-size");
    return count;
  };
  const stored = part.varint();
  const size = part.varint();
  const crc = part.u32();
  part.check(stored <= size && size < 2 ** 31 && size <= 2 ** 26 + 64 * stored, "graph-size");
  const graph = { offset, stored, size, crc };
  offset += stored;
  /** @type {Map<string, string>} */ const metadata = new Map();
  for (let left = counted(); left > 0; left--) {
    const key = part.string();
    part.check(!metadata.has(key), "duplicate-name");
    metadata.set(key, part.string());
  }
  /** @type {Map<string, Entry>} */ const entries = new Map();
  for (let left = counted(); left > 0; left--) {
    const entry = parseEntry(part, offset);
    part.check(!entries.has(entry.name), "duplicate-name");
    entries.set(entry.name, entry);
    offset += entry.length;
  }
  part.check(part.left() === 0, "directory-trailing");
  return { graph, metadata, entries: [...entries.values()], end: offset };
}

/** @param {Part} part @param {number} offset @returns {Entry} */
function parseEntry(part, offset) {
  const name = part.string();
  const dtype = part.u8();
  const bits = BITS[dtype];
  part.check(bits > 0, "dtype");
  const shape = Array.from({ length: part.u8() }, () => part.big());
  const dims = shape.map(Number);
  part.check(isShape(shape, bits), "shape");
  const encoding = part.u8();
  part.check(encoding === 0 || (encoding < 4 && REAL.includes(dtype)), "encoding");
  const length = part.varint();
  const recordCrc = part.u32();
  const tensorCrc = part.u32();
  const count = dims.reduce((all, dim) => all * dim, 1);
  const bytes = Math.ceil((count * bits) / 8);
  part.check(bytes <= 65536 * length, "expansion");
  return { name, dtype, dims, encoding, offset, length, recordCrc, tensorCrc, count, bytes };
}
