import { createActor, fromPromise } from "xstate";
import { supervisorMachine } from "../../actors/supervisor.ts";
import type { WorkerInput } from "../../actors/worker.ts";
import { Arena } from "../core/arena.ts";
import { RecordDecoder } from "../core/decode-shapes.ts";
import { type ErrorCode, HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { retryStream } from "../core/streams.ts";
import { overridesOf, parametersOf } from "../pipeline/parameter-overrides.ts";
import { planPipeline } from "../pipeline/plan.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import {
  completedDeployment,
  everythingThrough,
  highestThrough,
  lowestThrough,
  statesKept,
} from "./completed.ts";
import {
  currentDeployment,
  type DeploymentCandidate,
  definitionOf,
  deploy,
  describeDeployment,
  digestOfShape,
  isDeployed,
  loadDeployedCode,
} from "./deployment.ts";
import { DoorWorker } from "./door-worker.ts";
import { EffectGates } from "./effect-gates.ts";
import type { HostContext } from "./host-context.ts";
import { type InlineWatch, watchInline } from "./inline-watch.ts";
import { ProgramIntake } from "./intake.ts";
import { keepStates } from "./keep-states.ts";
import { moduleMissing, NodeThreads } from "./node-threads.ts";
import type { Pace } from "./pace.ts";
import { PartitionWorker } from "./partition-worker.ts";
import { ProgressBoard } from "./progress-board.ts";
import { beginRetention, Retention } from "./retention.ts";
import { askedSoFar } from "./retry-reader.ts";
import { unitsOf } from "./routes.ts";
import type { RunEnd, RunEnvironment, RunOptions } from "./run-options.ts";
import { noteRuntime } from "./runtime-changes.ts";
import { CountTarget } from "./sink-targets.ts";
import { SinkWorker } from "./sink-worker.ts";
import { Supervision } from "./supervision.ts";
import type { NodeSeed } from "./thread-messages.ts";
import { type Worker, WorkerPool } from "./worker-pool.ts";

/** Failures that a new try with the same code, input and log meets again. */
const FATAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "BadUsage",
  "BadPipeline",
  "BadInput",
  "ForeignOutput",
  "IncompatibleDeployment",
  "InputFailed",
  "OutputFailed",
  "OutputRefused",
  "StageFailed",
  "EffectMissing",
  "RecordGone",
  "NotCanonical",
  "RecordTooLarge",
  "LogFull",
  "LogDamaged",
  "LogForeign",
  "LogTooNew",
  "LogClosed",
  "StreamTombstoned",
]);

/**
 * What a run that follows its inputs outlasts: another process has taken over, so it stands by again; the log could
 * not be reached, so it tries again.
 */
const OUTLASTED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["OwnershipLost", "LogUnavailable"]);

/**
 * Runs a pipeline on a log: claims its supervision, deploys it if it has changed, and works until all intakes have
 * ended and every record has come to its end. When `signal` aborts it takes nothing more in, and ends as soon as every
 * record that it has is at its end, or its time for that is over. With `follow` it ends by `signal` alone: it
 * stands by again when another process has taken over, and begins again when the log failed. Throws what made it
 * impossible; what was accepted before is kept, and a later run goes on with it.
 */
export async function runPipeline(environment: RunEnvironment, options: RunOptions): Promise<RunEnd> {
  const { clock, ids } = environment;
  const { follow, signal } = options;
  const process = ids.uuid();
  threadParts(environment, options);
  const done = options.beforeWork === undefined ? await completedDeployment(environment, options) : undefined;
  if (done !== undefined) return { deployed: done, drained: true };
  for (let delayMs: number = LIMITS.beginAgainMs; ; ) {
    const begun = clock.monotonic();
    try {
      return await runOnce(environment, options, process);
    } catch (error) {
      const outlasted = isHeadwaterError(error) && OUTLASTED.has(error.code);
      if (!follow || !outlasted || signal.aborted) throw error;
      options.onBegunAgain(error);
    }
    // After a while of good work a failure is a new one.
    if (clock.monotonic() - begun > LIMITS.beginAgainMsMost) delayMs = LIMITS.beginAgainMs;
    await sleep(clock, delayMs, signal);
    delayMs = Math.min(2 * delayMs, LIMITS.beginAgainMsMost);
  }
}

