/** Nodes in threads of their own do what nodes do inline, whatever befalls the threads. */
import { describe, expect, it } from "vitest";
import { orderLines, wordLines } from "../e2e/workload.ts";
import { expectSound } from "./expectations.ts";
import { readLogContent } from "./log-content.ts";
import { acceptedOnly, newLog, type Records, runThreads } from "./thread-runs.ts";

/** The lines that are JSON, as records. */
function recordsOf(lines: string): unknown[] {
  return lines.split("\n").flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
}

const PIPELINES: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  busy: { orders: recordsOf(orderLines(1_500, 31)) },
  timed: { orders: recordsOf(orderLines(800, 32)) },
  meeting: { left: recordsOf(wordLines(400, 33)), right: recordsOf(wordLines(300, 34)) },
};

describe("the same accepted records", () => {
  for (const [name, inputs] of Object.entries(PIPELINES)) {
    it(`give the same log and outputs in threads as inline: ${name}`, async () => {
      const module = `test/e2e/fixtures/${name}.ts`;
      const log = newLog();
      await runThreads({ module, log, executor: "inline", inputs });
      const ofInline = await acceptedOnly(log, name);
      const ofThreads = await acceptedOnly(log, name);
      const inline = await runThreads({ module, log: ofInline, executor: "inline" });
      const threads = await runThreads({
        module,
        log: ofThreads,
        executor: "threads",
        nodes: 3,
        batchRecords: 7,
      });
      expect(threads.lost).toEqual([]);
      expect(inline.totals.steps).toBeGreaterThan(0);
      expect(threads.totals).toEqual(inline.totals);
      expect(threads.outputs).toEqual(inline.outputs);
      expect(new Set(threads.quarantined)).toEqual(new Set(inline.quarantined));
      const content = await readLogContent(ofThreads);
      for (const one of [log, ofThreads, ofInline]) await expectSound(one);
      expect(content.partitions).toEqual((await readLogContent(ofInline)).partitions);
    });
  }
});

/** How long threads are killed, and how often, in milliseconds. */
const KILLING_MS = 30_000;
const KILL_EVERY_MS = 200;

describe("threads that are killed at random", () => {
  it("every 200 ms for 30 seconds lose and double nothing", async () => {
    const module = "test/e2e/fixtures/busy.ts";
    const log = newLog();
    const orders = recordsOf(orderLines(6_000, 41));
    const random = randomNumbers(42);
    let killed = 0;
    let recorded = 0;
    let over = false;
    const disturbed = await runThreads({
      module,
      log,
      executor: "threads",
      nodes: 3,
      inputs: { orders: paced(orders, () => over) },
      onOperating: ({ nodes, loseNode }, board) => {
        const timer = setInterval(() => {
          const alive = nodes();
          const node = alive[Math.floor(random() * alive.length)];
          if (node === undefined) return;
          killed++;
          loseNode(node);
        }, KILL_EVERY_MS);
        setTimeout(() => {
          clearInterval(timer);
          recorded = board.totals.steps;
          over = true;
        }, KILLING_MS);
      },
    });
    expect(killed).toBeGreaterThan(50);
    // What was killed was at work.
    expect(recorded).toBeGreaterThan(0);
    expect(disturbed.lost.length).toBeGreaterThan(50);

    const again = await acceptedOnly(log, "busy");
    const undisturbed = await runThreads({ module, log: again, executor: "inline" });
    expect(disturbed.totals.accepted).toBeGreaterThan(0);
    const counts = ({ totals }: typeof disturbed) => [totals.steps, totals.quarantined, totals.late];
    expect(counts(disturbed)).toEqual(counts(undisturbed));
    expect(disturbed.outputs).toEqual(undisturbed.outputs);
    const content = await readLogContent(log);
    await expectSound(log);
    expect(content.partitions).toEqual((await readLogContent(again)).partitions);
  });
});

