/** One contestant of bench/time.ts, in a process of its own: prints its figures as JSON. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { count, pipeline, start, sum, tumbling } from "headwater";
import { watchMemory } from "./measure.ts";
import { type Order, orderSchema, orders, stages } from "./workload.ts";

const PARTITIONS = 4;
const MS_PER_SECOND = 1_000;
const BEGUN = Date.UTC(2024, 0, 1);
/** A record each millisecond: some six records of each of 10,000 keys in a window of a minute. */
const eventTime = (order: Order) => BEGUN + order.id;

/** What a contestant measured. */
export interface TimeFigures {
  readonly seconds: number;
  readonly outputs: number;
  readonly peakMiB: number;
}

function pipelineOf(variant: string) {
  const p = pipeline(variant, { partitions: PARTITIONS });
  const source = (name: string) =>
    p.source(name, { schema: orderSchema, key: (order) => order.customer, eventTime });
  if (variant === "map") {
    source("orders")
      .map("priced", stages.priced)
      .map("taxed", stages.taxed)
      .map("billed", stages.billed)
      .sink("out");
  } else if (variant === "window") {
    source("orders")
      .window("minutes", tumbling("1m"), {
        aggregate: { orders: count(), items: sum((order: Order) => order.count) },
        emit: (totals, { key: customer, start }) => ({ customer, start, ...totals }),
      })
      .sink("out");
  } else {
    source("orders")
      .join(
        "near",
        source("others"),
        ({ id, customer, price }, other) => ({ id, customer, price, other: other.id }),
        {
          within: "5s",
        },
      )
      .sink("out");
  }
  return p;
}

const [variant = "map", given = "100000"] = process.argv.slice(2);
const records = Number(given);
const dir = mkdtempSync(join(tmpdir(), "headwater-bench-"));
try {
  const peak = watchMemory();
  const started = performance.now();
  const inputs: Record<string, Iterable<unknown>> = variant === "join"
    ? { orders: orders(records / 2), others: orders(records / 2, 2) }
    : { orders: orders(records) };
  const running = await start(pipelineOf(variant), { log: `lmdb:${dir}`, inputs });
  const report = await running.finished;
  const seconds = (performance.now() - started) / MS_PER_SECOND;
  const figures: TimeFigures = { seconds, outputs: report.outputs["out"] ?? 0, peakMiB: peak() };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