async function runOnce(environment: RunEnvironment, options: RunOptions, process: string): Promise<RunEnd> {
  const { log, clock, processes } = environment;
  const { name } = options.plan.definition;
  const supervision = await Supervision.claim(
    {
      ...{ log, clock, processes, pipeline: name, process },
      ...(options.beforeWork === undefined && { onStandBy: options.onStandBy }),
    },
    options.signal,
  );
  const lost = new AbortController();
  supervision.beat((error) => lost.abort(error));
  try {
    const deployed = await deployIfChanged(environment, options, process, supervision, lost.signal);
    await options.beforeWork?.();
    const retains = await beginRetention({ log, clock, plan: options.plan }, () => supervision.confirm());
    const { pace: { snapshotEveryMs } = LIMITS } = environment;
    const drained = await operate(environment, {
      ...options,
      snapshotEveryMs: retains ? snapshotEveryMs : undefined,
      process,
      deployed,
      supervision,
      lost: lost.signal,
    });
    // What was let go of may hold the log up: others find out by the silence.
    if (drained) await supervision.release();
    return { deployed, drained };
  } finally {
    supervision.abandon();
  }
}

export interface Operation extends RunOptions {
  /** See `HostContext.snapshotEveryMs`; none while a deployment only ends what it has begun. */
  readonly snapshotEveryMs: number | undefined;
  readonly process: string;
  readonly deployed: PipelineDeployed;
  readonly supervision: Supervision;
  /** Aborts, with the reason, when another process has taken over. */
  readonly lost: AbortSignal;
  /** See `HostContext.recordedEffects`. */
  readonly recordedEffects?: NonNullable<HostContext["recordedEffects"]>;
  readonly pace?: Pace;
}

async function deployIfChanged(
  environment: RunEnvironment,
  options: RunOptions,
  process: string,
  supervision: Supervision,
  lost: AbortSignal,
): Promise<PipelineDeployed> {
  const { log, clock, runtime } = environment;
  const { name } = options.plan.definition;
  const candidate: DeploymentCandidate = { ...options, runtime };
  const content = describeDeployment(candidate);
  const current = await currentDeployment(log, name);
  // What is left of a version that is to be replaced is run by this process, too.
  if (current !== undefined) await noteRuntime(environment, name, current, () => supervision.confirm());
  if (current !== undefined && isDeployed(content, current, name)) return current;
  let from = 0;
  if (current !== undefined) {
    const stuck = await drainDeployment(environment, options, process, supervision, lost, current);
    if (options.signal.aborted) {
      throw new HeadwaterError("Stopped", "stopped before the new version was deployed", {
        where: `pipeline ${name}`,
        hint: "Run it again: what was accepted for the version before is finished first.",
      });
    }
    from = (await (stuck ? lowestThrough : highestThrough)(log, name, current)) + 1;
  }
  const confirm = () => supervision.confirm();
  const deployed = await deploy(log, clock, name, candidate, content, current, from, confirm);
  options.onDeployed(deployed, current);
  return deployed;
}

/**
 * Brings what was accepted for the deployment that ran to its end, by that deployment's own code. Answers whether a
 * stage at whose failure everything stops is in the way: that is what the new code mends, and goes on at.
 */
