/**
 * `npm run bench:threads`: records/s of one stage with two nodes in threads of their own and inline, for a stage that
 * takes 20 µs a record and for a cheap one; durable at the end, with all digests. Each in a process of its own, in
 * alternation; ratios are of neighbours. Each thread compiles what it runs for itself, some seconds of processor time in
 * all: so many records are run that this does not weigh, and an argument gives another number of them.
 */
import { fileURLToPath } from "node:url";
import { inProcess, median } from "./measure.ts";
import type { ThreadFigures } from "./threads-contestant.ts";

const given = process.argv[2];
const repeats = Number(process.argv[3] ?? 3);
const contestant = fileURLToPath(new URL("./threads-contestant.js", import.meta.url));
const HEAVY_MICROSECONDS = 20;
const MICROSECONDS = 1_000_000;

/** Rounds of the stage's arithmetic that take so many microseconds of processor time on this machine. */
function roundsFor(microseconds: number): number {
  const some = 20_000_000;
  const time = () => {
    const before = process.cpuUsage();
    let mixed = 1;
    for (let round = 0; round < some; round++) mixed = (Math.imul(mixed, 1_664_525) + round) | 0;
    const { user, system } = process.cpuUsage(before);
    return mixed === 0 ? Number.NaN : user + system;
  };
  return Math.round((some * microseconds) / median(Array.from({ length: 5 }, time)));
}

const stages = [
  {
    name: "20 µs a record",
    rounds: roundsFor(HEAVY_MICROSECONDS),
    mark: 1.6,
    records: Number(given ?? 1_200_000),
  },
  { name: "cheap", rounds: 0, mark: 0.8, records: Number(given ?? 2_000_000) },
] as const;

console.log(`${repeats} rounds, medians\n`);
for (const { name, rounds, mark, records } of stages) {
  const run = (executor: string) =>
    inProcess<ThreadFigures>(contestant, [executor, String(records), String(rounds)]);
  const runs = Array.from({ length: repeats }, () => ({ inline: run("inline"), threads: run("threads") }));
  const ratio = median(runs.map((each) => each.inline.seconds / each.threads.seconds));
  console.log(`${records} records`);
  for (const executor of ["inline", "threads"] as const) {
    const rate = median(runs.map((each) => records / each[executor].seconds));
    const micros = median(runs.map((each) => (each[executor].cpuSeconds * MICROSECONDS) / records));
    console.log(
      `${`${name}, ${executor}`.padEnd(28)} ${rate.toFixed(0).padStart(10)} records/s, ${micros.toFixed(1)} µs of processor time each`,
    );
  }
  console.log(`${"threads / inline".padEnd(28)} ${ratio.toFixed(2).padStart(10)} (mark: at least ${mark})\n`);
}
