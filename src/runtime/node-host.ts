import { Arena } from "../core/arena.ts";
import { RecordDecoder } from "../core/decode-shapes.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { tellError } from "../core/told-error.ts";
import { overridesOf } from "../pipeline/parameter-overrides.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import type { Bundler } from "../ports/bundler.ts";
import type { Clock } from "../ports/clock.ts";
import type { Append, Appended, EventLog } from "../ports/event-log.ts";
import { definitionOf, describeDeployment, digestOfShape } from "./deployment.ts";
import { EffectGates } from "./effect-gates.ts";
import type { HostContext, Probe } from "./host-context.ts";
import { PartitionWorker } from "./partition-worker.ts";
import { unitsOf } from "./routes.ts";
import type { FromNode, NodeSeed, ToNode, UnitStep } from "./thread-messages.ts";
import { ToldBoard } from "./told-board.ts";
import { Turnstile } from "./turnstile.ts";
import { runtimeVersions } from "./versions.ts";
import { WorkMarks } from "./work-marks.ts";

/** What a node has of the thread that it runs in. */
export interface NodePlace {
  readonly seed: NodeSeed;
  readonly shared: SharedArrayBuffer;
  readonly log: EventLog;
  readonly clock: Clock;
  readonly bundler: Bundler;
  readonly probe: Probe | undefined;
  say(message: FromNode): void;
  listen(hear: (message: ToNode) => void): void;
  onAppended(hear: (appends: readonly Append[], answers: readonly Appended[]) => void): void;
}

/**
 * A node's side of its thread: makes the pipeline of the deployed code, and does with its partitions what
 * `NodeThread` asks.
 */
export function hostNode(place: NodePlace): void {
  let workers: HostedWorkers | undefined;
  try {
    workers = new HostedWorkers(place, contextOf(place));
  } catch (error) {
    place.say({ kind: "failed", error: tellError(error) });
  }
  place.listen((message) => workers?.hear(message));
}

function contextOf(place: NodePlace): HostContext {
  const { seed, log, clock, probe, shared } = place;
  const plan = planOf(place);
  const marks = new WorkMarks(shared, unitsOf(plan).partitions);
  const board = new ToldBoard(clock, place.say);
  place.onAppended((appends, answers) => board.recorded(appends, answers));
  const beat = () => {
    marks.beat();
    clock.setTimeout(beat, LIMITS.threadBeatMs);
  };
  beat();
  const decoder = new RecordDecoder();
  const { process, deployment, deployedFrom, provenance, batchRecords, tickMs, keepOpen } = seed;
  return {
    log,
    clock,
    plan,
    deployment,
    deployedFrom,
    process,
    provenance,
    batchRecords,
    tickMs,
    arena: new Arena(),
    decode: (bytes, start, end) => decoder.decode(bytes, start, end),
    board,
    keepOpen,
    takesRetries: seed.takesRetries,
    snapshotEveryMs: seed.snapshotEveryMs,
    probe,
    gates: new EffectGates(),
    // Sinks are not worked at in threads.
    onOutputWaits: () => {},
    onOutputMissing: () => {},
    thread: { marks, turnstile: new Turnstile() },
    onQuarantined: (stage, address, message) => board.quarantined({ stage, address, message }),
    places: place.bundler.places?.(seed.bundle) ?? ((stack) => stack),
  };
}

/** The pipeline as it is in this thread. Throws `BadPipeline` if it is another than where the thread was begun. */
function planOf({ seed, bundler }: NodePlace): Plan {
  const { bundle, parameters, provenance, shape } = seed;
  const definition = definitionOf(bundler.load(bundle), bundle.module);
  const plan = planPipeline(definition, overridesOf(parameters));
  const made = describeDeployment({ plan, bundle, provenance, runtime: runtimeVersions() });
  if (equalBytes(digestOfShape(made), shape)) return plan;
  throw new HeadwaterError("BadPipeline", "the module makes another pipeline in a thread than outside", {
    where: bundle.module,
    hint: "What it makes must not depend on time, chance, or where it is loaded.",
  });
}

interface Hosted {
  readonly worker: PartitionWorker;
  /** Finish what is in flight; stop at once. */
  readonly drain: AbortController;
}

class HostedWorkers {
  readonly #place: NodePlace;
  readonly #context: HostContext;
  readonly #workers = new Map<string, Hosted>();

  constructor(place: NodePlace, context: HostContext) {
    this.#place = place;
    this.#context = context;
  }

  hear(message: ToNode): void {
    const { key } = message;
    switch (message.kind) {
      case "begin": {
        const { order, batchMost, care } = message;
        const worker = new PartitionWorker(this.#context, order, batchMost, care);
        this.#workers.set(key, { worker, drain: new AbortController() });
        return;
      }
      case "step":
        void this.#do(key, message.step);
        return;
      case "drain":
        this.#workers.get(key)?.drain.abort();
        return;
      case "dispose":
        this.#dispose(key);
    }
  }

  async #do(key: string, step: UnitStep): Promise<void> {
    try {
      const hosted = this.#workers.get(key);
      if (hosted === undefined)
        throw new HeadwaterError("Stopped", "let go of before it was done", { where: key });
      const { worker, drain } = hosted;
      if (step === "work") await worker.work(drain.signal);
      else await worker[step]();
      // Let go of in the meantime: what it has opened since then is let go of, too.
      if (!this.#workers.has(key)) worker.dispose();
      this.#place.say({ kind: "done", key, step });
    } catch (error) {
      this.#place.say({ kind: "done", key, step, error: tellError(error) });
    }
  }

  #dispose(key: string): void {
    const hosted = this.#workers.get(key);
    this.#workers.delete(key);
    hosted?.drain.abort();
    hosted?.worker.dispose();
  }
}
