/**
 * `npm run bench`: rate, cost of provenance, memory and latency. `npm run bench -- --log LOG [--records N]
 * [--rounds N]`: the rate on that log, and on LMDB.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { compareLogs } from "./logs.ts";

const { values } = parseArgs({
  options: {
    log: { type: "string" },
    records: { type: "string", default: "300000" },
    rounds: { type: "string", default: "5" },
  },
});
if (values.log === undefined) {
  for (const [name, args] of [
    ["pipeline", [values.records, values.rounds]],
    ["latency", []],
  ] as const) {
    const file = fileURLToPath(new URL(`./${name}.js`, import.meta.url));
    const { status } = spawnSync(process.execPath, [file, ...args], { stdio: "inherit" });
    if (status !== 0) process.exit(1);
  }
} else compareLogs(values.log, Number(values.records), Number(values.rounds));
