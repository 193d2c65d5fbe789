import type { WorkerInput } from "../../actors/worker.ts";
import { describeThrown, HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { RefusedInput } from "../engine/watch.ts";
import { type Plan, SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { Append, EventLog } from "../ports/event-log.ts";
import type { Threads } from "../ports/threads.ts";
import { NodeThread, type ThreadLoss, type ThreadSettings } from "./node-thread.ts";
import type { ProgressBoard, Totals } from "./progress-board.ts";
import { partitionOfUnit, stepsStreamOf, unitsOf } from "./routes.ts";
import { Suspects } from "./suspects.ts";
import type { FromNode, NodeSeed } from "./thread-messages.ts";
import type { UntoldSteps } from "./untold-steps.ts";
import type { SeenWork, WorkMark } from "./work-marks.ts";
import type { Worker } from "./worker-pool.ts";

export interface NodeThreadsOptions {
  readonly threads: Threads;
  readonly settings: ThreadSettings;
  readonly log: EventLog;
  readonly clock: Clock;
  readonly plan: Plan;
  readonly seed: NodeSeed;
  readonly board: ProgressBoard;
  onQuarantined(stage: string, address: string, message: string): void;
  /** Called when the thread of a node is gone. `progressed`: some record was recorded since the last time. */
  onLost(node: string, error: HeadwaterError, progressed: boolean): void;
}

/**
 * The threads that the nodes of a pipeline run in, one each. A thread is begun with the first partition that its node
 * is given, and is there until all are let go of, or until it is lost: then the node is gone.
 */
export class NodeThreads {
  readonly #options: NodeThreadsOptions;
  readonly #units: readonly string[];
  readonly #unitOf: ReadonlyMap<string, string>;
  readonly #threads = new Map<string, NodeThread>();
  readonly #suspects: Suspects;
  #recorded = false;
  #closed = false;

  constructor(options: NodeThreadsOptions) {
    this.#options = options;
    const { plan } = options;
    this.#units = unitsOf(plan).partitions;
    this.#unitOf = new Map(this.#units.map((unit) => [this.#streamOf(unit), unit]));
    this.#suspects = new Suspects({
      nameOf: (unit, stage) => this.#stageName(unit, stage),
      first: (unit) =>
        partitionOfUnit(plan, unit)
          .segment.stages.filter(({ input }) => input === SEGMENT_INPUT)
          .map(({ definition }) => definition.name),
    });
  }

  /** The names of the nodes that have a thread. */
  get nodes(): readonly string[] {
    return [...this.#threads.keys()];
  }

  /** A worker for an order, in the thread of the node that it is for; `batchMost` bounds the records of a batch. */
  worker(order: WorkerInput, batchMost: number): Worker {
    const thread = this.#threadOf(order.node);
    const key = `${order.unit}#${order.assignment}`;
    const care = this.#suspects.careOf(order.unit);
    return {
      claim: () => {
        thread.say({ kind: "begin", key, order, batchMost, care });
        return thread.ask(key, "claim");
      },
      restore: () => thread.ask(key, "restore"),
      work: async (signal) => {
        const drain = () => thread.say({ kind: "drain", key });
        signal.addEventListener("abort", drain);
        if (signal.aborted) drain();
        try {
          await thread.ask(key, "work");
        } finally {
          signal.removeEventListener("abort", drain);
        }
      },
      dispose: () => thread.say({ kind: "dispose", key }),
    };
  }

  /** Ends the thread of a node as if it had died; for tests. */
  kill(node: string): void {
    this.#threads.get(node)?.kill();
  }

  /** Lets go of all threads; those that have not ended by themselves after `graceMs` are ended where they are. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#threads.values()].map((thread) => thread.close(graceMs)));
  }

  #threadOf(node: string): NodeThread {
    const known = this.#threads.get(node);
    if (known !== undefined) return known;
    if (this.#closed) throw new HeadwaterError("Stopped", "the pipeline has stopped", { where: node });
    const { threads, settings, log, clock, seed } = this.#options;
    const thread = new NodeThread({
      node,
      threads,
      settings,
      log,
      clock,
      seed,
      units: this.#units,
      onProgress: (progress) => this.#hear(progress),
      onActivity: (unit, activity) => this.#options.board.pressure.enters(unit, activity, clock.monotonic()),
      onAppended: (appends) => this.#answered(appends),
      onPutBack: (ordinal) => this.#options.board.reportPutBack(ordinal),
      onLost: (lost, seen, untold) => this.#lose(node, lost, seen, untold),
      onEnded: (untold) => this.#tell(untold),
    });
    this.#threads.set(node, thread);
    return thread;
  }

  #hear(told: Extract<FromNode, { readonly kind: "progress" }>): void {
    const { board, clock, onQuarantined } = this.#options;
    const { through, totals, late, quarantined, retries, activities } = told;
    for (const name of Object.keys(totals) as (keyof Totals)[]) board.totals[name] += totals[name] ?? 0;
    if ((totals.steps ?? 0) > 0) this.#recorded = true;
    for (const { stage, address, message } of quarantined) onQuarantined(stage, address, message);
    for (const [stage, records] of late) board.cameLate(stage, records);
    for (const [unit, ordinal] of through) board.report(unit, ordinal);
    for (const [unit, taken] of retries) board.reportRetries(unit, taken);
    for (const [unit, activity] of activities) {
      if (activity === undefined) board.pressure.leaves(unit, clock.monotonic());
      else board.pressure.enters(unit, activity, clock.monotonic());
    }
  }

  /** Whose append is in the log is not kept by the log any more, but by what its thread is at. */
  #answered(appends: readonly Append[]): void {
    const { board, clock } = this.#options;
    for (const { stream } of appends) {
      const unit = this.#unitOf.get(stream);
      if (unit !== undefined) board.pressure.answered(unit, clock.monotonic());
    }
  }

  #lose(node: string, lost: ThreadLoss, seen: SeenWork, untold: UntoldSteps): void {
    this.#threads.delete(node);
    this.#tell(untold);
    const how = describeLoss(lost, this.#options.settings);
    // Whoever is killed from outside says nothing about what it was at.
    const refused = lost.kind === "killed" ? [] : this.#suspects.ended(seen, how);
    const progressed = lost.kind === "killed" || this.#recorded || refused.length > 0;
    this.#recorded = false;
    this.#options.onLost(node, this.#errorOf(node, lost, how, seen, refused), progressed);
  }

  /** What a thread did not come to tell. */
  #tell(untold: UntoldSteps): void {
    const { board, onQuarantined } = this.#options;
    for (const [stream, { through, steps, retried, late, quarantined }] of untold.rest()) {
      const unit = this.#unitOf.get(stream) ?? "";
      board.totals.steps += steps;
      board.totals.retried += retried;
      board.totals.quarantined += quarantined.length;
      board.cameLate(partitionOfUnit(this.#options.plan, unit).segment.name, late);
      for (const { stage, n, k = 0, message } of quarantined) {
        onQuarantined(stage, `${stream}@${n}.${k}/${stage}`, message);
      }
      if (steps > 0) this.#recorded = true;
      board.report(unit, through);
    }
  }

  #errorOf(
    node: string,
    lost: ThreadLoss,
    how: string,
    { inside, underWay }: SeenWork,
    refused: readonly RefusedInput[],
  ): HeadwaterError {
    const marks = inside === undefined ? underWay : [inside];
    const places = marks.map((mark) => this.#placeOf(mark, mark === inside)).slice(0, PLACES_MOST);
    const [only] = refused;
    const hint =
      only === undefined
        ? HINTS[lost.kind]
        : `The record has done so ${LIMITS.deathsOfOneRecord} times while nothing else was worked at: ${only.stage} is not called for it any more.`;
    return new HeadwaterError("NodeLost", `the thread of ${node} has ended (${how})`, {
      ...(places.length > 0 && { where: places.join(", or ") }),
      hint,
      ...(lost.kind === "error" && { cause: lost.error }),
    });
  }

  #placeOf({ unit, n, first, count, stage, restoring }: WorkMark, inside: boolean): string {
    const at =
      stage === undefined || !(inside || count === 1) ? "" : `stage ${this.#stageName(unit, stage)}, `;
    const inputs = inside || count === 1 ? `input ${n}` : `inputs ${first} to ${first + count - 1}`;
    return `${at}${inputs} of ${this.#streamOf(unit)}${restoring ? ", while state was brought back" : ""}`;
  }

  #streamOf(unit: string): string {
    const { plan } = this.#options;
    const { segment, partition } = partitionOfUnit(plan, unit);
    return stepsStreamOf(plan, segment, partition);
  }

  #stageName(unit: string, stage: number): string {
    const { segment } = partitionOfUnit(this.#options.plan, unit);
    return segment.stages[stage]?.definition.name ?? segment.name;
  }
}

