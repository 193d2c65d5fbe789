/**
 * What a replay at full speed does to the latency of the pipeline that runs meanwhile on the same log: from a program's
 * offer to its sink at a steady rate, phases without and with a replay in turn, in one run. The replay is `headwater
 * replay` in a process of its own, or a call of the library in the pipeline's. Arguments: seconds of a phase, rounds,
 * records a second, kinds of replay.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { HeadwaterError, pipeline, type RunningPipeline, replay, start, whatIf } from "headwater";
import { longLog } from "./long-log.ts";
import { median } from "./measure.ts";
import { type Order, orders, stages } from "./workload.ts";

const PHASE_SECONDS = Number(process.argv[2] ?? 3);
const ROUNDS = Number(process.argv[3] ?? 8);
const RATE = Number(process.argv[4] ?? 2_000);
const KINDS = (process.argv[5] ?? "verify,what-if,verify-inside,what-if-inside").split(",");
const MARK = 1.5;
/** Records that there are to replay. */
const HISTORY_RECORDS = 300_000;
/** Not counted at the beginning of each phase: the replay starts, or its last work is done. */
const SETTLE_MS = 500;
const MS_PER_SECOND = 1_000;
const COMMAND = fileURLToPath(new URL("../../bin/headwater.js", import.meta.url));

/** Offers at a steady rate for ever, and notes how long each record took. */
class Load {
  readonly #running: RunningPipeline;
  readonly #offered = new Map<number, number>();
  readonly #records: Iterator<Order>;
  #next = HISTORY_RECORDS;
  /** Of records that were offered since the phase settled. */
  taken: number[] = [];
  settledAt = Number.POSITIVE_INFINITY;
  readonly #timer: NodeJS.Timeout;

  private constructor(running: RunningPipeline, onTaken: (take: (id: number) => void) => void) {
    this.#running = running;
    this.#records = orders(Number.MAX_SAFE_INTEGER, 2)[Symbol.iterator]();
    onTaken((id) => {
      const at = this.#offered.get(id);
      if (at === undefined) return;
      this.#offered.delete(id);
      if (at >= this.settledAt) this.taken.push(performance.now() - at);
    });
    const begun = performance.now();
    this.#timer = setInterval(() => {
      const due = HISTORY_RECORDS + Math.floor(((performance.now() - begun) / MS_PER_SECOND) * RATE);
      for (; this.#next < due; this.#next++) {
        this.#offered.set(this.#next, performance.now());
        const order = { ...(this.#records.next().value as Order), id: this.#next };
        this.#running.offer("orders", order).catch((error: unknown) => console.error(error));
      }
    }, 1);
  }

  static async begin(dir: string): Promise<Load> {
    let take = (_id: number) => {};
    const p = pipeline("bench", { partitions: 4 });
    p.source<undefined, string>("orders", {
      key: (order) => (order as Order).customer,
      eventTime: (order) => (order as Order).id,
    })
      .map("priced", (order) => stages.priced(order as Order), { capture: "all" })
      .map("taxed", stages.taxed, { capture: "all" })
      .map("billed", stages.billed, { capture: "all" })
      .sink("bills");
    const running = await start(p, {
      log: `lmdb:${dir}`,
      module: join(dir, "bench.ts"),
      sinks: { bills: (bill: { id: number }) => take(bill.id) },
    });
    return new Load(running, (handler) => {
      take = handler;
    });
  }

  /** The 50th and 99th percentile of what is offered while `seconds` pass. */
  async phase(seconds: number): Promise<{ readonly p50: number; readonly p99: number }> {
    await sleep(SETTLE_MS);
    this.taken = [];
    this.settledAt = performance.now();
    await sleep(seconds * MS_PER_SECOND);
    const sorted = this.taken.sort((a, b) => a - b);
    this.settledAt = Number.POSITIVE_INFINITY;
    if (sorted.length < (RATE * seconds) / 2) throw new Error("the pipeline does not keep up");
    const at = (share: number) => sorted[Math.floor(sorted.length * share)] as number;
    return { p50: at(0.5), p99: at(0.99) };
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running.stop();
  }
}

let ids = 0;

/** Replays the history, again and again; answers how to end that, and how many records were replayed by then. */
function replaying(kind: string, dir: string, to: number): () => Promise<number> {
  const stop = new AbortController();
  const { signal } = stop;
  let passes = 0;
  const once = kind.endsWith("-inside") ? inside : apart;
  const work = (async () => {
    while (!signal.aborted) {
      await once(kind.replace("-inside", ""), dir, to, signal);
      passes++;
    }
  })();
  return async () => {
    stop.abort();
    await work;
    return passes;
  };
}

async function inside(kind: string, dir: string, ordinal: number, signal: AbortSignal): Promise<void> {
  const window = { log: `lmdb:${dir}`, pipeline: "bench", to: { ordinal }, signal };
  try {
    if (kind === "verify") await replay(window);
    else await whatIf({ ...window, whatIf: join(dir, "other.ts"), full: true, id: `r${++ids}` });
  } catch (error) {
    if (!(error instanceof HeadwaterError) || error.code !== "Stopped") throw error;
  }
}

async function apart(kind: string, dir: string, to: number, signal: AbortSignal): Promise<void> {
  const more = kind === "verify" ? [] : ["--what-if", join(dir, "other.ts"), "--full", "--id", `r${++ids}`];
  const args = [COMMAND, "replay", "bench", "--log", `lmdb:${dir}`, "--to", String(to), "--quiet", ...more];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  const kill = () => child.kill("SIGKILL");
  signal.addEventListener("abort", kill);
  const [code] = (await once(child, "exit")) as [number | null];
  signal.removeEventListener("abort", kill);
  if (code !== 0 && !signal.aborted) throw new Error(`headwater replay ended with ${code}`);
}

async function compare(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "headwater-bench-"));
  try {
    await longLog(dir, HISTORY_RECORDS);
    const { to } = await replay({ log: `lmdb:${dir}`, pipeline: "bench" });
    const load = await Load.begin(dir);
    await sleep(2 * MS_PER_SECOND);
    for (const kind of KINDS) {
      const alone: number[] = [];
      const beside: number[] = [];
      const halves: number[][] = [[], []];
      let passes = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const plain = await load.phase(PHASE_SECONDS);
        const end = replaying(kind, dir, to);
        const loaded = await load.phase(PHASE_SECONDS);
        passes += await end();
        alone.push(plain.p99);
        beside.push(loaded.p99);
        halves[0]?.push(plain.p50);
        halves[1]?.push(loaded.p50);
      }
      const ratio = median(beside.map((ms, at) => ms / (alone[at] as number)));
      const [p50, loaded50] = halves.map(median) as [number, number];
      console.log(
        `${kind.padEnd(14)} p99 ${median(alone).toFixed(1)} ms alone, ${median(beside).toFixed(1)} ms beside it: ${ratio.toFixed(2)} times (mark: ${MARK}); p50 ${p50.toFixed(1)}, ${loaded50.toFixed(1)} ms; ${passes} passes of ${HISTORY_RECORDS.toLocaleString("en-US")} records`,
      );
    }
    await load.end();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

await compare();
