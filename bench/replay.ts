/**
 * Rates of history run again: verify against a bare loop that decodes, runs the stages, packs, hashes and compares; a
 * what-if on the last of three stages, all of which are captured, against one that runs everything; and peak memory over
 * a tenth of the window and all of it.
 */
import { hash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { run } from "headwater";
import { Packr } from "msgpackr";
import { replay, whatIf } from "../src/app/replay.ts";
import { openLog } from "../src/runtime/compose.ts";
import { recordsBefore } from "../src/runtime/seek-time.ts";
import { inProcess, median, watchMemory } from "./measure.ts";
import { orders, stages } from "./workload.ts";

const MS_PER_SECOND = 1_000;
const VERIFY_MARK = 0.6;
const WHAT_IF_MARK = 2;
const SELF = fileURLToPath(import.meta.url);

interface Figures {
  readonly seconds: number;
  readonly peakMiB: number;
}

/** The pipeline of the benchmarks, with everything kept; `last` is what the third stage says of large orders. */
const moduleText = (last: string) => `import { pipeline } from "headwater";
const p = pipeline("bench", { partitions: 4 });
p.source("orders", { key: (order) => order.customer })
  .map("priced", ${stages.priced}, { capture: "all" })
  .map("taxed", ${stages.taxed}, { capture: "all" })
  .map("billed", ${String(stages.billed).replace("500", last)}, { capture: "all" })
  .sink("bills");
export default p;
`;

async function timed(work: () => Promise<unknown> | unknown): Promise<Figures> {
  const peak = watchMemory();
  const begun = performance.now();
  await work();
  const seconds = (performance.now() - begun) / MS_PER_SECOND;
  return { seconds, peakMiB: peak() };
}

/** What is done without a framework: digests of every stage are compared with those of the first time. */
function bare(records: number): Promise<Figures> {
  const packr = new Packr({ useRecords: false, variableMapSize: true });
  const sorted = (record: object) =>
    Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
  const digest = (record: object) => hash("sha256", packr.pack(sorted(record)).toString("latin1"), "binary");
  const steps = [stages.priced, stages.taxed, stages.billed] as ((record: never) => object)[];
  const given: Buffer[] = [];
  const recorded: string[] = [];
  for (const order of orders(records)) {
    given.push(Buffer.from(packr.pack(sorted(order))));
    let record: object = order;
    for (const step of steps) {
      record = step(record as never);
      recorded.push(digest(record));
    }
  }
  return timed(() => {
    let at = 0;
    for (const bytes of given) {
      let record = packr.unpack(bytes) as object;
      for (const step of steps) {
        record = step(record as never);
        if (digest(record) !== recorded[at++]) throw new Error("a digest is another");
      }
    }
  });
}

async function contestant([mode, dir, records, id]: readonly string[]): Promise<Figures> {
  if (mode === "bare") return bare(Number(records));
  const log = `lmdb:${dir}`;
  if (mode === "verify") {
    return timed(async () => {
      const { diverged, records: checked } = await replay({ log, pipeline: "bench" });
      if (diverged > 0 || checked !== Number(records)) throw new Error("it does not verify");
    });
  }
  const to = mode === "tenth" ? { to: { ordinal: Number(id) } } : {};
  return timed(async () => {
    const { reused, diff } = await whatIf({
      log,
      pipeline: "bench",
      whatIf: join(dir ?? "", "other.ts"),
      full: mode !== "part",
      ...to,
    });
    if (diff.changed === 0 || (mode === "part") !== reused > 0) throw new Error("it is no such what-if");
  });
}

/** The ordinal of the record that is a tenth of the way in. */
async function ordinalOfTenth(dir: string, records: number): Promise<number> {
  const log = await openLog(`lmdb:${dir}`, { readOnly: true });
  try {
    let [low, high] = [0, 2 ** 52];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((await recordsBefore(log, "source_bench.orders", middle)) < records / 10) low = middle + 1;
      else high = middle;
    }
    return low;
  } finally {
    await log.close();
  }
}

async function compare(records: number, rounds: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "headwater-bench-"));
  try {
    writeFileSync(join(dir, "bench.ts"), moduleText("500"));
    writeFileSync(join(dir, "other.ts"), moduleText("400"));
    const lines = [...orders(records)].map((order) => `${JSON.stringify(order)}\n`).join("");
    writeFileSync(join(dir, "orders.jsonl"), lines);
    const inputs = new Map([["orders", join(dir, "orders.jsonl")]]);
    await run({ pipeline: join(dir, "bench.ts"), log: `lmdb:${dir}`, inputs, outputs: new Map() });
    const tenth = String(await ordinalOfTenth(dir, records));
    const figures = new Map<string, Figures[]>();
    for (let round = 0; round < rounds; round++) {
      for (const mode of ["bare", "verify", "full", "part", "tenth"]) {
        const done = inProcess<Figures>(SELF, ["contestant", mode, dir, String(records), tenth]);
        figures.set(mode, [...(figures.get(mode) ?? []), done]);
      }
    }
    const of = (mode: string, field: keyof Figures) =>
      median((figures.get(mode) ?? []).map((one) => one[field]));
    const rate = (mode: string) => records / of(mode, "seconds");
    const shown = (value: number) => Math.round(value).toLocaleString("en-US");
    console.log(`bare loop       ${shown(rate("bare"))} records/s`);
    console.log(
      `verify          ${shown(rate("verify"))} records/s, ${(rate("verify") / rate("bare")).toFixed(2)} of the bare loop (mark: ${VERIFY_MARK})`,
    );
    console.log(`what-if, full   ${shown(rate("full"))} records/s`);
    console.log(
      `what-if, last   ${shown(rate("part"))} records/s, ${(rate("part") / rate("full")).toFixed(2)} times full (mark: ${WHAT_IF_MARK})`,
    );
    console.log(
      `peak RssAnon    verify ${shown(of("verify", "peakMiB"))} MiB, what-if ${shown(of("full", "peakMiB"))} MiB, of a tenth ${shown(of("tenth", "peakMiB"))} MiB`,
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const [first, ...rest] = process.argv.slice(2);
if (first === "contestant") console.log(JSON.stringify(await contestant(rest)));
else await compare(Number(first ?? 200_000), Number(rest[0] ?? 3));