async function drainDeployment(
  environment: RunEnvironment,
  options: RunOptions,
  process: string,
  supervision: Supervision,
  lost: AbortSignal,
  current: PipelineDeployed,
): Promise<boolean> {
  if (current.code === undefined) {
    await mustNeedNoCode(environment.log, options.plan.definition.name, current);
    return false;
  }
  const { bundle, exported } = await loadDeployedCode(environment.log, environment.bundler, current);
  const operation: Operation = {
    ...options,
    plan: planPipeline(definitionOf(exported, bundle.module), overridesOf(current.parameters)),
    bundle,
    provenance: current.provenance,
    intakes: new Map(),
    follow: false,
    keepOpen: true,
    leaveRetries: true,
    snapshotEveryMs: undefined,
    board: new ProgressBoard(),
    process,
    deployed: current,
    supervision,
    lost,
  };
  try {
    await operate(environment, operation);
    return false;
  } catch (error) {
    if (!isHeadwaterError(error, "StageFailed")) throw error;
    await keepStates(hostContext(environment, operation), supervision.version);
    return true;
  }
}

/** Throws `IncompatibleDeployment` where only code that is not in the log could finish what a deployment began. */
async function mustNeedNoCode(log: EventLog, pipeline: string, current: PipelineDeployed): Promise<void> {
  const refuse = (message: string, hint: string) =>
    new HeadwaterError("IncompatibleDeployment", message, {
      where: `pipeline ${pipeline}, version ${current.version}`,
      hint,
    });
  if (!(await everythingThrough(log, pipeline, current))) {
    throw refuse(
      "records wait for a deployment whose code is not in the log",
      "Run the program that made it once more, so that they come to their end; then run this one.",
    );
  }
  if (!(await statesKept(log, pipeline, current))) {
    throw refuse(
      "the state was not kept up to its end, and the code that made it is not in the log",
      "Run the program that made it once more and let it end; then run this one.",
    );
  }
}

/**
 * Runs the actors of a deployment until its intakes have ended and everything is through. When it is stopped its doors
 * are closed, and it runs on until everything is through, or the time for that is over. Answers whether it was not.
 */
