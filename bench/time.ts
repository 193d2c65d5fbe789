/**
 * Event time: records/s of a tumbling window of a minute over 10,000 keys, and of a stream–stream join, against
 * three maps over the same records, all with digests on an LMDB log. Each in a process of its own, in alternation;
 * ratios are of neighbours.
 */
import { fileURLToPath } from "node:url";
import { inProcess, median } from "./measure.ts";
import type { TimeFigures } from "./time-contestant.ts";

const records = Number(process.argv[2] ?? 300_000);
const rounds = Number(process.argv[3] ?? 5);
const contestant = fileURLToPath(new URL("./time-contestant.js", import.meta.url));

const runs = Array.from({ length: rounds }, () => ({
  map: inProcess<TimeFigures>(contestant, ["map", String(records)]),
  window: inProcess<TimeFigures>(contestant, ["window", String(records)]),
  join: inProcess<TimeFigures>(contestant, ["join", String(records)]),
}));

const names = ["map", "window", "join"] as const;
const rate = (name: (typeof names)[number]) => median(runs.map((run) => records / run[name].seconds));
const ratio = (name: "window" | "join") => median(runs.map((run) => run.map.seconds / run[name].seconds));
console.log(`${records} records, ${rounds} rounds, medians\n`);
for (const name of names) {
  const { outputs } = (runs[0] as (typeof runs)[number])[name];
  const peak = Math.max(...runs.map((run) => run[name].peakMiB));
  console.log(
    `${name.padEnd(8)} ${rate(name).toFixed(0).padStart(9)} records/s  ${outputs} outputs  peak ${peak.toFixed(0)} MiB`,
  );
}
console.log(`\nwindow / map ${ratio("window").toFixed(2)} (mark: at least 0.5)`);
console.log(`join / map   ${ratio("join").toFixed(2)} (mark: at least 0.3)`);