/** The error of a pipeline that threads cannot load. */
export function moduleMissing(pipeline: string): HeadwaterError {
  return new HeadwaterError("BadUsage", "a pipeline that is given as an object alone cannot run in threads", {
    where: `pipeline ${pipeline}`,
    hint: "Name the file of its module, too: start(pipeline, { module, … }); or leave the executor out.",
  });
}

/** Of the places that may have ended a thread so many are named. */
const PLACES_MOST = 4;
const MS_PER_SECOND = 1_000;

function describeLoss(lost: ThreadLoss, { hangAfterMs, memoryMb }: ThreadSettings): string {
  switch (lost.kind) {
    case "memory":
      return `out of memory: ${memoryMb} MiB`;
    case "hanging":
      return `no answer for ${hangAfterMs / MS_PER_SECOND} s`;
    case "exit":
      return `process.exit(${lost.code})`;
    case "error":
      return `nobody caught: ${describeThrown(lost.error).slice(0, LIMITS.reasonChars)}`;
    case "killed":
      return "killed";
  }
}

const HINTS: Readonly<Record<ThreadLoss["kind"], string>> = {
  memory: "Mend what keeps so much, or give threads more with --thread-memory.",
  hanging: "Mend the stage; or, if it may take so long for one record, say so with --hang-after.",
  exit: "A stage must not end its process; let it throw instead.",
  error: "Await promises, and catch what is thrown in callbacks.",
  killed: "Its partitions go on elsewhere.",
};
