/** What comes of each file, as JSON: "handled" or the reason of a refusal, processor seconds, and the process's peak. */

import { readFileSync } from "node:fs";
import { DczError, load } from "../src/dcz.js";

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
  found.push({ outcome, seconds: (user + system) / 1e6, megabytes: (1024 * process.resourceUsage().maxRSS) / 1e6 });
}
console.log(JSON.stringify(found));
