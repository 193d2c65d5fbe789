/**
 * Memory of a process whose source could give records of 1 KiB for ever, while a stage takes 10 ms for each, for a
 * minute, on LMDB. Prints RssAnon by the quarter and who held the source back; exits with 1 if it rose, or if it was
 * not the stage.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline, start } from "headwater";
import { LIMITS } from "../src/core/limits.ts";
import { watchMemory } from "./measure.ts";

const RUN_MS = Number(process.argv[2] ?? 60) * 1_000;
const STAGE_MS = 10;
const QUARTERS = 4;
/** A batch takes this long at most, which is how long the end of the run may have to wait for it. */
const BATCH = 64;
/** What may come and go with collections of garbage. */
const SLACK_MIB = 32;

const dir = mkdtempSync(join(tmpdir(), "headwater-backpressure-"));
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const p = pipeline("slow-stage", { partitions: 4, batchRecords: BATCH });
p.source("fast", { key: (record) => (record as { n: number }).n })
  .map("slow", async (record) => {
    await pause(STAGE_MS);
    return record as object;
  })
  .sink("out");

const running = await start(p, {
  log: `lmdb:${dir}`,
  inputs: {
    fast: async ({ push, signal }) => {
      for (let n = 0; !signal.aborted; n++) await push({ n, text: `${n}`.padEnd(1_000, ".") });
    },
  },
});
const quarters: number[] = [];
for (let quarter = 0; quarter < QUARTERS; quarter++) {
  const peak = watchMemory();
  await pause(RUN_MS / QUARTERS);
  quarters.push(peak());
}
const report = await running.stop();
rmSync(dir, { recursive: true, force: true });
const { accepted, pending } = report.records;
console.log(`accepted         ${accepted}, of which ${pending} are not through`);
console.log(`peak RssAnon     ${quarters.map((mib) => `${mib.toFixed(0)} MiB`).join(", ")} (by the quarter)`);
for (const { by, seconds, share } of report.backpressure) {
  console.log(`held back by     ${by}: ${seconds.toFixed(1)} s, ${(share * 100).toFixed(0)} %`);
}
// In the first quarter what may be in flight fills up.
const [, second = Number.NaN] = quarters;
const flat = (quarters.at(-1) ?? Number.NaN) <= second + SLACK_MIB;
const bounded = pending <= 2 * LIMITS.inFlightRecords;
process.exitCode = flat && bounded && report.backpressure[0]?.by === "stage slow" ? 0 : 1;
