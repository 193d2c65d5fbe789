import { createWriteStream, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline as piped } from "node:stream/promises";
import { run } from "headwater";
import { orders, stages } from "./workload.ts";

/** Lines that are written together. */
const LINES_TOGETHER = 1_000;
const DONE = "built";

/** The pipeline of the benchmarks, with everything kept; `last` is what the third stage calls a large order. */
const moduleText = (last: string) => `import { pipeline } from "headwater";
const p = pipeline("bench", { partitions: 4 });
p.source("orders", { key: (order) => order.customer, eventTime: (order) => order.id })
  .map("priced", ${stages.priced}, { capture: "all" })
  .map("taxed", ${stages.taxed}, { capture: "all" })
  .map("billed", ${String(stages.billed).replace("500", last)}, { capture: "all" })
  .sink("bills");
export default p;
`;

/**
 * A folder with a log of so many orders, through three stages all of whose results are kept (pipeline `bench`), and
 * another version of it (`other.ts`). Event times are the milliseconds 0, 1, 2 and so on. One that was built before is
 * taken as it is.
 */
export async function longLog(dir: string, records: number): Promise<void> {
  if (existsSync(join(dir, DONE))) return;
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "bench.ts"), moduleText("500"));
  writeFileSync(join(dir, "other.ts"), moduleText("400"));
  const input = join(dir, "orders.jsonl");
  await piped(Readable.from(linesOf(records)), createWriteStream(input));
  await run({
    pipeline: join(dir, "bench.ts"),
    log: `lmdb:${dir}`,
    inputs: new Map([["orders", input]]),
    outputs: new Map(),
  });
  rmSync(input);
  writeFileSync(join(dir, DONE), "");
}

function* linesOf(records: number): Iterable<string> {
  let lines = "";
  let together = 0;
  for (const order of orders(records)) {
    lines += `${JSON.stringify(order)}\n`;
    if (++together < LINES_TOGETHER) continue;
    yield lines;
    lines = "";
    together = 0;
  }
  yield lines;
}
