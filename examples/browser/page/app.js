/** The page: what happens to it, and what it shows. */

import { Network } from "./network.js";
import { best, draw, toNumbers } from "./picture.js";

const FOLDER = "models/";
const SHOWN = 5;
/** @type {["fetch" | "decode" | "session" | "run", string][]} */
const STEPS = [
  ["fetch", "fetch"],
  ["decode", "decode"],
  ["session", "runtime, session"],
  ["run", "run"],
];

/** @template {HTMLElement} T @param {string} id @returns {T} */
const $ = (id) => /** @type {T} */ (document.getElementById(id));
const canvas = /** @type {HTMLCanvasElement} */ ($("canvas"));
const bytes = new Intl.NumberFormat("en");

/** @type {Network | undefined} */ let network;
/** @type {import("./network.js").Description} */ let description;
/** @type {Uint8ClampedArray | undefined} */ let pixels;
/** For tests: the outputs of the last run. */
export const demo = { outputs: /** @type {number[]} */ ([]), network: () => network };
Object.assign(globalThis, { demo });

/** @param {string} tag @param {string} text @param {string} [kind] */
function element(tag, text, kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = kind;
  return made;
}

/** @param {string} kind @param {number} share of the whole width */
function bar(kind, share) {
  const made = element("div", "", kind);
  made.style.width = `${100 * share}%`;
  return made;
}

/** @param {unknown} error @param {boolean} [mayGoOn] */
function tell(error, mayGoOn = false) {
  $("error").textContent = error instanceof Error ? error.message : String(error ?? "");
  $("error").hidden = !error;
  $("resume").hidden = !mayGoOn;
}

/** @param {number} received @param {number} [total] */
function showProgress(received, total) {
  const shown = /** @type {HTMLProgressElement} */ ($("progress"));
  if (total) shown.value = received / total;
  $("status").textContent = `${bytes.format(received)} of ${total ? bytes.format(total) : "unknown"} bytes`;
}

/** @param {string} name @param {number} share @param {string} kind @param {string} text */
function sizeRow(name, share, kind, text) {
  const cell = element("dd", "");
  cell.append(bar(kind, share));
  return [element("dt", name), cell, element("dd", text, "number")];
}

function showSizes() {
  const size = network?.file.size ?? 0;
  const before = description.onnxBytes;
  const most = Math.max(size, before);
  const times = before > size ? `, ${(before / size).toFixed(1)} times smaller` : "";
  $("sizes").replaceChildren(
    ...sizeRow(".dcz", size / most, "bar new", `${bytes.format(size)} bytes${times}`),
    ...(before ? sizeRow(".onnx", before / most, "bar", `${bytes.format(before)} bytes`) : []),
  );
}

function showTimes() {
  const cells = STEPS.map(([step, name]) => {
    const time = network?.times[step];
    const cell = element("div", "");
    cell.append(element("dt", name), element("dd", time ? `${time.toFixed(time < 10 ? 1 : 0)} ms` : "–"));
    return cell;
  });
  $("times").replaceChildren(...cells);
}

/** @param {Float32Array} outputs */
function showAnswers(outputs) {
  const items = best(outputs, SHOWN).map(({ number, share }) => {
    const item = document.createElement("li");
    const line = document.createElement("div");
    line.append(
      element("span", description.labels[number] ?? `class ${number}`),
      element("span", `${(100 * share).toFixed(1)} %`, "share"),
    );
    item.append(line, bar("bar", share));
    return item;
  });
  $("answers").replaceChildren(...items);
}

/** Fetches and decodes the network, or what is missing of it. */
async function start() {
  tell(null);
  try {
    await network?.start();
  } catch (error) {
    $("status").textContent = "Stopped.";
    return tell(error, /** @type {{reason?: string}} */ (error).reason === "network");
  }
  $("status").textContent = `${bytes.format(network?.file.size ?? 0)} bytes, ready`;
  showTimes();
  if (pixels) await classify();
}

/** @param {string | Blob} source @param {import("./network.js").Description} described */
async function load(source, described) {
  [network, description] = [undefined, described];
  [canvas.width, canvas.height] = [described.input.width, described.input.height];
  pixels = undefined;
  $("title").textContent = described.name;
  tell(null);
  try {
    network = await Network.open(source, showProgress);
  } catch (error) {
    $("status").textContent = "Stopped.";
    return tell(error);
  }
  showSizes();
  $("note").hidden = network.file.isResumable;
  $("note").textContent = "This server sends no byte ranges: where the connection breaks, the file comes anew.";
  await start();
}

/** @param {Blob} picture @param {string} name */
async function look(picture, name) {
  try {
    pixels = draw(canvas, await createImageBitmap(picture));
  } catch {
    return tell(`${name} is no picture that this browser can read`);
  }
  canvas.setAttribute("aria-label", name);
  tell(null);
  if (network?.session) await classify();
}

async function classify() {
  if (!network || !pixels) return;
  try {
    const outputs = await network.run(toNumbers(pixels, description.input), canvas.height, canvas.width);
    demo.outputs = [...outputs];
    showAnswers(outputs);
    showTimes();
  } catch (error) {
    tell(error);
  }
}

/** @param {FormData} form */
async function loadOther(form) {
  const model = /** @type {File} */ (form.get("model"));
  const labels = /** @type {File} */ (form.get("labels"));
  const side = Number(form.get("side"));
  const text = labels.size ? await labels.text() : "";
  const numbers = (/** @type {string} */ name) => String(form.get(name)).split(",").map(Number);
  const order = form.get("order") === "bgr" ? "bgr" : "rgb";
  const input = { width: side, height: side, order, mean: numbers("mean"), deviation: numbers("deviation") };
  await load(model, {
    name: model.name,
    onnxBytes: 0,
    input: /** @type {import("./picture.js").Input} */ (input),
    labels: text.split(/\r?\n/),
  });
}

$("resume").addEventListener("click", start);
$("picture").addEventListener("change", (event) => {
  const [picture] = /** @type {HTMLInputElement} */ (event.target).files ?? [];
  if (picture) look(picture, picture.name);
});
$("sample").addEventListener("click", async () =>
  look(await (await fetch(`${FOLDER}sample.png`)).blob(), "the sample"),
);
$("other").addEventListener("submit", (event) => {
  event.preventDefault();
  loadOther(new FormData(/** @type {HTMLFormElement} */ (event.target)));
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    const [picture] = /** @type {DragEvent} */ (event).dataTransfer?.files ?? [];
    if (kind === "drop" && picture) look(picture, picture.name);
  });
}

const answer = await fetch(`${FOLDER}model.json`);
showTimes();
if (!answer.ok) {
  $("status").textContent = "";
  tell("There is no model here yet: `make browser` makes one. Or open another one below.");
} else {
  /** @type {HTMLButtonElement} */ ($("sample")).disabled = false;
  await load(`${FOLDER}model.dcz`, await answer.json());
}
