/**
 * How long a log of many records with a reduce over 10 thousand keys takes to be open and at its first new record,
 * after a clean stop and after a kill. `startup.js fill DIR RECORDS` and `startup.js first DIR` are its parts, each
 * in a process of its own.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { pipeline, start } from "headwater";
import { watchMemory } from "./measure.ts";
import { orderSchema, orders } from "./workload.ts";

const SIGKILL_AFTER_SHARE = 0.97;

function totals(onTotal: () => void) {
  const p = pipeline("startup");
  p.source("orders", { schema: orderSchema, key: (order) => order.customer })
    .reduce("totals", {
      init: () => ({ orders: 0, sum: 0 }),
      step: (total, order) => ({ orders: total.orders + 1, sum: total.sum + order.price * order.count }),
      emit: (total, customer) => ({ customer, ...total }),
    })
    .sink("totals");
  return { p, sinks: { totals: onTotal } };
}

async function fill(log: string, records: number, killAt: number): Promise<void> {
  let delivered = 0;
  const peak = watchMemory();
  const { p, sinks } = totals(() => {
    delivered++;
    if (delivered === killAt) process.kill(process.pid, "SIGKILL");
  });
  const running = await start(p, { log, inputs: { orders: orders(records) }, sinks });
  const report = await running.finished;
  console.log(JSON.stringify({ recordsPerSecond: report.recordsPerSecond, peakMiB: peak() }));
}

async function first(log: string): Promise<void> {
  const [order] = orders(1, 7);
  const begun = performance.now();
  let firstOutput = 0;
  const { p, sinks } = totals(() => {
    firstOutput ||= performance.now();
  });
  const running = await start(p, { log, sinks });
  await running.offer("orders", order);
  running.end();
  await running.finished;
  console.log(
    JSON.stringify({
      msToFirstOutput: Math.round(firstOutput - begun),
      msOfProcess: Math.round(firstOutput),
    }),
  );
}

const [part, log = "", count = "2000000", killAt = "0"] = process.argv.slice(2);
if (part === "fill") await fill(log, Number(count), Number(killAt));
else if (part === "first") await first(log);
else {
  const records = Number(part ?? 2_000_000);
  const self = fileURLToPath(import.meta.url);
  for (const kill of [0, Math.floor(records * SIGKILL_AFTER_SHARE)]) {
    const dir = mkdtempSync(join(tmpdir(), "headwater-startup-"));
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [self, ...args], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
      }).stdout.trim();
    console.log(`${records} records, then ${kill === 0 ? "stopped in good order" : "killed"}`);
    console.log("  filled:", run("fill", `lmdb:${dir}`, String(records), String(kill)) || "killed");
    console.log("  first: ", run("first", `lmdb:${dir}`));
    rmSync(dir, { recursive: true, force: true });
  }
}
