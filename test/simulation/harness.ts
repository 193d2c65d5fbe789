import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import { isTimed, type PipelineDefinition } from "../../src/pipeline/definition.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { Probe } from "../../src/runtime/host-context.ts";
import { ProgramIntake } from "../../src/runtime/intake.ts";
import type { IntakeRecord } from "../../src/runtime/intake-record.ts";
import { runPipeline } from "../../src/runtime/pipeline-run.ts";
import { ProgressBoard } from "../../src/runtime/progress-board.ts";
import { type Refused, readRefused, refusedKey } from "../../src/runtime/quarantine.ts";
import { type Decisions, decide } from "../../src/runtime/retry-requests.ts";
import type { RunControls, RunEnvironment } from "../../src/runtime/run-options.ts";
import type { OutputRecord, SinkTarget } from "../../src/runtime/sink-target.ts";
import { BatchCallbackTarget, CallbackTarget } from "../../src/runtime/sink-targets.ts";
import { acceptedOrdinals } from "./log-content.ts";
import { SimulatedProcess, SlowLog } from "./simulated-process.ts";
import { type Random, seededIds, seededRandom, upTo, VirtualWorld } from "./virtual-world.ts";

/** A record that a source is given. Without an ordinal the door gives it one. */
export interface Given {
  readonly value: unknown;
  readonly ordinal?: number;
}

/** A record that a sink has handed out. */
export interface Delivery {
  readonly key: string;
  readonly ordinal: number;
  readonly value: unknown;
}

/** What ends a run when its process has begun `at` appends; then another run begins. */
export type Interruption =
  /** It is told to stop, and finishes what is in flight. */
  | { readonly kind: "stop"; readonly at: number }
  /** The process dies, before the append is made or just after it. */
  | { readonly kind: "crash"; readonly at: number; readonly made: boolean };

/** An append that the log answers with an error, though it may have been made. */
export interface Failure {
  readonly at: number;
  readonly made: boolean;
}

/** How a simulation goes about it; nothing of it may show in what comes out. */
export interface Circumstances {
  readonly seed: number;
  readonly nodes: number;
  readonly batchRecords: number;
  readonly tickMs: number;
  /** See `SlowLogOptions`. */
  readonly delayMs: number;
  /** See {@link VirtualWorld}. */
  readonly stepBackMs?: number;
  readonly provenance?: "full" | "off";
  readonly keepOpen?: boolean;
  /** One after the other; the last run is not interrupted. */
  readonly interruptions: readonly Interruption[];
  /** In each run, after so many appends a node is gone, unless it is the last one. */
  readonly losses: readonly number[];
  /** In each run, the appends of partitions that fail, counted among those. */
  readonly failures: readonly Failure[];
  /** In each run, after so many appends everything is asked for that waits in quarantine; and before another, last run. */
  readonly retries?: readonly number[];
  /** Every third record of those is discarded instead. */
  readonly discards?: boolean;
  /** See `RunEnvironment.pace`. */
  readonly pace?: RunEnvironment["pace"];
  /** Records come in portions, one after so much virtual time each. */
  readonly everyMs?: number;
  /** Sinks are handed whole batches, each of which is a delivery of its own. */
  readonly inBatches?: boolean;
}

/** What a simulation has come to. */
export interface Outcome {
  readonly log: MemoryLog;
  /** For each run what each sink has handed out in it. */
  readonly runs: readonly ReadonlyMap<string, readonly Delivery[]>[];
  /** Records that a door refused in the last run to see them, by source and index. */
  readonly refused: ReadonlyMap<string, ReadonlySet<number>>;
  /** Units that failed and were begun again. */
  readonly restarts: readonly string[];
}

const STUCK_MS = 20 * 60_000;
/** Records of one portion, where they come at a steady pace. */
const PORTION_MOST = 16;

/** One process's world around `runPipeline`; made by {@link Simulation}. */
export interface SimulatedRun {
  readonly process: SimulatedProcess;
  readonly log: SlowLog;
  readonly board: ProgressBoard;
  readonly stop: AbortController;
  readonly delivered: ReadonlyMap<string, readonly Delivery[]>;
  readonly done: Promise<unknown>;
}

export interface StartOptions {
  readonly circumstances: Circumstances;
  readonly probe?: Probe;
}

/** A log in memory and the processes that run a pipeline on it, one after the other or at the same time. */
export class Simulation {
  readonly world: VirtualWorld;
  readonly log: MemoryLog;
  readonly refused = new Map<string, Set<number>>();
  readonly restarts: string[] = [];
  /** What was asked for, one time after the other. */
  readonly asked: Promise<number>[] = [];
  readonly #definition: PipelineDefinition;
  readonly #inputs: ReadonlyMap<string, readonly Given[]>;
  readonly #random: Random;
  readonly #processes = new Map<string, SimulatedProcess>();