/** Hands out records little by little until it is over, so that there is work all the time. */
async function* paced(records: readonly unknown[], over: () => boolean): AsyncIterable<unknown> {
  for (const [index, record] of records.entries()) {
    if (over()) return;
    if (index % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    yield record;
  }
}

function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Deed {
  readonly n: number;
  readonly key: string;
  readonly does?: string;
}

/** Deeds over a few keys, with deadly ones at some places. */
function deeds(count: number, deadly: Readonly<Record<number, string>>): Deed[] {
  return Array.from({ length: count }, (_, n) => {
    const does = deadly[n];
    return { n, key: `k${n % 5}`, ...(does !== undefined && { does }) };
  });
}

/** What the pipeline `deadly` has to give for each key in the end. */
function totalsOf(taken: readonly { readonly key: string; readonly n: number }[]) {
  const totals = new Map<string, { count: number; sum: number }>();
  for (const { key, n } of taken) {
    const { count, sum } = totals.get(key) ?? { count: 0, sum: 0 };
    totals.set(key, { count: count + 1, sum: sum + n });
  }
  return Object.fromEntries(totals);
}

function lastOf(outputs: readonly unknown[] = []) {
  return Object.fromEntries(
    (outputs as { key: string; count: number; sum: number }[]).map(({ key, count, sum }) => [
      key,
      { count, sum },
    ]),
  );
}

const DEADLY = "test/simulation/fixtures/deadly.ts";

describe("a record that ends its thread again and again", () => {
  it("is found and quarantined with what happened, and all others go on", async () => {
    const deadly = { 13: "exit", 57: "fill", 90: "hang", 120: "reject", 121: "exit-later", 150: "chdir" };
    const given = deeds(200, deadly);
    const run = await runThreads({
      module: DEADLY,
      log: newLog(),
      executor: "threads",
      inputs: { deeds: given },
      hangAfterMs: 1_500,
      memoryMb: 48,
    });
    const taken = given.flatMap(({ key, n, does }) => {
      if (does === undefined)
        return [
          { key, n },
          { key, n: -n },
        ];
      // Of its two rows the other one is as good as any.
      return does === "exit-later" ? [{ key, n }] : [];
    });
    expect(lastOf(run.outputs.get("totals"))).toEqual(totalsOf(taken));
    expect(run.totals.quarantined).toBe(6);
    const said = run.quarantined.map((line) => line.replace(/steps_deadly\.now\.\S+: /, "")).sort();
    expect(said).toEqual(
      [
        "later: the worker ended (process.exit(4)) at this record",
        "now: process.chdir() is not supported in workers",
        "now: the worker ended (no answer for 1.5 s) at this record",
        "now: the worker ended (nobody caught: nobody is there) at this record",
        "now: the worker ended (out of memory: 48 MiB) at this record",
        "now: the worker ended (process.exit(3)) at this record",
      ].sort(),
    );
    expect(run.lost.every(({ code }) => code === "NodeLost")).toBe(true);
    expect(
      run.lost.some(({ where }) => /^stage now, input \d+ of steps_deadly\.now\.\d{4}$/.test(where ?? "")),
    ).toBe(true);
  });

  it("is not called again when state is brought back", async () => {
    let lose = () => {};
    let boardOf: (() => number) | undefined;
    const given = async function* () {
      yield* deeds(40, { 20: "exit" });
      while ((boardOf?.() ?? 0) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      lose();
      yield* deeds(40, {});
    };
    const run = await runThreads({
      module: DEADLY,
      log: newLog(),
      executor: "threads",
      nodes: 1,
      inputs: { deeds: given() },
      onOperating: ({ nodes, loseNode }, board) => {
        boardOf = () => board.totals.quarantined;
        lose = () => {
          for (const node of nodes()) loseNode(node);
        };
      },
    });
    const taken = [...deeds(40, { 20: "exit" }), ...deeds(40, {})].filter(({ does }) => does === undefined);
    expect(lastOf(run.outputs.get("totals"))).toEqual(
      totalsOf(
        taken.flatMap(({ key, n }) => [
          { key, n },
          { key, n: -n },
        ]),
      ),
    );
    expect(run.totals.quarantined).toBe(1);
    const killed = run.lost.filter(({ message }) => message.endsWith("(killed)"));
    expect(killed).toHaveLength(1);
    // Those that it took to find the record out; none since.
    expect(run.lost.indexOf(killed[0] as (typeof killed)[0])).toBe(run.lost.length - 1);
  });

  it("is found in a window, too, where it is added and where the window fires", async () => {
    const at = (n: number) => n * 1_000;
    const given = Array.from({ length: 60 }, (_, n) => ({
      ...{ n: n === 31 ? 1_000 : n === 33 ? 0 : n % 2, key: n > 29 && n < 40 ? "a" : `k${n % 3}`, at: at(n) },
      ...(n === 12 && { does: "exit" }),
    })).map((record) => (record.key === "a" && record.n !== 1_000 ? { ...record, n: 0 } : record));
    const run = await runThreads({
      module: "test/simulation/fixtures/deadly-windows.ts",
      log: newLog(),
      executor: "threads",
      inputs: { deeds: given } satisfies Record<string, Records>,
    });
    expect(run.quarantined.map((line) => line.replace(/steps_\S+: /, "")).sort()).toEqual([
      "windows: the worker ended (process.exit(5)) at this record",
      "windows: the worker ended (process.exit(6)) at this record",
    ]);
    const sums = new Map<string, { key: string; start: number; sum: number }>();
    for (const { n, key, at: time, ...rest } of given) {
      if ("does" in rest || key === "a") continue;
      const start = Math.floor(time / 10_000) * 10_000;
      const name = `${key} ${start}`;
      sums.set(name, { key, start, sum: (sums.get(name)?.sum ?? 0) + n });
    }
    const inOrder = (list: readonly unknown[]) => list.map((each) => JSON.stringify(each)).sort();
    expect(inOrder(run.outputs.get("sums") ?? [])).toEqual(inOrder([...sums.values()]));
  });
});
