/** Writes the models of files: `node restore.js OUT a.dcz b.dcz` makes OUT/0.onnx and OUT/1.onnx. */

import { readFileSync, writeFileSync } from "node:fs";
import { load } from "../src/dcz.js";

const [out, ...files] = process.argv.slice(2);
for (const [number, file] of files.entries()) {
  writeFileSync(`${out}/${number}.onnx`, await load(new Uint8Array(readFileSync(file))));
}
