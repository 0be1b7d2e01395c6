/**
 * How fast files are decoded in Node, and in headless Chromium where there is one: processor seconds of one process, for
 * files in memory, as JSON. bench.py prints them beside Python's.
 *
 *     node bench.js model.dcz
 */

import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { load } from "dcz-reader";
import { folders, serve } from "./server.js";

const SECONDS = 3; // at least, for each
const CHROMIUM = process.env.CHROMIUM || ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);

/** @param {string} path @returns {Promise<[number, number]>} processor seconds, and decodings */
async function inNode(path) {
  const data = new Uint8Array(readFileSync(path));
  await load(data);
  const before = process.cpuUsage();
  for (let count = 1; ; count++) {
    await load(data);
    const { user, system } = process.cpuUsage(before);
    if (user + system > 1e6 * SECONDS) return [(user + system) / 1e6, count];
  }
}

/** @param {string} path @returns {Promise<[number, number]>} */
async function inChromium(path) {
  const server = await serve(folders(pathToFileURL(`${dirname(resolve(path))}/`)));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  const page = await browser.newPage();
  const session = await browser.newBrowserCDPSession();
  const spent = async () => {
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    return processInfo.filter((each) => each.type === "renderer").reduce((all, each) => all + each.cpuTime, 0);
  };
  await page.goto(`${server.url}lib/tests/empty.html`);
  const decode = (/** @type {[string, number]} */ given) =>
    page.evaluate(async ([name, seconds]) => {
      const { load } = await import(/** @type {any} */ ("/lib/dcz.js"));
      const scope = /** @type {any} */ (globalThis);
      scope.data ??= new Uint8Array(await (await fetch(`/models/${name}`)).arrayBuffer());
      let count = 0;
      for (const start = performance.now(); performance.now() - start < 1000 * seconds; count++) await load(scope.data);
      return count;
    }, given);
  await decode([basename(path), 0.5]);
  const before = await spent();
  const count = await decode([basename(path), SECONDS]);
  const after = await spent();
  await browser.close();
  await server.close();
  return [after - before, count];
}

const found = [];
for (const path of process.argv.slice(2)) {
  const [seconds, count] = await inNode(path);
  found.push({ path, where: `Node ${process.versions.node}`, seconds: seconds / count });
  if (!CHROMIUM) continue;
  const [busy, times] = await inChromium(path);
  found.push({ path, where: "Chromium", seconds: busy / times });
}
console.log(JSON.stringify(found));
