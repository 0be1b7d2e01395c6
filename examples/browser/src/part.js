/**
 * Errors, and the elementary fields of the format (section 1).
 *
 * @typedef {Uint8Array<ArrayBuffer>} Bytes
 */

/** A refusal, `reason` being its name in section 9; or `too-large`, `memory`, `network`, `http`, `changed`. */
export class DczError extends Error {
  /** @param {string} reason @param {string} detail @param {ErrorOptions} [options] */
  constructor(reason, detail, options) {
    super(`${detail} [${reason}]`, options);
    this.name = "DczError";
    this.reason = reason;
  }
}

/** What may go better when it is tried again. */
export class Broken extends DczError {}

/** @param {boolean} holds @param {string} reason @param {string} detail @returns {asserts holds} */
export function check(holds, reason, detail) {
  if (!holds) throw new DczError(reason, detail);
}

/** A cursor over bytes. All reading is by `take`, so nothing is read past their end. */
export class Part {
  at = 0;

  /** @param {Bytes} data @param {string} name */
  constructor(data, name) {
    this.data = data;
    this.name = name;
  }

  /** @param {boolean} holds @param {string} reason */
  check(holds, reason) {
    check(holds, reason, `${this.name}, before byte ${this.at}`);
  }

  left() {
    return this.data.length - this.at;
  }

  /** @param {number} size */
  take(size) {
    this.check(size <= this.left(), "truncated");
    this.at += size;
    return this.data.subarray(this.at - size, this.at);
  }

  u8() {
    return this.take(1)[0];
  }

  u32() {
    return view(this.take(4)).getUint32(0, true);
  }

  big() {
    let value = 0n;
    let byte = 128;
    for (let place = 0; byte > 127; place++) {
      this.check(place < 9, "varint");
      byte = this.u8();
      value |= BigInt(byte & 127) << BigInt(7 * place);
      this.check(byte > 0 || place === 0, "varint");
    }
    return value;
  }

  /** A varint; inexact from 2^53 on, which is past the end of everything. */
  varint() {
    return Number(this.big());
  }

  string() {
    const bytes = this.take(this.varint());
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new DczError("text", this.name);
    }
  }
}

export const EMPTY = new Uint8Array(0);

/** @param {Bytes} data */
export const view = (data) => new DataView(data.buffer, data.byteOffset, data.length);

/** @param {number} size @returns {Bytes} */
export function allocate(size) {
  try {
    return new Uint8Array(size);
  } catch (cause) {
    throw new DczError("memory", `${size} bytes cannot be had`, { cause });
  }
}

/** Eight tables of 256: the CRC-32 of a byte that has 0 to 7 others after it. */
const CRC = new Int32Array(2048);
for (let at = 0; at < 2048; at++) {
  CRC[at] = at < 256 ? at : CRC[at - 256];
  for (let bit = 0; bit < 8; bit++) CRC[at] = (CRC[at] & 1 && 0xedb88320) ^ (CRC[at] >>> 1);
}

/** @param {Bytes} data @param {number} [before] the CRC-32 of what is before it */
export function crc32(data, before = 0) {
  const words = view(data);
  const eights = data.length - 7;
  let crc = ~before;
  let at = 0;
  for (; at < eights; at += 8) {
    const low = crc ^ words.getInt32(at, true);
    const high = words.getInt32(at + 4, true);
    crc =
      CRC[1792 + (low & 255)] ^
      CRC[1536 + ((low >>> 8) & 255)] ^
      CRC[1280 + ((low >>> 16) & 255)] ^
      CRC[1024 + (low >>> 24)] ^
      CRC[768 + (high & 255)] ^
      CRC[512 + ((high >>> 8) & 255)] ^
      CRC[256 + ((high >>> 16) & 255)] ^
      CRC[high >>> 24];
  }
  for (; at < data.length; at++) crc = CRC[(crc ^ data[at]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
