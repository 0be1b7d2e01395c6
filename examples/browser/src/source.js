/**
 * Where the bytes come from.
 *
 * @typedef {import("./part.js").Bytes} Bytes
 * @typedef {import("./dcz.js").Options} Options
 *
 * @typedef {object} Source a file that is read from a place on
 * @property {number} [size] of the file, once it is known
 * @property {boolean} ranges whether any part of it can be had alone
 * @property {() => Source} fork the same file, to be read elsewhere
 * @property {(at: number) => void} seek
 * @property {(length: number, alone?: boolean) => Promise<Bytes>} read up to `length` bytes, fewer at the end of the
 *   file; `alone`, where none will be read after them
 * @property {() => void} close
 */

import { HEAD } from "./directory.js";
import { Broken, DczError, EMPTY, allocate, check } from "./part.js";

/** A file in memory or on a disk. @implements {Source} */
export class Local {
  ranges = true;
  at = 0;

  /** @param {Blob | Bytes} data */
  constructor(data) {
    this.data = data;
    this.size = data instanceof Blob ? data.size : data.length;
  }

  fork() {
    return new Local(this.data);
  }

  /** @param {number} at */
  seek(at) {
    this.at = at;
  }

  /** Up to `length` bytes, fewer at the end of the file. @param {number} length */
  async read(length) {
    const [from, to] = [this.at, (this.at += length)];
    if (!(this.data instanceof Blob)) return this.data.subarray(from, to);
    try {
      return new Uint8Array(await this.data.slice(from, to).arrayBuffer());
    } catch (cause) {
      throw new DczError("changed", `the file cannot be read, or no longer: ${cause}`, { cause });
    }
  }

  close() {}
}

/**
 * A file on a server. Its first bytes come by a request of their own, what is read in order after them by another one.
 * Where that breaks, the next one begins where the reading did, at a record. A server without ranges sends all anew.
 *
 * The versions that answers name (ETag and Last-Modified) are compared here, rather than by the server with If-Range:
 * that would go past the browser's cache, and from another origin ask for a request beforehand. A weak ETag (W/) is that
 * of the same bytes, packed on the way.
 * @implements {Source}
 */
export class Remote {
  ranges = true;
  at = 0;
  /** @type {number | undefined} */ size;
  /** @type {Record<string, string>} */ #versions = {}; // by the header that named them
  #head = EMPTY;
  /** @type {ReadableStreamDefaultReader<Bytes> | undefined} */ #body;
  #rest = EMPTY; // of the last chunk of the body
  #next = 0; // where the rest begins in the file
  #until = NaN; // where the body ends, if that is known
  /** @type {number | undefined} */ #end; // where it was asked to end

  /** @param {string | URL} url @param {Options} options */
  constructor(url, options) {
    this.url = url;
    this.options = options;
  }