export async function operate(environment: RunEnvironment, operation: Operation): Promise<boolean> {
  const { board, supervision, signal } = operation;
  const units = unitsToRun(operation);
  for (const unit of [...units.partitions, ...units.sinks]) board.expect(unit);
  if (!operation.leaveRetries) {
    for (const unit of [...units.doors, ...units.partitions]) board.expectRetries(unit);
  }
  board.onOutside = (unit, reason, why) => {
    // Sinks tell it themselves: see `onOutputWaits`.
    if (units.partitions.includes(unit)) operation.onStageWaits?.(reason, why);
  };
  const ended = new Set<string>();
  let inputFailure: HeadwaterError | undefined;
  const lookForEnd = () => {
    if (ended.size === units.doors.length && (!operation.follow || signal.aborted)) board.noMoreInput();
    board.touch();
  };
  const onEnded = (unit: string, failure?: HeadwaterError) => {
    ended.add(unit);
    inputFailure ??= failure;
    if (failure !== undefined && ended.size < units.doors.length) {
      operation.onInputFailed?.(unit.slice(unit.indexOf(":") + 1), failure);
    }
    lookForEnd();
  };
  const watched = inlineWatch(environment, operation);
  const context = {
    ...hostContext(environment, operation),
    ...(watched !== undefined && { marks: watched.marks }),
  };
  let spawned = operation.nodes;
  const threads = nodeThreads(environment, operation, (node, error, progressed) => {
    spawned++;
    const replacement = `node-${spawned}`;
    operation.onNodeLost?.(node, replacement, error);
    actor.send({ type: "NODE_LOST", node, replacement, error, progressed });
  });
  const pool = new WorkerPool((order, attempt) =>
    makeWorker(context, operation, threads, order, attempt, onEnded),
  );
  /** How far units were when they failed. */
  const failedAt = new Map<string, number>();
  const machine = supervisorMachine.provide({
    actors: {
      claim: fromPromise(() => Promise.resolve({ version: supervision.version })),
      assignUnits: fromPromise<void, { version: number; units: readonly { unit: string; node: string }[] }>(
        ({ input }) =>
          supervision.assign(
            input.version,
            input.units.map(({ unit, node }) => ({ unit, node, process: operation.process })),
          ),
      ),
      node: pool.nodeLogic,
      door: pool.workerLogic,
      sink: pool.workerLogic,
    },
    actions: {
      onRestart: (_, { unit, error }) => {
        failedAt.set(unit, board.throughOf(unit));
        operation.onRestarted(unit, error);
      },
    },
    guards: {
      fatal: (_, { error }) => isFatal(error),
      gotOn: (_, { unit }) => board.throughOf(unit) > (failedAt.get(unit) ?? Number.POSITIVE_INFINITY),
    },
  });
  const nodes = Array.from({ length: operation.nodes }, (_, index) => `node-${index + 1}`);
  const actor = createActor(machine, {
    input: { nodes, ...units },
    clock: {
      setTimeout: (callback: () => void, ms: number) => environment.clock.setTimeout(callback, ms),
      clearTimeout: (cancel: () => void) => cancel?.(),
    },
  });
  const done = new Promise<unknown>((resolve, reject) => {
    actor.subscribe({
      next: (snapshot) => {
        if (snapshot.status === "done") resolve(snapshot.output.error);
      },
      error: reject,
    });
  });
  const onLost = () => actor.send({ type: "FATAL", error: operation.lost.reason });
  operation.lost.addEventListener("abort", onLost, { once: true });
  const finished = new AbortController();
  const retention = operation.snapshotEveryMs === undefined ? undefined : retentionOf(environment, operation);
  const tellRetention = (error: unknown) => operation.onRestarted("retention", error);
  actor.start();
  const { pace: { retentionTickMs } = LIMITS } = environment;
  const letGo = retention?.follow(retentionTickMs, finished.signal, tellRetention);
  environment.onOperating?.({
    loseNode: (node) =>
      threads === undefined ? actor.send({ type: "NODE_LOST", node }) : threads.kill(node),
    nodes: () => threads?.nodes ?? Object.keys(actor.getSnapshot().context.alive),
  });
  let late = false;
  let cancelDeadline = () => {};
  // The signal closes the doors, too: see `DoorOptions.closing`.
  const onStop = () => {
    const { drainMs = LIMITS.drainMs } = operation;
    const { clock } = environment;
    const spentMs = clock.monotonic() - (operation.drainSince?.() ?? clock.monotonic());
    cancelDeadline = clock.setTimeout(
      () => {
        late = true;
        operation.onDrainTimeout?.(drainMs);
        actor.send({ type: "STOP" });
      },
      Math.max(0, drainMs - spentMs),
    );
    lookForEnd();
  };
  if (signal.aborted) onStop();
  else signal.addEventListener("abort", onStop, { once: true });
  const watch = watchForEnd(environment, operation, ended, finished.signal).then(() =>
    actor.send({ type: "DRAIN" }),
  );
  try {
    const error = await done;
    if (error !== undefined) throw error;
    if (inputFailure !== undefined) throw inputFailure;
    // Doors, partitions and sinks have come to their ends by themselves; who did not in time may never do so.
    if (!late) {
      await pool.settled();
      finished.abort();
      await letGo;
      // What workers have left behind at their ends makes more of it not needed any more.
      await retention?.advance().catch(tellRetention);
    }
  } finally {
    watched?.stop();
    finished.abort();
    signal.removeEventListener("abort", onStop);
    await watch;
    await letGo;
    cancelDeadline();
    operation.lost.removeEventListener("abort", onLost);
    actor.stop();
    await pool.close();
    // Who begins again in this process must not meet what it began before.
    if (operation.follow && !late) await pool.settled();
    if (late) await settledWithin(environment.clock, pool, LIMITS.letGoMs);
    // Who did not settle by then is at something that never ends.
    await threads?.close(late ? 0 : LIMITS.threadEndMs);
  }
  return !late;
}

