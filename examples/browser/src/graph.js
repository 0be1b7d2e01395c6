/**
 * The graph: a ModelProto in which tensors refer to records (section 4). It is not parsed into objects: what has to be
 * replaced in it is found, and its other bytes are copied.
 *
 * @typedef {import("./directory.js").Entry} Entry
 * @typedef {import("./part.js").Bytes} Bytes
 * @typedef {import("./wire.js").Field} Field
 *
 * @typedef {object} Hole where a decoded tensor belongs
 * @property {number} record
 * @property {boolean} transposed
 * @property {number} field its number
 * @property {number} varint bytes of the varint that an element becomes, 0 where it goes as it is
 * @property {number} size in bytes
 * @property {boolean} isFloats of an attribute, in place of a tensor
 * @property {number} at where it is in the model
 *
 * @typedef {{start: number, end: number, put: Bytes | Hole}} Edit of the graph's bytes from `start` to `end`
 * @typedef {{isConstant?: boolean, owner?: Field[]}} Around a message: in a Constant; the fields of `value_floats`
 */

import { BITS, FLOAT, isShape } from "./dtypes.js";
import { EMPTY } from "./part.js";
import { DATA, KEYS, ONCE, SCHEMA } from "./schema.js";
import { Wire, need, varint } from "./wire.js";

const MOST_DIMS = 255;
const LOCATIONS = [0, 1];
const EXTERNAL = 1; // of data: other values are none, as protobuf sees it
const TYPE_FLOATS = Uint8Array.of(0xa0, 1, 6); // the field `type` of an attribute

/** The model with holes for the tensors of its records, once they are found. */
export class Skeleton {
  /** @type {Edit[]} */ #edits = [];
  /** By record. @type {Map<number, Hole[]>} */ holes = new Map();

  /** @param {Bytes} graph @param {number} stored @param {Entry[]} entries */
  constructor(graph, stored, entries) {
    this.wire = new Wire(graph, stored);
    this.entries = entries;
    this.size = graph.length + this.#walk("Model", 0, graph.length, 0, {}).growth;
    this.#edits.sort((one, other) => one.start - other.start);
  }

  /** Writes all but what belongs in the holes, and notes where these are. @param {Bytes} out */
  write(out) {
    const { graph } = this.wire;
    let from = 0;
    let at = 0;
    for (const { start, end, put } of this.#edits) {
      out.set(graph.subarray(from, start), at);
      at += start - from;
      from = end;
      if ("length" in put) out.set(put, at);
      else put.at = at;
      at += sizeOf(put);
    }
    out.set(graph.subarray(from), at);
  }

