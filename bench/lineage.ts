/**
 * Milliseconds a hop of lineage, in logs of a hundred thousand and of five million records: backwards by addresses
 * alone, forwards by the view, whose building and size are shown, too. Each question begins with nothing in memory but
 * what the last one left to the store's map.
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { pipeline, start } from "headwater";
import { openLmdbLog } from "../src/adapters/lmdb/log.ts";
import { openLmdbViewStore } from "../src/adapters/lmdb/view-store.ts";
import { ForwardReader } from "../src/runtime/lineage-forward.ts";
import { LineageReader } from "../src/runtime/lineage-reader.ts";
import { traceBack, traceForward } from "../src/runtime/lineage-trace.ts";
import { LineageView } from "../src/runtime/lineage-view.ts";
import { SinkDeliveries } from "../src/runtime/sink-deliveries.ts";
import { median, watchMemory } from "./measure.ts";
import { orderSchema, orders, stages } from "./workload.ts";

const sizes = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [100_000, 5_000_000];
const QUESTIONS = 200;
/** Records on the way that one question asks for. */
const HOPS = 50;
const MIB = 2 ** 20;
const PARTITIONS = 4;
const MARK_MS = 5;

const p = pipeline("bench", { partitions: PARTITIONS });
p.source("orders", { schema: orderSchema, key: (order) => order.customer })
  .map("priced", stages.priced)
  .reduce("spent", {
    init: () => 0,
    step: (spent: number, order) => spent + order.total,
    emit: (spent, customer, { id, item }) => ({ id, customer, item, spent }),
  })
  .keyBy("by-item", ({ item }) => item)
  .map("said", ({ customer, item, spent }) => ({ text: `${customer} ${item}`, spent }))
  .sink("out");

const clock = { now: () => Date.now(), monotonic: () => performance.now(), setTimeout: later };
const bundler = { bundle: () => Promise.reject(new Error("no code")), load: () => undefined };

function later(callback: () => void, ms: number): () => void {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
}

for (const records of sizes) {
  const dir = mkdtempSync(join(tmpdir(), "headwater-bench-"));
  try {
    await measure(records, dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function measure(records: number, dir: string): Promise<void> {
  const running = await start(p, { log: `lmdb:${join(dir, "log")}`, inputs: { orders: orders(records) } });
  await running.finished;
  const log = await openLmdbLog({ dir: join(dir, "log"), clock, ids: { uuid: randomUUID }, readOnly: true });
  const { bytes } = await log.size();
  say(`${records} records`, `${(bytes / MIB).toFixed(0)} MiB of log`);

  const back: number[] = [];
  for (let question = 0; question < QUESTIONS; question++) {
    const partition = question % PARTITIONS;
    const n = Math.floor(((question + 0.5) / QUESTIONS) * (records / PARTITIONS) * 0.9);
    const stream = `steps_bench.priced.000${partition}`;
    const begun = performance.now();
    const { edges } = await traceBack(new LineageReader(log, bundler), { stream, n, k: 0 }, { limit: HOPS });
    back.push((performance.now() - begun) / Math.max(1, edges.length));
  }
  report("backwards", back);

  const peak = watchMemory();
  const views = join(dir, "views");
  const store = await openLmdbViewStore(views);
  const view = await LineageView.open(store, log);
  const begun = performance.now();
  await view.catchUp();
  const seconds = (performance.now() - begun) / 1_000;
  const size = await sizeOf(views);
  say("view built", `${(records / seconds).toFixed(0)} records/s, peak RssAnon ${peak().toFixed(0)} MiB`);
  say("view's size", `${(size / MIB).toFixed(0)} MiB, ${(size / records).toFixed(0)} bytes a record`);

  const forwards: number[] = [];
  for (let question = 0; question < QUESTIONS; question++) {
    const n = Math.floor(((question + 0.5) / QUESTIONS) * records);
    const begun = performance.now();
    const reader = new LineageReader(log, bundler);
    const deliveries = new SinkDeliveries(log, reader);
    const forward = new ForwardReader({ log, reader, index: view, deliveries });
    const { edges } = await traceForward(
      reader,
      forward,
      { stream: "source_bench.orders", n },
      { limit: HOPS },
    );
    forwards.push((performance.now() - begun) / Math.max(1, edges.length));
  }
  report("forwards", forwards);
  await store.close();
  await log.close();
}

function report(name: string, each: readonly number[]): void {
  const most = [...each].sort((a, b) => a - b)[Math.floor(each.length * 0.95)] ?? Number.NaN;
  say(
    name,
    `${median(each).toFixed(2)} ms a hop, 95th percentile ${most.toFixed(2)} (mark: under ${MARK_MS})`,
  );
}

async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).size;
  return bytes;
}

function say(name: string, value: string): void {
  console.log(`${name.padEnd(20)} ${value}`);
}