/** Threads are watched by the one that began them. */
function inlineWatch(environment: RunEnvironment, { threads, plan }: Operation): InlineWatch | undefined {
  const { watchdog, clock, processes } = environment;
  if (watchdog === undefined || threads !== undefined) return undefined;
  return watchInline(watchdog, clock, plan, processes.pid);
}

function retentionOf({ log, clock, processes }: RunEnvironment, operation: Operation): Retention {
  const { plan, deployed, targets, supervision } = operation;
  const confirm = () => supervision.confirm();
  const otherTarget = new CountTarget();
  const deployedFrom = deployed.from;
  return new Retention({ log, clock, processes, plan, deployedFrom, targets, otherTarget, confirm });
}

/** What is on its way to the log is to be counted; what never comes to an end is not waited for. */
async function settledWithin(clock: Clock, pool: WorkerPool, ms: number): Promise<void> {
  const settled = new AbortController();
  await Promise.race([pool.settled(), sleep(clock, ms, settled.signal)]);
  settled.abort();
}

/** A fork hands out only what it is told to: its other sinks are not run. */
function unitsToRun({ plan, targets }: Pick<Operation, "plan" | "targets">): ReturnType<typeof unitsOf> {
  const units = unitsOf(plan);
  if (plan.fork === undefined) return units;
  return {
    ...units,
    sinks: plan.sinks.filter(({ name }) => targets.has(name)).map(({ name }) => `sink:${name}`),
  };
}

/** The threads of the nodes, if they are to run in some. */
function nodeThreads(
  environment: RunEnvironment,
  operation: Operation,
  onLost: (node: string, error: HeadwaterError, progressed: boolean) => void,
): NodeThreads | undefined {
  const parts = threadParts(environment, operation);
  if (parts === undefined) return undefined;
  const { log, clock, runtime } = environment;
  const { plan, provenance, deployed, process, batchRecords, tickMs, keepOpen, board, onQuarantined } =
    operation;
  const { bundle } = parts;
  const seed: NodeSeed = {
    process,
    bundle,
    parameters: parametersOf(plan.definition),
    shape: digestOfShape(describeDeployment({ plan, bundle, provenance, runtime })),
    deployment: deployed.deployment,
    deployedFrom: deployed.from,
    provenance,
    batchRecords,
    tickMs,
    keepOpen,
    takesRetries: !operation.leaveRetries,
    snapshotEveryMs: operation.snapshotEveryMs,
  };
  return new NodeThreads({ ...parts, log, clock, plan, seed, board, onQuarantined, onLost });
}

/** What threads need. Throws `BadUsage` where there is no module that they could load. */
function threadParts({ threads }: RunEnvironment, { threads: settings, bundle, plan }: RunOptions) {
  if (settings === undefined) return undefined;
  if (threads === undefined) throw new HeadwaterError("Internal", "there is nothing that makes threads");
  if (bundle !== undefined) return { threads, settings, bundle };
  throw moduleMissing(plan.definition.name);
}

/**
 * Resolves when all doors have ended, every unit is through what they promised, and nothing is asked for that was not
 * put back. A run that follows its inputs comes to that only when it is stopped; then what is asked for is left.
 */
async function watchForEnd(
  environment: RunEnvironment,
  operation: Operation,
  ended: ReadonlySet<string>,
  finished: AbortSignal,
): Promise<void> {
  const { board, plan, signal, follow } = operation;
  const doors = unitsToRun(operation).doors.length;
  const through = () =>
    (signal.aborted || !follow) && ended.size === doors && board.through >= board.doorsThrough;
  // A fork has accepted nothing that others wait for: when it is stopped, the rest of the history is left.
  const over = plan.fork === undefined ? finished : AbortSignal.any([signal, finished]);
  while (!over.aborted) {
    // Listening begins before looking: what is reported while the log is asked is not to be missed.
    const changed = board.changed(over);
    if (through() && (signal.aborted || (await allPutBack(environment, operation))) && through()) return;
    await changed;
  }
}

