/**
 * Protobuf messages on the wire, counted as they are met (section 4): what refuses does so as `graph-reference`.
 *
 * @typedef {import("./part.js").Bytes} Bytes
 *
 * @typedef {object} Field of a message
 * @property {number} number
 * @property {number} wire its type: 0 varint, 1 eight bytes, 2 a length and so many bytes, 5 four bytes
 * @property {number} start where it begins
 * @property {number} size where its length begins, if it has one
 * @property {number} from where its content begins
 * @property {number} to where it ends
 */

import { DczError, check } from "./part.js";
import { PACKED } from "./schema.js";

const TEXT = 64; // bytes of the texts that are looked at: none that is known is longer

/** @param {boolean} holds @param {string} detail */
export function need(holds, detail) {
  check(holds, "graph-reference", detail);
}

/** A graph of `stored` bytes in its file. */
export class Wire {
  #messages = 0;
  #fields = 0;
  #packed = 0;

  /** @param {Bytes} graph @param {number} stored */
  constructor(graph, stored) {
    this.graph = graph;
    this.stored = stored;
  }

  /**
   * The fields of a message, `depth` others being around it.
   * @param {string} kind @param {number} from @param {number} to @param {number} depth
   */
  message(kind, from, to, depth) {
    need(++this.#messages <= 2 ** 15 + 4 * this.stored && depth <= 100, "the graph holds too many messages");
    const fields = this.fields(from, to, 1);
    for (const each of fields)
      if (each.wire === 2 && PACKED[kind]?.includes(each.number)) this.#packed += each.to - each.from;
    need(this.#packed <= 2 ** 22 + 8 * this.stored, "the graph holds too many packed integers");
    return fields;
  }

  /** @param {number} at @param {number} end @param {number} each what it counts: 0, where it has been counted */
  fields(at, end, each) {
    /** @type {Field[]} */ const found = [];
    while (at < end) {
      const [tag, size] = this.#varint(at, end, 2 ** 32 - 1);
      const wire = tag & 7;
      const [value, after] = wire === 0 || wire === 2 ? this.#varint(size, end, 2 ** 64) : [0, size];
      const to = after + [0, 8, value, NaN, NaN, 4, NaN, NaN][wire]; // groups are none of ONNX
      need(tag > 7 && to <= end, "the graph is no ONNX model");
      need((this.#fields += each) <= 2 ** 19 + 16 * this.stored, "the graph holds too many fields");
      found.push({ number: tag >>> 3, wire, start: at, size, from: wire === 0 ? size : after, to });
      at = to;
    }
    return found;
  }

  /**
   * A varint, and where it ends.
   * @param {number} at @param {number} end @param {number} most @returns {[number, number]}
   */
  #varint(at, end, most) {
    for (let value = 0, place = 0; place < 10 && at < end; place++) {
      value += (this.graph[at] & 127) * 128 ** place;
      if (this.graph[at++] < 128 && value <= most) return [value, at];
    }
    throw new DczError("graph-reference", "the graph is no ONNX model");
  }

  /** The beginning of the last field of a number, byte by byte. @param {Field[]} fields @param {number} number */
  text(fields, number) {
    const field = fields.findLast((each) => each.number === number && each.wire === 2);
    return field ? String.fromCharCode(...this.graph.subarray(field.from, Math.min(field.to, field.from + TEXT))) : "";
  }

  /**
   * The integers of a repeated field, packed or not; of more than `most`, one more.
   * @param {Field[]} fields @param {number} number @param {number} most
   */
  integers(fields, number, most) {
    const values = [];
    for (const { from, to } of fields.filter((each) => each.number === number && each.wire % 2 === 0)) {
      for (let at = from, value = 0n, shift = 0n; at < to && values.length <= most; at++) {
        value |= BigInt(this.graph[at] & 127) << shift;
        shift += 7n;
        if (this.graph[at] > 127) continue;
        values.push(BigInt.asIntN(64, value));
        value = shift = 0n;
      }
    }
    return values;
  }

  /**
   * The last value of a field that `isKnown`, as an int32.
   * @param {Field[]} fields @param {number} number @param {(value: number) => boolean} isKnown
   */
  int32(fields, number, isKnown = () => true) {
    const known = fields.filter((each) => each.number === number && each.wire === 0);
    return known.map((each) => Number(BigInt.asIntN(32, this.integers([each], number, 1)[0]))).findLast(isKnown);
  }
}

/** @param {number} value */
export function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  return Uint8Array.of(...bytes, value);
}
