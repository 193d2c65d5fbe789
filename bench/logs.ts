/**
 * Records/s of three stages with all digests, as in bench/pipeline.ts, on a log that is named and on LMDB: each in
 * a process of its own, in alternation; the ratio is of neighbours. What the runs leave on a server is deleted.
 */
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { Figures } from "./contestant.ts";
import { inProcess, LOG_VARIABLE, median } from "./measure.ts";

/** The least share of LMDB's rate that a log on a server has to carry. */
const MARK = 0.5;

export function compareLogs(log: string, records: number, rounds: number): void {
  const contestant = fileURLToPath(new URL("./contestant.js", import.meta.url));
  const run = (on: Readonly<Record<string, string>>) =>
    inProcess<Figures>(contestant, ["a", String(records)], on);
  const runs = Array.from({ length: rounds }, () => ({
    lmdb: run({ [LOG_VARIABLE]: "" }),
    other: run({ [LOG_VARIABLE]: ofItsOwn(log) }),
  }));
  const rate = (name: "lmdb" | "other") => median(runs.map((each) => records / each[name].seconds));
  const peak = (name: "lmdb" | "other") => Math.max(...runs.map((each) => each[name].peakMiB));
  const kind = log.slice(0, Math.max(0, log.indexOf(":")));
  const rows: readonly (readonly [string, string, string])[] = [
    ["lmdb", rate("lmdb").toFixed(0), "records/s"],
    [kind, rate("other").toFixed(0), "records/s"],
    [
      `${kind} / lmdb`,
      median(runs.map((each) => each.lmdb.seconds / each.other.seconds)).toFixed(2),
      `(mark: at least ${MARK})`,
    ],
    ["peak RssAnon, lmdb", peak("lmdb").toFixed(0), "MiB"],
    [`peak RssAnon, ${kind}`, peak("other").toFixed(0), "MiB"],
  ];
  console.log(`${records} records, ${rounds} rounds, medians\n`);
  for (const [name, value, unit] of rows) console.log(`${name.padEnd(28)} ${value.padStart(10)} ${unit}`);
}

/** A log of a run's own: on a server under a prefix that nobody has used. */
function ofItsOwn(log: string): string {
  if (!log.startsWith("esdb") || /[?&]prefix=/i.test(log)) return log;
  return `${log}${log.includes("?") ? "&" : "?"}prefix=bench-${randomUUID()}`;
}
