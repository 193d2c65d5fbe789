/**
 * Records/s of three stages over records of five small fields, 512 a batch, 4 partitions, all digests and steps,
 * durable at the end: (a) Headwater on an LMDB log, (b) a bare loop that does the same without a framework,
 * (c) Headwater with provenance off. Each in a process of its own, in alternation; ratios are of neighbours.
 */
import { fileURLToPath } from "node:url";
import type { Figures } from "./contestant.ts";
import { inProcess, median } from "./measure.ts";

const records = Number(process.argv[2] ?? 300_000);
const rounds = Number(process.argv[3] ?? 5);
const contestant = fileURLToPath(new URL("./contestant.js", import.meta.url));
const MICROSECONDS = 1_000_000;

const runs = Array.from({ length: rounds }, () => ({
  a: inProcess<Figures>(contestant, ["a", String(records)]),
  b: inProcess<Figures>(contestant, ["b", String(records)]),
  c: inProcess<Figures>(contestant, ["c", String(records)]),
}));

const rate = (name: "a" | "b" | "c") => median(runs.map((run) => records / run[name].seconds));
const micros = (figures: Figures) => (figures.seconds * MICROSECONDS) / records;
const added = median(runs.map((run) => micros(run.a) - micros(run.c)));
const packAndHash = median(runs.map((run) => run.b.packAndHash ?? Number.NaN));
const rows: readonly (readonly [string, string, string])[] = [
  ["(a) with provenance", rate("a").toFixed(0), "records/s"],
  ["(b) bare loop", rate("b").toFixed(0), "records/s"],
  ["(c) provenance off", rate("c").toFixed(0), "records/s"],
  ["a / b", median(runs.map((run) => run.b.seconds / run.a.seconds)).toFixed(2), "(mark: at least 0.6)"],
  ["provenance adds (a - c)", added.toFixed(2), "µs a record"],
  ["bare pack and hash", packAndHash.toFixed(2), "µs a record"],
  ["added / bare pack and hash", (added / packAndHash).toFixed(2), "(mark: at most 1.5)"],
  [
    "provenance",
    median(runs.map((run) => run.a.provenanceBytes ?? 0)).toFixed(1),
    "bytes a record (mark: at most 160)",
  ],
  ["peak RssAnon of (a)", Math.max(...runs.map((run) => run.a.peakMiB)).toFixed(0), "MiB"],
];
console.log(`${records} records, ${rounds} rounds, medians\n`);
for (const [name, value, unit] of rows) console.log(`${name.padEnd(28)} ${value.padStart(10)} ${unit}`);
