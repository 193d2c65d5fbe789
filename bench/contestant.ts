/** One contestant of bench/pipeline.ts, in a process of its own: prints its figures as JSON. */
import { hash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { pipeline, start } from "headwater";
import { open } from "lmdb";
import { Packr } from "msgpackr";
import { openLog } from "../src/runtime/compose.ts";
import { LOG_VARIABLE, watchMemory } from "./measure.ts";
import { orderSchema, orders, stages } from "./workload.ts";

const BATCH = 1_024;
const PARTITIONS = 4;
const MS_PER_SECOND = 1_000;

/** What a contestant measured. */
export interface Figures {
  readonly seconds: number;
  readonly peakMiB: number;
  /** Microseconds a record for packing and hashing; only the bare loop. */
  readonly packAndHash?: number;
  /** Bytes a record that are neither source nor output records; only with provenance. */
  readonly provenanceBytes?: number;
}

async function framework(log: string, records: number, provenance: "full" | "off"): Promise<Figures> {
  const p = pipeline("bench", { partitions: PARTITIONS, batchRecords: BATCH });
  p.source("orders", { schema: orderSchema, key: (order) => order.customer })
    .map("priced", stages.priced)
    .map("taxed", stages.taxed)
    .map("billed", stages.billed)
    .sink("bills");
  const peak = watchMemory();
  const started = performance.now();
  const running = await start(p, { log, inputs: { orders: orders(records) }, provenance });
  await running.finished;
  const seconds = (performance.now() - started) / MS_PER_SECOND;
  const peakMiB = peak();
  return { seconds, peakMiB };
}

async function bytesBesidePayload(spec: string): Promise<number> {
  const log = await openLog(spec, { readOnly: true });
  let bytes = 0;
  for await (const info of log.streams()) if (!info.stream.startsWith("payload_")) bytes += info.bytes ?? 0;
  await log.close();
  return bytes;
}

/** Lets go of what a run has left on a server. */
async function forget(spec: string): Promise<void> {
  const log = await openLog(spec);
  for await (const { stream, deleted } of log.streams())
    if (!deleted) await log.delete(stream, "stream-exists");
  await log.close();
}

/** The same work without a framework. */
async function bare(dir: string, records: number): Promise<Figures> {
  const packr = new Packr({ useRecords: false, variableMapSize: true });
  const sorted = (record: object) =>
    Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
  const peak = watchMemory();
  const db = open({ path: dir, encoding: "binary", keyEncoding: "uint32" });
  const { validate } = orderSchema["~standard"];
  let packing = 0;
  let key = 0;
  let pending: Promise<unknown> = Promise.resolve();
  const started = performance.now();

  const packAndHash = (values: readonly object[], out: (Buffer | string)[]) => {
    const begun = performance.now();
    for (const value of values) {
      const bytes = packr.pack(sorted(value));
      out.push(bytes, hash("sha256", bytes.toString("latin1"), "binary"));
    }
    packing += performance.now() - begun;
  };
  const finish = async (batch: readonly unknown[]) => {
    const out: (Buffer | string)[] = [];
    const taken = batch.map((value) => {
      const result = validate(value);
      if (result instanceof Promise || result.issues !== undefined) throw new Error("not an order");
      return result.value;
    });
    packAndHash(taken, out);
    const priced = taken.map(stages.priced);
    packAndHash(priced, out);
    const taxed = priced.map(stages.taxed);
    packAndHash(taxed, out);
    packAndHash(taxed.map(stages.billed), out);
    const value = Buffer.concat(
      out.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)),
    );
    // One batch ahead: the loop does not wait for the disk, and does not run away from it.
    await pending;
    pending = db.put(key++, value);
  };
  let batch: unknown[] = [];
  for (const order of orders(records)) {
    batch.push(order);
    if (batch.length < BATCH) continue;
    await finish(batch);
    batch = [];
  }
  if (batch.length > 0) await finish(batch);
  await pending;
  await db.flushed;
  const seconds = (performance.now() - started) / MS_PER_SECOND;
  await db.close();
  return { seconds, peakMiB: peak(), packAndHash: (packing * MS_PER_SECOND) / records };
}

const [variant = "a", count = "100000"] = process.argv.slice(2);
const spec = process.env[LOG_VARIABLE] || undefined;
const dir = mkdtempSync(join(tmpdir(), "headwater-bench-"));
const log = spec ?? `lmdb:${dir}`;
try {
  const records = Number(count);
  let figures: Figures;
  if (variant === "b") figures = await bare(dir, records);
  else figures = await framework(log, records, variant === "a" ? "full" : "off");
  // Without a log that was named, the folder is still there, and its streams can be measured.
  if (variant !== "b" && spec === undefined) {
    figures = { ...figures, provenanceBytes: (await bytesBesidePayload(log)) / records };
  }
  if (spec?.startsWith("esdb")) await forget(spec);
  process.stdout.write(`${JSON.stringify(figures)}\n`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
