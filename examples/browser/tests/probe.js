/** What comes of each file, as JSON: "handled" or the reason of a refusal, processor seconds, and the process's peak. */

import { existsSync, readFileSync } from "node:fs";
import { DczError, load } from "../src/dcz.js";

/** Megabytes at the peak. `maxRSS` would count what the process that started this one had, too. */
function peak() {
  const status = existsSync("/proc/self/status") ? readFileSync("/proc/self/status", "utf8") : "";
  const kilobytes = /VmHWM:\s*(\d+)/.exec(status)?.[1] ?? process.resourceUsage().maxRSS;
  return (1024 * Number(kilobytes)) / 1e6;
}

const found = [];
for (const file of process.argv.slice(2)) {
  const data = new Uint8Array(readFileSync(file));
  const start = process.cpuUsage();
  let outcome = "handled";
  try {
    await load(data);
  } catch (error) {
    if (!(error instanceof DczError)) throw error;
    outcome = error.reason;
  }
  const { user, system } = process.cpuUsage(start);
  found.push({ outcome, seconds: (user + system) / 1e6, megabytes: peak() });
}
console.log(JSON.stringify(found));
