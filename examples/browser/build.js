/** Makes dcz.js of src/: one module, small. `node build.js --check` fails where dcz.js is not what it would make. */

import { readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const TARGET = new URL("dcz.js", import.meta.url);

const made = await build({
  entryPoints: [new URL("src/dcz.js", import.meta.url).pathname],
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: "es2022",
  banner: { js: "// Reads .dcz files. Made of src/ by `npm run build`. Apache License 2.0." },
});
const text = made.outputFiles[0].text;
if (!process.argv.includes("--check")) await writeFile(TARGET, text);
else if ((await readFile(TARGET, "utf8")) !== text) {
  console.error("dcz.js is not what src/ makes: npm run build");
  process.exit(1);
}
