/**
 * State of a million keys: how long it takes, after a start, until the first result that needs it. A window of a
 * year over as many keys, left open; then a record for one of them, with which it gives what it has.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { count, pipeline, start, sum, tumbling } from "headwater";
import { watchMemory } from "./measure.ts";
import { type Order, orderSchema, orders } from "./workload.ts";

const keys = Number(process.argv[2] ?? 1_000_000);
const MS_PER_SECOND = 1_000;
const BEGUN = Date.UTC(2024, 0, 1);

const p = pipeline("state", { partitions: 4 });
p.source("orders", {
  schema: orderSchema,
  key: (order) => `order-${order.id}`,
  eventTime: (order) => BEGUN + order.id,
})
  .window("years", tumbling("365d"), {
    aggregate: { orders: count(), items: sum((order: Order) => order.count) },
    emit: (totals, { key }) => ({ key, ...totals }),
    early: { records: 2 },
  })
  .sink("out");

const dir = mkdtempSync(join(tmpdir(), "headwater-bench-"));
try {
  const peak = watchMemory();
  const log = `lmdb:${dir}`;
  let begun = performance.now();
  const first = await start(p, { log, inputs: { orders: orders(keys) }, keepOpen: true });
  await first.finished;
  const filled = (performance.now() - begun) / MS_PER_SECOND;
  begun = performance.now();
  const one = [...orders(1)][0];
  const again = await start(p, { log, keepOpen: true, sinks: { out: () => done() } });
  let seconds = Number.NaN;
  const done = () => {
    seconds = (performance.now() - begun) / MS_PER_SECOND;
  };
  await again.offer("orders", one);
  again.end();
  await again.finished;
  console.log(`${keys} keys taken in and kept    ${filled.toFixed(1)} s`);
  console.log(`first result after a start   ${seconds.toFixed(2)} s (mark: under 5)`);
  console.log(`peak RssAnon                 ${peak().toFixed(0)} MiB`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