/** Whether everything that the log asks to be put back was taken. A log that does not answer is asked again. */
async function allPutBack({ log, clock }: RunEnvironment, operation: Operation): Promise<boolean> {
  if (operation.leaveRetries) return true;
  const { board, plan, tickMs } = operation;
  try {
    return board.retriesTaken >= (await askedSoFar(log, retryStream(plan.definition.name)));
  } catch (error) {
    if (!isHeadwaterError(error, "LogUnavailable")) throw error;
    clock.setTimeout(() => board.touch(), tickMs);
    return false;
  }
}

function isFatal(error: unknown): boolean {
  return isHeadwaterError(error) && FATAL.has(error.code);
}

function hostContext(environment: RunEnvironment, operation: Operation): HostContext {
  const { log, clock, probe, bundler } = environment;
  const {
    plan,
    process,
    deployed,
    provenance,
    batchRecords,
    tickMs,
    board,
    keepOpen,
    onQuarantined,
    bundle,
  } = operation;
  const decoder = new RecordDecoder();
  const places = bundle && bundler.places?.(bundle);
  return {
    log,
    clock,
    plan,
    deployment: deployed.deployment,
    deployedFrom: deployed.from,
    process,
    provenance,
    batchRecords,
    tickMs,
    arena: new Arena(),
    decode: (bytes, start, end) => decoder.decode(bytes, start, end),
    gates: new EffectGates(),
    board,
    keepOpen,
    takesRetries: !operation.leaveRetries,
    snapshotEveryMs: operation.snapshotEveryMs,
    ...(operation.recordedEffects !== undefined && { recordedEffects: operation.recordedEffects }),
    ...(operation.pace !== undefined && { pace: operation.pace }),
    probe,
    onOutputWaits: (sink, reason) => operation.onOutputWaits?.(sink, reason),
    onOutputMissing: (sink, missing) => operation.onOutputMissing?.(sink, missing),
    onQuarantined,
    places: places ?? ((stack) => stack),
  };
}

function makeWorker(
  context: HostContext,
  operation: Operation,
  threads: NodeThreads | undefined,
  order: WorkerInput,
  attempt: number,
  ended: (unit: string, failure?: HeadwaterError) => void,
): Worker {
  const [kind, name] = [
    order.unit.slice(0, order.unit.indexOf(":")),
    order.unit.slice(order.unit.indexOf(":") + 1),
  ];
  if (kind === "partition") {
    const batchMost = Math.max(1, Math.floor(context.batchRecords / 8 ** attempt));
    return threads?.worker(order, batchMost) ?? new PartitionWorker(context, order, batchMost);
  }
  if (kind === "sink") {
    const sink = operation.plan.sinks.find((other) => other.name === name);
    if (sink !== undefined) {
      return new SinkWorker(context, order, sink, operation.targets.get(name) ?? new CountTarget());
    }
  }
  const source = operation.plan.sources.find((other) => other.name === name);
  if (kind !== "door" || source === undefined) {
    throw new HeadwaterError("Internal", "a unit of work is not one of the pipeline's", {
      where: order.unit,
    });
  }
  return new DoorWorker(context, order, {
    source,
    intake: operation.intakes.get(name) ?? new ProgramIntake(nothing()),
    closing: operation.signal,
    onEnded: () => ended(order.unit),
    onInputFailed: (error) => ended(order.unit, error),
    onRejected: (where, error) => operation.onRejected(name, where, error),
    onResumed: (input, records) => operation.onResumed(name, input, records),
    onTimeAhead: (where, time) => operation.onTimeAhead(name, where, time),
  });
}

async function* nothing(): AsyncIterable<never> {}