  /** The same file, to be read elsewhere. */
  fork() {
    const other = new Remote(this.url, this.options);
    [other.ranges, other.size, other.#versions] = [this.ranges, this.size, this.#versions];
    return other;
  }

  /** Fetches the first bytes, and keeps them. */
  async open() {
    this.#head = await this.read(HEAD, true);
    this.at = 0;
  }

  /** @param {number} at */
  seek(at) {
    this.at = at;
  }

  close() {
    this.#body?.cancel().catch(() => {});
    this.#body = undefined;
  }

  /**
   * Up to `length` bytes, fewer at the end of the file; `alone`, where no others will be read.
   * @param {number} length @param {boolean} [alone]
   */
  async read(length, alone) {
    const { retries = 4, wait = 500 } = this.options;
    for (let tries = 0; ; tries++) {
      try {
        return await this.#collect(length, alone ? this.at + length : undefined);
      } catch (error) {
        this.close();
        if (!(error instanceof Broken) || tries >= retries) throw error;
        await new Promise((done) => setTimeout(done, wait * 2 ** tries));
      }
    }
  }

  /** @param {number} length @param {number} [end] */
  async #collect(length, end) {
    const chunks = [this.#head.subarray(this.at, this.at + length)];
    let [at, wasEmpty] = [this.at + chunks[0].length, false];
    for (const to = this.at + length; at < to && !(at >= (this.size ?? Infinity));) {
      const chunk = await this.#chunk(at, to - at, end);
      const isEmpty = !chunk.length && !(at >= (this.size ?? Infinity)); // as once, where an answer is at its end
      if (isEmpty && wasEmpty) throw this.#broken("no bytes came");
      wasEmpty = isEmpty;
      chunks.push(chunk);
      at += chunk.length;
      this.options.onProgress?.(at, this.size);
    }
    const data = chunks.length > 1 ? allocate(at - this.at) : chunks[0];
    for (let number = 0, done = 0; chunks.length > 1 && number < chunks.length; done += chunks[number++].length) {
      data.set(chunks[number], done);
    }
    this.at = at;
    return data;
  }

  /**
   * The next bytes from `at` on, at most `length`; none where a body is at its end.
   * @param {number} at @param {number} length @param {number} [end]
   */
  async #chunk(at, length, end) {
    if (!this.#body || this.#next !== at) await this.#request(at, end);
    while (this.#body) {
      const skipped = Math.min(this.#rest.length, at - this.#next); // where all comes anew
      const found = this.#rest.subarray(skipped, skipped + length);
      this.#rest = this.#rest.subarray(skipped + found.length);
      this.#next += skipped + found.length;
      if (found.length) return found;
      const { done, value } = await this.#tried(this.#body.read());
      if (value) this.#rest = value;
      if (!done) continue;
      this.#body = undefined;
      if (Number.isNaN(this.#until)) {
        this.#until = this.#next;
        if (this.#until !== this.#end) this.size ??= this.#until; // else it is where the asking ended
      }
      if (this.#next !== this.#until) throw this.#broken("it ended too early");
    }
    return EMPTY;
  }

  /** @param {number} at @param {number} [end] */
  async #request(at, end) {
    this.close();
    const { fetch: get = fetch, signal } = this.options;
    const headers = { Range: `bytes=${at}-${end === undefined ? "" : end - 1}` };
    this.#next = at;
    this.#end = end;
    const answer = await this.#tried(get(this.url, { headers, signal }));
    const { status } = answer;
    if (status === 429 || status >= 500) throw new Broken("http", `${this.url}: the server answers ${status}`);
    for (const header of ["etag", "last-modified"]) {
      const version = answer.headers.get(header)?.replace(/^W\//, "");
      const isSame = !version || version === (this.#versions[header] ??= version);
      check(isSame, "changed", `${this.url}: another version than at first`);
    }
    const [, first, last, all] =
      /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(answer.headers.get("content-range") ?? "") ?? [];
    const length = parseInt(answer.headers.get("content-length") ?? "");
    const isWhole = status === 200;
    check(isWhole || status === 206 || status === 416, "http", `${this.url}: the server answers ${status}`);
    check(!isWhole || at === 0 || !this.ranges, "http", `${this.url}: the server sends no byte ranges any more`);
    check(!first || Number(first) === at, "http", `${this.url}: the server sends byte ${first} in place of ${at}`);
    if (isWhole) {
      this.ranges = false;
      this.#next = 0;
    }
    // Another origin may hide how long the file is: then its length says so, or its end.
    this.#until = last ? Number(last) + 1 : answer.headers.has("content-encoding") ? NaN : this.#next + length;
    const isEnd = isWhole || !(this.#until === end);
    const size = status === 416 ? parseInt(all) || at : parseInt(all);
    const known = size >= 0 ? size : isEnd && this.#until >= 0 ? this.#until : undefined;
    check(
      known === undefined || known === (this.size ?? known),
      "changed",
      `${this.url}: another length than at first`,
    );
    this.size ??= known;
    this.#rest = EMPTY;
    this.#body = status === 416 ? undefined : answer.body?.getReader();
    if (!this.#body) this.size ??= this.#next;
  }

  /** @param {unknown} cause */
  #broken(cause) {
    return new Broken("network", `${this.url}: the connection broke at byte ${this.#next}: ${cause}`, { cause });
  }

  /** @template T @param {Promise<T>} step */
  async #tried(step) {
    try {
      return await step;
    } catch (cause) {
      throw this.options.signal?.aborted ? cause : this.#broken(cause);
    }
  }
}
