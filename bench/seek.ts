/**
 * How soon a replay has compared its first record, from the call of the library on: in a log of 100 thousand orders and
 * in a long one, from ordinals and log times, and in windows of event times, all over them. One process; both logs in turn. Arguments:
 * records of the long one, seeks. HEADWATER_BENCH_FOLDER names a folder in which the logs are kept for the next time.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import type { HistoryPoint } from "../src/app/history-point.ts";
import { replay } from "../src/app/replay.ts";
import { isHeadwaterError } from "../src/core/errors.ts";
import { ordinalToTime } from "../src/core/ordinal.ts";
import { openLog } from "../src/runtime/compose.ts";
import { firstFromTime } from "../src/runtime/seek-time.ts";
import { longLog } from "./long-log.ts";
import { median } from "./measure.ts";

const SHORT_RECORDS = 100_000;
const MARK_MS = 10;
const MARK_RATIO = 2;
/** Places that are sought in each log, and such that are not counted: the code is being compiled. */
const SEEKS = Number(process.argv[3] ?? 60);
const WARM_UPS = 20;

/** Points of each kind, spread over the records of a log. */
async function pointsIn(dir: string, records: number): Promise<HistoryPoint[]> {
  const log = await openLog(`lmdb:${dir}`, { readOnly: true });
  const points: HistoryPoint[] = [];
  try {
    for (let at = 0; at < SEEKS + WARM_UPS; at++) {
      // A large step, so that neighbours in time are not neighbours in the log.
      const eventTime = Math.floor(((at * 0.618_033_988_75) % 1) * records);
      const place = await firstFromTime(log, "source_bench.orders", { eventTime });
      if (place === undefined) throw new Error("there is no such record");
      const { ordinal } = place;
      points.push([{ ordinal }, { eventTime }, { logTime: ordinalToTime(ordinal) }][at % 3] as HistoryPoint);
    }
  } finally {
    await log.close();
  }
  return points;
}

/** Of an end in event time. */
const WINDOW_MS = 1_000;

/** Milliseconds from the call to the first compared records. From an event time it is a window that ends at another. */
async function seek(dir: string, from: HistoryPoint): Promise<number> {
  const stop = new AbortController();
  let first: number | undefined;
  const begun = performance.now();
  try {
    await replay({
      log: `lmdb:${dir}`,
      pipeline: "bench",
      from,
      ...("eventTime" in from && { to: { eventTime: from.eventTime + WINDOW_MS } }),
      signal: stop.signal,
      onProgress({ steps }) {
        if (steps === 0) return;
        first ??= performance.now() - begun;
        stop.abort();
      },
    });
  } catch (error) {
    if (!isHeadwaterError(error, "Stopped")) throw error;
  }
  if (first === undefined) throw new Error(`nothing was compared from ${JSON.stringify(from)}`);
  return first;
}

async function compare(records: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "headwater-bench-"));
  const kept = process.env["HEADWATER_BENCH_FOLDER"];
  const logs = [SHORT_RECORDS, records].map((size) => ({ size, dir: join(kept ?? dir, `log-${size}`) }));
  try {
    const times = logs.map((): number[] => []);
    const points: HistoryPoint[][] = [];
    for (const { size, dir: at } of logs) {
      if (!existsSync(at)) console.log(`building a log of ${size.toLocaleString("en-US")} records`);
      await longLog(at, size);
      points.push(await pointsIn(at, size));
    }
    for (let round = 0; round < SEEKS + WARM_UPS; round++) {
      for (const [index, { dir: at }] of logs.entries()) {
        const ms = await seek(at, points[index]?.[round] as HistoryPoint);
        if (round >= WARM_UPS) times[index]?.push(ms);
      }
    }
    const medians = times.map(median);
    for (const [index, { size }] of logs.entries()) {
      const sorted = times[index]?.toSorted((a, b) => a - b) ?? [];
      const p90 = sorted[Math.floor(sorted.length * 0.9)] as number;
      console.log(
        `${size.toLocaleString("en-US").padStart(9)} records: first record after ${medians[index]?.toFixed(1)} ms (median of ${sorted.length}; p90 ${p90.toFixed(1)}; mark: ${MARK_MS})`,
      );
    }
    const ratio = (medians[1] as number) / (medians[0] as number);
    console.log(`ratio ${ratio.toFixed(2)} (mark: ${MARK_RATIO})`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

await compare(Number(process.argv[2] ?? 5_000_000));
