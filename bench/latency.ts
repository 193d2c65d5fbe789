/** From a program's offer to its sink, through three stages on an LMDB log: p50 and p99 at steady rates. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { pipeline, start } from "headwater";
import { type Order, orderSchema, orders, stages } from "./workload.ts";

const RATES_PER_SECOND = [1_000, 10_000];
const SECONDS = Number(process.argv[2] ?? 10);
/** Not counted: the code is being compiled. */
const WARM_UP_SECONDS = 2;
const MS_PER_SECOND = 1_000;

async function latencies(log: string, rate: number): Promise<Float64Array> {
  const p = pipeline("latency", { partitions: 4 });
  p.source("orders", { schema: orderSchema, key: (order) => order.customer })
    .map("priced", stages.priced)
    .map("taxed", stages.taxed)
    .map("billed", stages.billed)
    .sink("bills");
  const total = rate * (SECONDS + WARM_UP_SECONDS);
  const offered = new Float64Array(total);
  const taken = new Float64Array(total);
  const running = await start(p, {
    log,
    sinks: {
      bills: (bill: { id: number }) => {
        taken[bill.id] = performance.now() - (offered[bill.id] as number);
      },
    },
  });
  const records = [...orders(total)];
  const begun = performance.now();
  let next = 0;
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - begun) / MS_PER_SECOND) * rate));
      for (; next < due; next++) {
        offered[next] = performance.now();
        running.offer("orders", records[next] as Order).catch((error: unknown) => console.error(error));
      }
      if (next < total) return;
      clearInterval(timer);
      resolve();
    }, 1);
  });
  running.end();
  await running.finished;
  return taken.subarray(rate * WARM_UP_SECONDS).sort();
}

for (const rate of RATES_PER_SECOND) {
  const dir = mkdtempSync(join(tmpdir(), "headwater-latency-"));
  try {
    const sorted = await latencies(`lmdb:${dir}`, rate);
    const at = (share: number) =>
      (sorted[Math.floor(sorted.length * share)] as number).toFixed(1).padStart(7);
    console.log(`${String(rate).padStart(6)} records/s: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
