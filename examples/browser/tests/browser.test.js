/**
 * The page in headless Chromium (CHROMIUM, or where Debian has it), with the model that prepare.py has made in
 * build/browser: its answers are those of onnxruntime in Python.
 */

import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { open as load } from "../src/dcz.js";
import { folders, serve } from "../server.js";

const CHROMIUM = process.env.CHROMIUM || ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
const MODELS = new URL("../../../build/browser/", import.meta.url);
const SHOTS = new URL("shots/", MODELS);
const missing = CHROMIUM
  ? existsSync(new URL("model.dcz", MODELS))
    ? ""
    : "prepare.py has made no model"
  : "no Chromium";
const NEAR = 1e-4; // of shares: wasm adds up in another order than the processor's own instructions
const WAIT = 60_000; // ms: where others work too, a start takes long

/** @param {string} name */
const read = (name) => readFileSync(new URL(name, MODELS));
/** @type {import("playwright-core").Browser} */ let browser;
/** @type {{close: () => unknown}[]} */ const open = [];

before(async () => {
  if (!missing) browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  mkdirSync(SHOTS, { recursive: true });
});
after(async () => {
  await browser?.close();
  await Promise.all(open.map((each) => each.close()));
});

/** @param {import("../server.js").Faults} [faults] @param {import("playwright-core").BrowserContextOptions} [options] */
async function visit(faults, options) {
  const server = await serve(folders(MODELS), { faults });
  const page = await (await browser.newContext(options)).newPage();
  /** @type {string[]} */ const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.setDefaultTimeout(WAIT);
  open.push({ close: () => page.context().close() }, server);
  await page.goto(server.url);
  return { page, errors, ...server };
}

/** @param {import("playwright-core").Page} page */
const isReady = (page) => page.getByText(/bytes, ready/).waitFor();

/** @param {number[]} outputs @returns {number[]} */
function shares(outputs) {
  const sum = outputs.reduce((all, each) => all + each, 0);
  if (outputs.every((each) => each >= 0) && Math.abs(sum - 1) < 1e-3) return outputs;
  const most = Math.max(...outputs);
  const weights = outputs.map((each) => Math.exp(each - most));
  const whole = weights.reduce((all, each) => all + each, 0);
  return weights.map((each) => each / whole);
}

/** @param {import("playwright-core").Page} page */
async function checkAnswers(page) {
  await page.locator("#answers .share").first().waitFor();
  const found = shares(await page.evaluate(() => /** @type {any} */ (globalThis).demo.outputs));
  const wanted = shares(JSON.parse(read("answers.json").toString()));
  const { labels } = JSON.parse(read("model.json").toString());
  const furthest = Math.max(...wanted.map((share, number) => Math.abs(share - found[number])));
  assert.ok(found.length === wanted.length && furthest < NEAR, `furthest from Python's: ${furthest}`);
  const top = wanted
    .map((share, number) => ({ share, number }))
    .sort((one, other) => other.share - one.share)
    .slice(0, 5);
  const told = await page.locator("#answers li div:first-child span:first-child").allTextContents();
  assert.deepEqual(
    told,
    top.map(({ number }) => labels[number] ?? `class ${number}`),
  );
  return furthest;
}

test("a broken download goes on, and the answers are Python's", { skip: missing || false }, async () => {
  const file = await load(new Uint8Array(read("model.dcz")));
  const half = Math.floor(file.size / 2);
  const { page, errors, requests } = await visit({ drop: [Infinity, half] });
  await isReady(page);
  const starts = requests.map((each) => Number(each.range?.match(/\d+/)?.[0]));
  // After the cut, Chromium may ask whether what it has of a record is good still.
  assert.ok(requests.length > 2, "the connection was not cut");
  const cut = starts[1] + half;
  const broken = file.tensors.findLast((each) => each.offset <= cut);
  assert.ok(
    starts.slice(2).every((start) => start >= (broken?.offset ?? Infinity)),
    `${starts}`,
  );
  await page.getByRole("button", { name: "Use the sample" }).click();
  console.log(`outputs differ from Python's by at most ${await checkAnswers(page)}`);
  const times = await page.locator("#times dd").allTextContents();
  assert.ok(times.length === 4 && times.every((time) => /^[\d.]+ ms$/.test(time)), times.join());
  assert.deepEqual(errors, []);
});

test(
  "the page is used by keyboard alone, and takes a picture that is dropped",
  { skip: missing || false },
  async () => {
    const { page } = await visit();
    await isReady(page);
    const names = [];
    for (let press = 0; press < 4; press++) {
      await page.keyboard.press("Tab");
      names.push(await page.evaluate(() => document.activeElement?.id || document.activeElement?.tagName));
    }
    assert.deepEqual(names.slice(0, 3), ["picture", "sample", "SUMMARY"]);
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await checkAnswers(page);
    const data = await page.evaluateHandle(async () => {
      const transfer = new DataTransfer();
      transfer.items.add(
        new File([await (await fetch("models/sample.png")).blob()], "dropped.png", { type: "image/png" }),
      );
      return transfer;
    });
    await page.evaluate(() => document.getElementById("answers")?.replaceChildren());
    await page.dispatchEvent("#drop", "drop", { dataTransfer: data });
    await checkAnswers(page);
    assert.equal(await page.locator("#canvas").getAttribute("aria-label"), "dropped.png");
  },
);

