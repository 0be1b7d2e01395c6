/**
 * A small server of files on this machine alone, with byte ranges, for the page and its tests. It can do what servers in
 * the wild do wrong.
 *
 *     node server.js --port 8000 --models ../../build/browser --drop 400000
 */

import { createHash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** @type {Record<string, string>} */
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".jpg": "image/jpeg",
};

/**
 * @typedef {object} Faults what goes wrong with the files of models
 * @property {number[]} [drop] after so many bytes the connection is cut: of the first answer, the second ...
 * @property {boolean} [noRanges] all of the file is sent each time
 * @property {number} [length] in place of the file's, in Content-Length or Content-Range
 * @property {string[]} [versions] the ETag of the first answer, the second ...; the last one from then on
 * @property {boolean} [hidesLength] chunks without a Content-Length, and no Content-Range: as from another origin
 * @property {number[]} [status] of the first answer, the second ...; 0 where nothing goes wrong
 *
 * @typedef {{path: string, range: string | undefined, status: number}} Request
 */

/**
 * Serves folders by the first part of their paths. `requests` are those for models, in order.
 * @param {Record<string, URL>} folders @param {{port?: number, faults?: Faults}} [options]
 */
export async function serve(folders, { port = 0, faults = {} } = {}) {
  /** @type {Request[]} */ const requests = [];
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://local").pathname);
    const name = path.endsWith("/") ? path + "index.html" : path;
    const folder = name.split("/")[1];
    const root = folders[folder] ?? folders[""];
    const inside = normalize(folders[folder] ? name.slice(folder.length + 2) : name.slice(1));
    try {
      if (inside.startsWith("..")) throw new Error("outside");
      const data = await readFile(new URL(encodeURI(inside), root));
      if (extname(name) !== ".dcz") {
        response.writeHead(200, {
          "Content-Type": TYPES[extname(name)] ?? "application/octet-stream",
          "Content-Length": data.length,
        });
        response.end(data);
        return;
      }
      const number = requests.length;
      requests.push({ path, range: request.headers.range, status: 0 });
      requests[number].status = sendModel(data, request.headers, response, number, faults);
    } catch {
      response.writeHead(404).end("not found");
    }
  });
  await new Promise((done) => server.listen(port, "127.0.0.1", () => done(undefined)));
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  const close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return { url: `http://127.0.0.1:${address.port}/`, requests, faults, close };
}

/**
 * @param {Buffer} data @param {import("node:http").IncomingHttpHeaders} asked
 * @param {import("node:http").ServerResponse} response @param {number} number of the answer @param {Faults} faults
 */
function sendModel(data, asked, response, number, faults) {
  const wrong = faults.status?.[number];
  const { versions } = faults;
  if (wrong) return end(response, wrong, {});
  const digest = createHash("sha1").update(data).digest("hex");
  const version = `"${versions ? versions[Math.min(number, versions.length - 1)] : digest}"`;
  if (asked["if-none-match"] === version) return end(response, 304, { ETag: version });
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(asked.range ?? "") ?? [];
  const isPart = first !== undefined && !faults.noRanges && (asked["if-range"] ?? version) === version;
  const from = isPart ? Number(first) : 0;
  const to = isPart && last ? Math.min(Number(last) + 1, data.length) : data.length;
  const size = faults.length ?? data.length;
  /** @type {Record<string, string | number>} */ const headers = {
    "Content-Type": "application/octet-stream",
    ETag: version,
  };
  if (isPart && from >= data.length) return end(response, 416, { "Content-Range": `bytes */${size}` });
  if (!faults.hidesLength) {
    headers["Content-Length"] = isPart ? to - from : size;
    if (isPart) headers["Content-Range"] = `bytes ${from}-${to - 1}/${size}`;
  }
  const status = isPart ? 206 : 200;
  const cut = faults.drop?.[number] ?? Infinity;
  const body = data.subarray(from, to);
  response.writeHead(status, headers);
  if (body.length <= cut) response.end(body);
  else response.write(body.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
  return status;
}

/**
 * @param {import("node:http").ServerResponse} response @param {number} status @param {Record<string, string>} headers
 * @returns {number}
 */
function end(response, status, headers) {
  response.writeHead(status, headers).end();
  return status;
}

/** The page's own folders, and that of the models. @param {URL} models */
export function folders(models) {
  const here = new URL(".", import.meta.url);
  return { "": new URL("page/", here), lib: here, ort: new URL("node_modules/onnxruntime-web/dist/", here), models };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8000" },
      models: { type: "string", default: "../../build/browser" },
      drop: { type: "string" },
      "no-ranges": { type: "boolean" },
    },
  });
  const models = new URL(`file://${process.cwd()}/${values.models}/`);
  await (await open(models)).close(); // else there is nothing to show
  const faults = { drop: values.drop ? [Infinity, Number(values.drop)] : undefined, noRanges: values["no-ranges"] };
  console.log(`the page is at ${(await serve(folders(models), { port: Number(values.port), faults })).url}`);
}
