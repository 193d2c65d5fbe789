/**
 * A stage that waits 50 ms for an outside service, 64 calls at a time, over an LMDB log: records/s from the source to
 * the sink, in order, every result kept; and whether memory stays flat while the source would give far more.
 * `node dist/bench/effects.js [SECONDS]`.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { pipeline, start } from "headwater";
import { median } from "./measure.ts";

const SECONDS = Number(process.argv[2] ?? 30);
const CALL_MS = 50;
const CONCURRENCY = 64;
/** What so many calls at a time can come to. */
const MOST_PER_SECOND = (1_000 / CALL_MS) * CONCURRENCY;
const MS_PER_SECOND = 1_000;

interface Order {
  readonly id: number;
}

const records = SECONDS * MOST_PER_SECOND;
let underWay = 0;
let mostUnderWay = 0;

const p = pipeline("effects", { partitions: 8 });
p.source<undefined, number>("orders", { key: (order) => (order as Order).id % 1_000 })
  .map("enriched", async (record, ctx) => {
    const order = record as Order;
    const customer = await ctx.effect(
      "customer",
      async ({ key }) => {
        mostUnderWay = Math.max(mostUnderWay, ++underWay);
        await sleep(CALL_MS);
        underWay--;
        return { name: `customer of ${order.id}`, key };
      },
      { concurrency: CONCURRENCY },
    );
    return { ...order, customer };
  })
  .sink("out");

function rssAnonMiB(): number {
  return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) / 1_024;
}

const dir = mkdtempSync(join(tmpdir(), "headwater-effects-"));
try {
  let next = 0;
  let inOrder = true;
  const memory: number[] = [];
  const timer = setInterval(() => memory.push(rssAnonMiB()), 200);
  const begun = performance.now();
  const running = await start(p, {
    log: `lmdb:${dir}`,
    inputs: {
      orders: (function* () {
        for (let id = 0; id < records; id++) yield { id };
      })(),
    },
    sinks: {
      out: ({ id }: Order) => {
        inOrder &&= id === next;
        next++;
      },
    },
  });
  await running.finished;
  const seconds = (performance.now() - begun) / MS_PER_SECOND;
  clearInterval(timer);
  const part = Math.floor(memory.length / 3);
  const middle = median(memory.slice(part, 2 * part));
  const last = median(memory.slice(2 * part));
  const rows: readonly (readonly [string, string, string])[] = [
    ["records/s", (records / seconds).toFixed(0), `(mark: at least 1000; at most ${MOST_PER_SECOND})`],
    ["in order", String(inOrder && next === records), `${next} records`],
    ["calls under way at most", String(mostUnderWay), ""],
    ["RssAnon, second third", middle.toFixed(0), "MiB"],
    ["RssAnon, last third", last.toFixed(0), "MiB"],
    ["last / second", (last / middle).toFixed(2), "(mark: flat)"],
  ];
  console.log(`${records} records, an effect of ${CALL_MS} ms at concurrency ${CONCURRENCY}\n`);
  for (const [name, value, unit] of rows) console.log(`${name.padEnd(28)} ${value.padStart(10)} ${unit}`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
