/** One contestant of bench/audit.ts, in a process of its own: prints its figures as JSON. */
import { performance } from "node:perf_hooks";
import { pipeline, start } from "headwater";
import { auditLog } from "../src/app/audit.ts";
import { openLog } from "../src/runtime/compose.ts";
import { watchMemory } from "./measure.ts";
import { orderSchema, orders, stages } from "./workload.ts";

const PARTITIONS = 4;
const MS_PER_SECOND = 1_000;

/** What a contestant measured. */
export interface AuditFigures {
  readonly seconds: number;
  readonly peakMiB: number;
}

async function runs(log: string, records: number, key: string | undefined): Promise<void> {
  const p = pipeline("bench", { partitions: PARTITIONS });
  p.source("orders", { schema: orderSchema, key: (order) => order.customer })
    .map("priced", stages.priced)
    .map("taxed", stages.taxed)
    .map("billed", stages.billed)
    .sink("bills");
  const checkpoints = key === undefined ? {} : { checkpoints: { key, every: "1s" } };
  const running = await start(p, { log, inputs: { orders: orders(records) }, ...checkpoints });
  await running.finished;
}

async function audits(spec: string, records: number): Promise<void> {
  const log = await openLog(spec, { readOnly: true });
  const { ok, checks } = await auditLog(log, { checkpoints: [] });
  await log.close();
  const payload = checks.find(({ name }) => name === "payload");
  if (!ok || payload?.checked !== 2 * records)
    throw new Error(`the audit is not what it should be: ${JSON.stringify(checks)}`);
}

const [what, spec = "", count = "", key] = process.argv.slice(2);
const peak = watchMemory();
const begun = performance.now();
if (what === "run") await runs(spec, Number(count), key);
else await audits(spec, Number(count));
const seconds = (performance.now() - begun) / MS_PER_SECOND;
console.log(JSON.stringify({ seconds, peakMiB: peak() } satisfies AuditFigures));