test("a server without ranges is told of", { skip: missing || false }, async () => {
  const { page, requests } = await visit({ noRanges: true });
  await isReady(page);
  assert.ok(await page.getByText("This server sends no byte ranges").isVisible());
  assert.deepEqual(
    requests.map((each) => each.status),
    [200],
  );
});

test(
  "errors are told in words, and a download that was given up goes on by a button",
  { skip: missing || false },
  async () => {
    const changed = await visit({ versions: ["one", "two"] });
    await changed.page.getByRole("alert").filter({ hasText: "another version than at first" }).waitFor();
    const { page, faults, requests } = await visit({ drop: [Infinity, 100_000, ...Array(20).fill(0)] });
    await page.getByRole("alert").filter({ hasText: "the connection broke" }).waitFor();
    faults.drop = [];
    const before = requests.length;
    await page.getByRole("button", { name: "Go on" }).click();
    await isReady(page);
    assert.ok(requests.length > before);
    assert.equal(await page.getByRole("alert").count(), 0);
  },
);

test("another model is opened from the disk, and what is no .dcz is refused", { skip: missing || false }, async () => {
  const { page } = await visit();
  const { input } = JSON.parse(read("model.json").toString());
  await isReady(page);
  await page.getByText("Another model").click();
  await page
    .locator("[name=model]")
    .setInputFiles({ name: "net.dcz", mimeType: "", buffer: Buffer.from("no network at all") });
  await page.getByRole("button", { name: "Load it" }).click();
  await page.getByRole("alert").filter({ hasText: "not-dcz" }).waitFor();
  await page.locator("[name=model]").setInputFiles({ name: "net.dcz", mimeType: "", buffer: read("model.dcz") });
  await page.locator("[name=side]").fill(String(input.width));
  await page.locator("[name=order]").selectOption(input.order);
  await page.locator("[name=mean]").fill(input.mean.join());
  await page.locator("[name=deviation]").fill(input.deviation.join());
  await page.getByRole("button", { name: "Load it" }).click();
  await isReady(page);
  await page.getByRole("button", { name: "Use the sample" }).click();
  await page.locator("#answers .share").first().waitFor();
});

test("the page of the tutorial shows the model's answers", { skip: missing || false }, async () => {
  const tutorial = readFileSync(new URL("../../../docs/tutorials/web.md", import.meta.url), "utf8");
  const [, text] = /```html title="index.html"\n(.*?)```/s.exec(tutorial) ?? [];
  const { input } = JSON.parse(read("model.json").toString());
  const count = 3 * input.width * input.height;
  const shape = `[1, 3, ${input.height}, ${input.width}]`;
  const html = text?.replace("new Float32Array(64), [1, 64]", `new Float32Array(${count}), ${shape}`) ?? "";
  assert.ok(html.includes(shape));
  const folder = pathToFileURL(mkdtempSync(join(tmpdir(), "tutorial-")) + "/");
  const here = new URL("../", import.meta.url);
  writeFileSync(new URL("index.html", folder), html);
  for (const [name, place] of [
    ["dcz.js", here],
    ["model.dcz", MODELS],
  ])
    copyFileSync(new URL(name, place), new URL(name, folder));
  const server = await serve({ "": folder, ort: new URL("node_modules/onnxruntime-web/dist/", here) });
  const page = await browser.newPage();
  page.setDefaultTimeout(WAIT);
  open.push(server);
  await page.goto(server.url);
  await page.waitForFunction(() => document.getElementById("answer")?.textContent);
  const shown = (await page.locator("#answer").textContent())?.split(" ").map(Number) ?? [];
  const wanted = JSON.parse(read("answers.json").toString());
  assert.ok(shown.length === wanted.length && shown.every(Number.isFinite), shown.join().slice(0, 200));
});

test("it works in a worker", { skip: missing || false }, async () => {
  const { page, url } = await visit();
  const length = await page.evaluate((url) => {
    const text = `import { load } from "${url}lib/dcz.js"; postMessage((await load("${url}models/model.dcz")).length);`;
    const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })), { type: "module" });
    return new Promise((done) => (worker.onmessage = (event) => done(event.data)));
  }, url);
  const found = await (await load(new Uint8Array(read("model.dcz")))).onnx();
  assert.equal(length, found.length);
});

for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
  test(`the page in ${colorScheme}`, { skip: missing || false }, async () => {
    const { page } = await visit({}, { colorScheme, viewport: { width: 860, height: 980 } });
    await isReady(page);
    await page.getByRole("button", { name: "Use the sample" }).click();
    await page.locator("#answers .share").first().waitFor();
    await page.mouse.move(0, 0);
    await page.screenshot({ path: new URL(`${colorScheme}.png`, SHOTS).pathname });
    await page.setViewportSize({ width: 360, height: 800 });
    assert.ok(
      await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
      "it is wider than a phone",
    );
  });
}
