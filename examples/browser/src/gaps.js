/**
 * The index: which places are kept (section 7).
 *
 * @typedef {import("./part.js").Part} Part
 */

import { SEGMENT, STEP, readSymbols } from "./symbols.js";

/** How many places are kept, and these, in the order of the codes. @param {Part} part @param {number[]} dims */
export function readIndex(part, dims) {
  const leading = dims.findIndex((dim) => dim !== 1);
  const [height, ...others] = leading < 0 ? [1] : dims.slice(leading);
  const width = others.reduce((all, dim) => all * dim, 1);
  const layout = part.u8();
  const skip = 2 ** ((layout & 7) + 1) - 1;
  part.check(skip > 1 && layout < 64, "index-layout");
  const rows = layout & 16 ? readBitmap(part, height) : undefined;
  const across = rows?.length ?? height;
  const columns = layout & 32 ? readBitmap(part, width) : undefined;
  const along = columns?.length ?? width;
  const size = across * along;
  const kept = part.varint();
  const gapCount = part.varint();
  part.check(kept <= size && kept <= gapCount && gapCount <= (kept && kept + size), "kept-count");
  const gaps = readSymbols(part, gapCount, skip + 1);

  /** @param {number} place of the compact matrix */
  function element(place) {
    const [row, column] =
      layout & 8 ? [place % across, Math.floor(place / across)] : [Math.floor(place / along), place % along];
    return (rows ? rows[row] : row) * width + (columns ? columns[column] : column);
  }

  async function* places() {
    const isPlain = (layout & 56) === 0;
    let place = 0;
    let total = 0;
    let gap = 0;
    for (let number = 0; number * SEGMENT < gapCount; number++) {
      const symbols = await gaps(number);
      for (let start = 0; start < symbols.length; start += STEP) {
        const found = new Float64Array(STEP);
        let count = 0;
        for (gap of symbols.subarray(start, start + STEP)) {
          place += gap;
          if (place > size || (place === size && gap !== skip)) part.check(false, "gap-overrun");
          if (gap === skip) continue;
          if (total + count < kept) found[count] = isPlain ? place : element(place);
          count++;
          place++;
        }
        const fitting = Math.min(count, kept - total); // the others have no codes, but a later gap may still overrun
        total += count;
        if (fitting > 0) yield found.subarray(0, fitting);
      }
    }
    part.check(total === kept && (kept === 0 || gap !== skip), "kept-count");
  }
  return { kept, places };
}

/** The numbers of the bits that are set. @param {Part} part @param {number} count */
function readBitmap(part, count) {
  const bitmap = part.take(Math.ceil(count / 8));
  const isSet = (/** @type {number} */ number) => (bitmap[number >>> 3] >> (number & 7)) & 1;
  let set = 0;
  for (let number = 0; number < count; number++) set += isSet(number);
  const numbers = new Uint32Array(set);
  for (let number = 0, at = 0; number < count; number++) if (isSet(number)) numbers[at++] = number;
  return numbers;
}
