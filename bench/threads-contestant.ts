/** One contestant of bench/threads.ts, in a process of its own: prints its figures as JSON. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { start } from "headwater";
import pipeline from "./threads-pipeline.ts";
import { orders } from "./workload.ts";

const MS_PER_SECOND = 1_000;
const MICROSECONDS_PER_SECOND = 1_000_000;

/** What a contestant measured. */
export interface ThreadFigures {
  readonly seconds: number;
  /** Processor time of the process, all its threads together. */
  readonly cpuSeconds: number;
}

const [executor, count = "100000", rounds = "0", nodes = "2"] = process.argv.slice(2);
const dir = mkdtempSync(join(tmpdir(), "headwater-bench-"));
try {
  const started = performance.now();
  const running = await start(pipeline, {
    log: `lmdb:${dir}`,
    module: fileURLToPath(new URL("./threads-pipeline.js", import.meta.url)),
    inputs: { orders: orders(Number(count)) },
    parameters: { priced: { rounds: Number(rounds) } },
    nodes: Number(nodes),
    executor: executor === "threads" ? "threads" : "inline",
  });
  await running.finished;
  const seconds = (performance.now() - started) / MS_PER_SECOND;
  const { user, system } = process.cpuUsage();
  const figures: ThreadFigures = { seconds, cpuSeconds: (user + system) / MICROSECONDS_PER_SECOND };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
