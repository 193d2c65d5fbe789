/**
 * Memory of a process whose log holds every append back for half a minute, on LMDB, while its source could give
 * records of 1 KiB for ever. Prints RssAnon before and while it waits; exits with 1 if it grew beyond the mark.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "headwater";
import { LIMITS } from "../src/core/limits.ts";
import { planPipeline } from "../src/pipeline/plan.ts";
import { createSurroundings, openLog } from "../src/runtime/compose.ts";
import { ProgramIntake } from "../src/runtime/intake.ts";
import { groupRecords } from "../src/runtime/offer-queue.ts";
import { runPipeline } from "../src/runtime/pipeline-run.ts";
import { ProgressBoard } from "../src/runtime/progress-board.ts";
import { runtimeVersions } from "../src/runtime/versions.ts";
import { withAppends } from "../test/fixtures/held-appends.ts";
import { watchMemory } from "./measure.ts";

const HELD_MS = Number(process.argv[2] ?? 30) * 1_000;
const WARM_UP_MS = 5_000;
const BATCH = 512;
/** What may be in flight, twice (as records, and as what was packed of them), and as much again for the heap. */
const MARK_MIB = (4 * LIMITS.inFlightBytes) / 2 ** 20;

const dir = mkdtempSync(join(tmpdir(), "headwater-slow-log-"));
const log = await openLog(`lmdb:${dir}`);
let held: Promise<void> | undefined;
const slow = withAppends(log, async (_, make) => {
  await held;
  return make();
});
const stop = new AbortController();
const board = new ProgressBoard();
const p = pipeline("slow", { partitions: 4, batchRecords: BATCH });
p.source("s", { key: (record) => (record as { n: number }).n })
  .map("m", (record) => ({ copy: record }))
  .sink("out");

function* records(): Iterable<object> {
  for (let n = 0; !stop.signal.aborted; n++) yield { n, text: `${n}`.padEnd(1_000, ".") };
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const nothing = () => {};
const done = runPipeline(
  { ...createSurroundings(), log: slow, runtime: runtimeVersions() },
  {
    plan: planPipeline(p.definition),
    bundle: undefined,
    intakes: new Map([
      ["s", new ProgramIntake(groupRecords(records(), BATCH, new AbortController().signal))],
    ]),
    targets: new Map(),
    nodes: 1,
    batchRecords: BATCH,
    tickMs: LIMITS.tickMs,
    provenance: "full",
    follow: false,
    keepOpen: false,
    signal: stop.signal,
    board,
    onDeployed: nothing,
    onRejected: nothing,
    onQuarantined: nothing,
    onResumed: nothing,
    onTimeAhead: () => {},
    onStandBy: nothing,
    onBegunAgain: nothing,
    onRestarted: (unit, error) => console.error(unit, error),
  },
);
const before = watchMemory();
await pause(WARM_UP_MS);
const beforeMiB = before();
const accepted = board.totals.accepted;
held = pause(HELD_MS);
const during = watchMemory();
await held;
const duringMiB = during();
const meanwhile = board.totals.accepted - accepted;
await pause(WARM_UP_MS);
const after = board.totals.accepted;
stop.abort();
await done;
await log.close();
rmSync(dir, { recursive: true, force: true });
console.log(`accepted in ${WARM_UP_MS / 1_000} s        ${accepted}`);
console.log(`in ${HELD_MS / 1_000} s of waiting   ${meanwhile}`);
console.log(`in ${WARM_UP_MS / 1_000} s after that   ${after - accepted - meanwhile}`);
console.log(
  `peak RssAnon          ${beforeMiB.toFixed(0)} MiB before, ${duringMiB.toFixed(0)} MiB while it waited`,
);
const grown = duringMiB - beforeMiB;
console.log(`grown by              ${grown.toFixed(0)} MiB (mark: at most ${MARK_MIB.toFixed(0)})`);
process.exitCode = grown <= MARK_MIB && after > accepted + meanwhile ? 0 : 1;