  /**
   * Walks a message, and says by how many bytes it grows; `floats`, where it stands for those of its attribute.
   * @param {string} kind @param {number} start @param {number} end @param {number} depth @param {Around} around
   * @returns {{growth: number, floats?: Hole}}
   */
  #walk(kind, start, end, depth, around) {
    const fields = this.wire.message(kind, start, end, depth);
    const seen = new Set();
    const isConstant = kind === "Node" && this.wire.text(fields, 4) === "Constant";
    const owner = around.isConstant && this.wire.text(fields, 1) === "value_floats" ? fields : undefined;
    let growth = 0;
    for (const field of fields) {
      const inner = field.wire === 2 ? SCHEMA[kind][field.number] : undefined;
      const name = `${kind} ${field.number}`;
      if (inner === undefined) continue;
      need(!seen.has(name) || !ONCE.test(name), "the graph has a field twice");
      seen.add(name);
      const next = { isConstant, owner: field.number === 5 ? owner : undefined };
      const found = this.#walk(inner, field.from, field.to, depth + 1, next);
      growth += found.floats ? this.#putFloats(fields, end, found.floats) : this.#resize(field, found.growth);
    }
    const hole = kind === "Tensor" ? this.#reference(fields, around.owner) : undefined;
    if (hole?.isFloats) return { growth, floats: hole };
    if (hole) growth += this.#drop(fields, 13) + this.#drop(fields, 14) + this.#append(end, hole);
    return { growth };
  }

  /** A tensor's record, if it has one. @param {Field[]} fields @param {Field[]} [owner] of `value_floats` */
  #reference(fields, owner) {
    const { wire } = this;
    const dims = wire.integers(fields, 1, MOST_DIMS);
    const dtype = wire.int32(fields, 2) ?? 0;
    const isReal = dims.length <= MOST_DIMS && dims.every((dim) => dim >= 0n);
    need(isReal && isShape(dims, BITS[dtype] ?? 1), "a tensor has a shape that none may have");
    if (wire.int32(fields, 14, (value) => LOCATIONS.includes(value)) !== EXTERNAL) return undefined;
    const outside = fields.filter((each) => each.number === 13 && each.wire === 2);
    need(outside.length === 1, "an external tensor without one record");
    const pair = wire.fields(outside[0].from, outside[0].to, 0);
    const key = wire.text(pair, 1);
    const value = wire.text(pair, 2);
    const isFloats = key === "floats" && owner !== undefined && dtype === FLOAT && dims.length === 1;
    need(!hasData(fields, DATA) && !(isFloats && hasData(owner, [7])), "a tensor has data beside its record");
    const [, digits, letter] = /^(\d{1,9})(T?)$/.exec(value) ?? [];
    const record = Number(digits);
    const entry = this.entries[record];
    const transposed = letter === "T";
    const shape = dims.map(Number);
    const turned = transposed ? shape.toReversed() : shape;
    const mayTurn = !transposed || (dims.length === 2 && BITS[dtype] >= 8);
    const isFitting = mayTurn && entry?.dtype === dtype && `${entry.dims}` === `${turned}`;
    const place = key === "raw_data" ? [9, 0] : isFloats ? [7, 0] : KEYS[key]?.[dtype];
    need(place && isFitting, `a tensor refers to ${JSON.stringify(key + "=" + value)}, which does not fit`);
    const [field, width] = place;
    const size = width ? width * entry.count : entry.bytes;
    const hole = { record, transposed, field, varint: width, size, isFloats, at: 0 };
    const others = this.holes.get(record);
    if (others) others.push(hole);
    else this.holes.set(record, [hole]);
    return hole;
  }

  /** In place of an attribute's tensor. @param {Field[]} fields @param {number} end @param {Hole} hole */
  #putFloats(fields, end, hole) {
    return this.#drop(fields, 5) + this.#drop(fields, 20) + this.#append(end, hole) + this.#edit(end, end, TYPE_FLOATS);
  }

  /** @param {Field} field @param {number} growth of its content */
  #resize(field, growth) {
    return growth && growth + this.#edit(field.size, field.from, varint(field.to - field.from + growth));
  }

  /** @param {Field[]} fields @param {number} number of those that go */
  #drop(fields, number) {
    let growth = 0;
    for (const field of fields) if (field.number === number) growth += this.#edit(field.start, field.to, EMPTY);
    return growth;
  }

  /** @param {number} end @param {Hole} hole */
  #append(end, hole) {
    const head = Uint8Array.of(hole.field * 8 + 2, ...varint(hole.size));
    return this.#edit(end, end, head) + this.#edit(end, end, hole);
  }

  /** @param {number} start @param {number} end @param {Bytes | Hole} put */
  #edit(start, end, put) {
    this.#edits.push({ start, end, put });
    return sizeOf(put) - (end - start);
  }
}

/** @param {Bytes | Hole} put */
const sizeOf = (put) => ("length" in put ? put.length : put.size);

/**
 * Whether one of the fields has content; a text, even if it is empty.
 * @param {Field[]} fields @param {number[]} numbers
 */
const hasData = (fields, numbers) =>
  fields.some((each) => numbers.includes(each.number) && (each.wire !== 2 || each.to > each.from || each.number === 6));
