/**
 * Memory of replays by the length of the window: verify, and a what-if that runs everything, with its diff written to a
 * file, over the first half million and all five million records of one log. Each in a process of its own; peak and
 * growth of anonymous memory (RssAnon). Arguments: records, rounds. HEADWATER_BENCH_FOLDER names a folder in which the
 * log is kept for the next time.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { replay, whatIf } from "../src/app/replay.ts";
import { openLog } from "../src/runtime/compose.ts";
import { firstFromTime } from "../src/runtime/seek-time.ts";
import { longLog } from "./long-log.ts";
import { inProcess, median, watchMemory } from "./measure.ts";

const SHARE = 10;
const MS_PER_SECOND = 1_000;
const MIB = 1024 * 1024;
const SELF = fileURLToPath(import.meta.url);

interface Figures {
  readonly records: number;
  readonly peakMiB: number;
  readonly seconds: number;
  readonly differences: number;
  readonly diffMiB: number;
}

async function contestant([mode = "", dir = "", ordinal, id = ""]: readonly string[]): Promise<Figures> {
  const peak = watchMemory();
  const begun = performance.now();
  const window = { log: `lmdb:${dir}`, pipeline: "bench", to: { ordinal: Number(ordinal) } };
  const seconds = () => (performance.now() - begun) / MS_PER_SECOND;
  if (mode === "verify") {
    const { records, diverged } = await replay(window);
    if (diverged > 0) throw new Error("it does not verify");
    return { records, peakMiB: peak(), seconds: seconds(), differences: 0, diffMiB: 0 };
  }
  // Beside the log's own folder, into which no differences are written.
  const file = `${dir}-${id}.jsonl`;
  const { records, diff } = await whatIf({
    ...window,
    whatIf: join(dir, "other.ts"),
    full: mode === "full",
    id,
    diff: file,
  });
  const diffMiB = statSync(file).size / MIB;
  rmSync(file);
  return { records, peakMiB: peak(), seconds: seconds(), differences: diff.changed, diffMiB };
}

/** The ordinal of the N-th order: its event time is N. */
async function ordinalOf(dir: string, n: number): Promise<number> {
  const log = await openLog(`lmdb:${dir}`, { readOnly: true });
  try {
    const place = await firstFromTime(log, "source_bench.orders", { eventTime: n });
    if (place === undefined) throw new Error("there is no such record");
    return place.ordinal;
  } finally {
    await log.close();
  }
}

async function compare(records: number, rounds: number): Promise<void> {
  const kept = process.env["HEADWATER_BENCH_FOLDER"];
  const folder = kept ?? mkdtempSync(join(tmpdir(), "headwater-bench-"));
  const dir = join(folder, `log-${records}`);
  try {
    await longLog(dir, records);
    const run = Date.now().toString(36);
    for (const mode of ["verify", "part", "full"]) {
      const peaks: number[] = [];
      for (const count of [records / SHARE, records]) {
        const to = String(await ordinalOf(dir, count - 1));
        const figures: Figures[] = [];
        for (let round = 0; round < rounds; round++) {
          const id = `${mode}-${run}-${round}-${count}`;
          figures.push(inProcess<Figures>(SELF, ["contestant", mode, dir, to, id]));
        }
        const of = (field: keyof Figures) => median(figures.map((one) => one[field]));
        peaks.push(of("peakMiB"));
        const rate = Math.round(of("records") / of("seconds")).toLocaleString("en-US");
        const diff =
          mode === "verify"
            ? ""
            : `; ${of("differences").toLocaleString("en-US")} differences, ${of("diffMiB").toFixed(0)} MiB of them`;
        console.log(
          `${mode.padEnd(6)} ${of("records").toLocaleString("en-US").padStart(9)} records: peak RssAnon ${of("peakMiB").toFixed(0)} MiB, ${rate} records/s${diff}`,
        );
      }
      console.log(
        `${mode.padEnd(6)} ten times the window: ${((peaks[1] as number) / (peaks[0] as number)).toFixed(2)} times the memory`,
      );
    }
  } finally {
    if (kept === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

const [first, ...rest] = process.argv.slice(2);
if (first === "contestant") console.log(JSON.stringify(await contestant(rest)));
else await compare(Number(first ?? 5_000_000), Number(rest[0] ?? 1));
