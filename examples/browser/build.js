/**
 * Makes dcz.js of src/: one module, small. `node build.js --check` fails where dcz.js is not what it would make. The
 * digest in its first line tells, without any tool, of what it was made.
 */

import { createHash } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const TARGET = new URL("dcz.js", import.meta.url);
const SOURCE = new URL("src/", import.meta.url);

const digest = createHash("sha256");
for (const name of (await readdir(SOURCE)).sort()) digest.update(await readFile(new URL(name, SOURCE)));

const made = await build({
  entryPoints: [new URL("src/dcz.js", import.meta.url).pathname],
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: "es2022",
  banner: { js: `// Made of src/ (${digest.digest("hex").slice(0, 16)}) by build.js. Apache License 2.0.` },
});
const text = made.outputFiles[0].text;
if (!process.argv.includes("--check")) await writeFile(TARGET, text);
else if ((await readFile(TARGET, "utf8")) !== text) {
  console.error("dcz.js is not what src/ makes: npm run build");
  process.exit(1);
}