  constructor(
    definition: PipelineDefinition,
    inputs: ReadonlyMap<string, readonly Given[]>,
    { seed, stepBackMs }: Pick<Circumstances, "seed" | "stepBackMs">,
    log?: MemoryLog,
  ) {
    this.#definition = definition;
    this.#inputs = inputs;
    this.#random = seededRandom(seed);
    this.world = new VirtualWorld(this.#random, stepBackMs);
    this.log = log ?? MemoryLog.create({ id: seededIds(this.#random).uuid(), clock: this.world });
  }

  /** Begins a run of a new process. */
  async start({ circumstances, probe }: StartOptions, interruption?: Interruption): Promise<SimulatedRun> {
    const process = new SimulatedProcess(this.world, this.#processes);
    const stop = new AbortController();
    const board = new ProgressBoard();
    let controls: RunControls | undefined;
    const nodes = Array.from({ length: circumstances.nodes }, (_, index) => `node-${index + 1}`);
    const befall = (made: boolean) => {
      if (interruption?.kind === "crash" && interruption.made === made) process.die();
      if (interruption?.kind === "stop" && made) stop.abort();
    };
    const loseNode = () => {
      const [lost] = nodes.length > 1 ? nodes.splice(upTo(this.#random, nodes.length - 1), 1) : [];
      if (lost !== undefined) controls?.loseNode(lost);
    };
    const log = new SlowLog(this.log.openHandle(), {
      world: this.world,
      process,
      random: this.#random,
      delayMs: circumstances.delayMs,
      onAppend: (count) => {
        if (count === interruption?.at) befall(false);
      },
      onAppended: (count) => {
        if (count === interruption?.at) befall(true);
        if (circumstances.losses.includes(count)) loseNode();
        if (circumstances.retries?.includes(count)) this.askForAll(circumstances.discards);
      },
      failures: circumstances.failures,
    });
    const delivered = new Map(this.#definition.sinks.map(({ name }) => [name, [] as Delivery[]]));
    const intakes = new Map<string, ProgramIntake>();
    for (const { name } of this.#definition.sources) {
      const givesOrdinals = this.#inputs.get(name)?.some(({ ordinal }) => ordinal !== undefined) ?? false;
      const records = this.#intake(name, await this.#nextOf(name), circumstances, process);
      intakes.set(name, new ProgramIntake(records, givesOrdinals));
    }
    const done = runPipeline(
      {
        log,
        clock: process.clock,
        ids: seededIds(this.#random),
        processes: process.processes,
        bundler: {
          bundle: () => Promise.reject(new Error("nothing is bundled in a simulation")),
          load: () => {
            throw new Error("nothing is loaded in a simulation");
          },
        },
        runtime: { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" },
        ...(probe !== undefined && { probe }),
        ...(circumstances.pace !== undefined && { pace: circumstances.pace }),
        onOperating: (given) => {
          controls = given;
        },
      },
      {
        plan: planPipeline(this.#definition),
        bundle: undefined,
        intakes,
        targets: new Map([...delivered].map(([sink, records]) => [sink, targetOf(records, circumstances)])),
        nodes: circumstances.nodes,
        batchRecords: circumstances.batchRecords,
        tickMs: circumstances.tickMs,
        provenance: circumstances.provenance ?? "full",
        follow: false,
        keepOpen: circumstances.keepOpen ?? false,
        signal: stop.signal,
        board,
        onDeployed: () => {},
        onRejected: () => {},
        onQuarantined: () => {},
        onResumed: () => {},
        onTimeAhead: () => {},
        onStandBy: () => {},
        onBegunAgain: () => {},
        onRestarted: (unit, error) => this.restarts.push(`${unit}: ${String(error)}`),
      },
    );
    done.catch(() => {});
    return { process, log, board, stop, delivered, done };
  }

  /** Asks for everything to be put back that waits in quarantine, but at windows and joins; or discards a part of it. */
  askForAll(discards = false): void {
    const { name: pipeline, stages } = this.#definition;
    const timed = new Set(stages.filter(isTimed).map(({ name }) => name));
    const processes = { host: "simulation", pid: 0, instance: "asks", isAlive: () => true };
    const context = { log: this.log, clock: this.world, processes, pipeline };
    const waiting = async ({ of }: Decisions) => {
      const found: Refused[] = [];
      for await (const refused of readRefused(this.log, pipeline)) {
        const { unit, place, record } = refused;
        if (record.kind === "rejected" || timed.has(place.stage ?? "")) continue;
        if (!of.has(refusedKey(unit, place))) found.push(refused);
      }
      return found;
    };
    const third = async (before: Decisions) => (await waiting(before)).filter((_, at) => at % 3 === 2);
    const discarded = discards ? decide(context, third, "a simulation") : Promise.resolve(0);
    this.asked.push(discarded.then(() => decide(context, waiting)));
  }

  /** Lets time pass until the run has ended, or its process has died. Answers whether it came to its end. */
  async finish(run: SimulatedRun, stuckMs = STUCK_MS): Promise<boolean> {
    const died = (async () => {
      while (!run.process.dead) await this.world.sleep(50);
      return false;
    })();
    const ended = run.done.then(
      () => true,
      (error: unknown) => {
        // A log that cannot be reached while a run stops ends it with that error.
        if (isHeadwaterError(error, "LogUnavailable")) return false;
        throw error;
      },
    );
    return this.world.run(Promise.race([ended, died]), stuckMs, () =>
      [
        `${run.board.totals.accepted} accepted, doors through ${run.board.doorsThrough}`,
        `behind: ${run.board.behind(run.board.doorsThrough).join(", ")}`,
        `restarts: ${this.restarts.join("; ")}`,
      ].join("; "),
    );
  }

  /** Where a source's sender goes on: behind what the door has in the log. */
  async #nextOf(source: string): Promise<number> {
    const given = this.#inputs.get(source) ?? [];
    const ordinals = await acceptedOrdinals(this.log, this.#definition.name, source);
    const last = ordinals.at(-1);
    // Without injected ordinals nothing is refused in these simulations, so that N counts what was given.
    if (given[0]?.ordinal === undefined) return ordinals.length;
    return last === undefined ? 0 : given.findIndex((record) => record.ordinal === last) + 1;
  }

  async *#intake(
    source: string,
    next: number,
    { delayMs, everyMs }: Circumstances,
    process: SimulatedProcess,
  ): AsyncGenerator<readonly IntakeRecord[], void, undefined> {
    const given = this.#inputs.get(source) ?? [];
    const refused = new Set([...(this.refused.get(source) ?? [])].filter((index) => index < next));
    this.refused.set(source, refused);
    for (let at = next; at < given.length; ) {
      const most =
        everyMs === undefined ? given.length - at - 1 : Math.min(PORTION_MOST, given.length - at) - 1;
      const end = at + 1 + upTo(this.#random, most);
      if (everyMs !== undefined) await this.world.sleep(everyMs);
      if (delayMs > 0 && this.#random() < 0.5) await this.world.sleep(upTo(this.#random, 5 * delayMs));
      if (process.dead) return;
      const first = at;
      yield given.slice(first, end).map((record, index) => ({
        ...record,
        line: first + index + 1,
        settle: ({ kind }) => {
          if (kind === "duplicate" || kind === "rejected") refused.add(first + index);
        },
      }));
      at = end;
    }
  }
}

function targetOf(into: Delivery[], { inBatches }: Circumstances): SinkTarget {
  const take = ({ key, ordinal, value }: OutputRecord) => {
    into.push({ key, ordinal, value });
  };
  return inBatches
    ? new BatchCallbackTarget("out", (records) => records.forEach(take))
    : new CallbackTarget("out", take);
}

/** Runs a pipeline over its inputs, through all interruptions, until everything is through; on a new log, or on `on`. */
export async function simulate(
  definition: PipelineDefinition,
  inputs: ReadonlyMap<string, readonly Given[]>,
  circumstances: Circumstances,
  on?: MemoryLog,
): Promise<Outcome> {
  const simulation = new Simulation(definition, inputs, circumstances, on);
  const runs: ReadonlyMap<string, readonly Delivery[]>[] = [];
  const left: (Interruption | undefined)[] = [...circumstances.interruptions, undefined];
  for (let how = circumstances; left.length > 0; ) {
    const run = await simulation.start({ circumstances: how }, left.shift());
    const portions = Math.max(0, ...[...inputs.values()].map(({ length }) => length));
    const ended = await simulation.finish(run, STUCK_MS + portions * (circumstances.everyMs ?? 0));
    runs.push(run.delivered);
    if (!ended && left.length === 0) {
      left.push(undefined);
      how = { ...circumstances, failures: [] };
    }
    if (!run.process.dead && run.log.subscriptions > 0) {
      // Whoever was told to stop hears of it at the latest when what it waits for has answered.
      await simulation.world.run(
        simulation.world.sleep(60_000),
        120_000,
        () => "waiting for subscriptions to end",
      );
      if (run.log.subscriptions > 0) throw new Error(`${run.log.subscriptions} subscriptions are left open`);
    }
    if (left.length === 0 && how.retries !== undefined) {
      const { retries: _, ...last } = how;
      how = last;
      simulation.askForAll(circumstances.discards);
      await simulation.world.run(Promise.all(simulation.asked), STUCK_MS, () => "asking for what is refused");
      left.push(undefined);
    }
  }
  const { log, refused, restarts } = simulation;
  return { log, runs, refused, restarts };
}
