import { isDeepStrictEqual } from "node:util";
import type { MemoryLog } from "../../src/adapters/memory/log.ts";
import { auditLog } from "../../src/app/audit.ts";
import { decodeCanonical } from "../../src/core/canonical.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import type { DeployedFork, PipelineDeployed } from "../../src/core/events.ts";
import { forkName, forkOf, pipelineOf, pipelineStream } from "../../src/core/streams.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import type { Chosen } from "../../src/runtime/chosen-records.ts";
import { lastThrough } from "../../src/runtime/completed.ts";
import { DeploymentHistory, forkedPlan } from "../../src/runtime/deployment-history.ts";
import { doubtsOf, stagesWithoutState } from "../../src/runtime/fork-gaps.ts";
import { runFork } from "../../src/runtime/fork-run.ts";
import { Homes } from "../../src/runtime/homes.ts";
import { type LostRecords, lostRecords } from "../../src/runtime/lost-records.ts";
import { newlyRefused } from "../../src/runtime/newly-refused.ts";
import {
  commonOrder,
  type DiffCounts,
  diffOutputs,
  type OutputDifference,
  ranksOf,
} from "../../src/runtime/outputs-diff.ts";
import { ProgressBoard } from "../../src/runtime/progress-board.ts";
import { putBackIn } from "../../src/runtime/put-back.ts";
import { outputsAtHome } from "../../src/runtime/put-back-outputs.ts";
import { type OutputPlace, outputName, recordedOutputs } from "../../src/runtime/recorded-outputs.ts";
import { type SelectionQuery, select, selectInFork } from "../../src/runtime/selection.ts";
import type { Circumstances, Delivery } from "./harness.ts";
import { SimulatedProcess, SlowLog } from "./simulated-process.ts";
import { seededIds, seededRandom, VirtualWorld } from "./virtual-world.ts";

const STUCK_MS = 20 * 60_000;
/** So few that what was put back is gone through several times. */
const PUT_BACK_BYTES = 40_000;

export const NOTHING_LOADED = {
  bundle: () => Promise.reject(new Error("nothing is bundled in a simulation")),
  load: () => {
    throw new Error("nothing is loaded in a simulation");
  },
};

/** What is run over the history of another definition of the pipeline `p`. */
export interface SimulatedFork {
  readonly log: MemoryLog;
  /** What ran then, and what is run now. */
  readonly ran: PipelineDefinition;
  readonly definition: PipelineDefinition;
  readonly id: string;
  readonly from: number;
  readonly to: number;
  readonly reused?: readonly string[];
  readonly cuts?: readonly string[];
  /** Records that were let go of are left out. */
  readonly gaps?: boolean;
  readonly newEffects?: DeployedFork["newEffects"];
  readonly circumstances: Circumstances;
}

/** The deployments of a pipeline in a log, whose code is given. */
export async function historyOf(log: EventLog, name: string, definition: PipelineDefinition) {
  const history = await DeploymentHistory.read(log, NOTHING_LOADED, name);
  if (history === undefined) throw new Error("nothing was deployed");
  // Code is not kept in simulations: what is asked of it is answered here.
  const withCode = (deployed: PipelineDeployed) => ({ ...deployed, code: new Uint8Array(0) });
  return {
    pipeline: name,
    all: history.all.map(withCode),
    current: withCode(history.current),
    at: (ordinal: number) => withCode(history.at(ordinal)),
    last: (...of: Parameters<DeploymentHistory["last"]>) => history.last(...of),
    after: (...of: Parameters<DeploymentHistory["after"]>) => history.after(...of),
    runtimesOf: (...of: Parameters<DeploymentHistory["runtimesOf"]>) => history.runtimesOf(...of),
    withIdentity: (...of: Parameters<DeploymentHistory["withIdentity"]>) => history.withIdentity(...of),
    planOf: async () => planPipeline(definition),
  };
}

/** What audits find wrong in a log, and of each of its forks alone. */
export async function failuresIn(log: EventLog): Promise<unknown[]> {
  const found: unknown[] = [];
  const forks: string[] = [];
  for await (const { stream } of log.streams({ prefixes: [pipelineStream("")] })) {
    if (forkOf(pipelineOf(stream)) !== undefined) forks.push(pipelineOf(stream));
  }
  for (const fork of [undefined, ...forks]) {
    const { checks } = await auditLog(log, {
      checkpoints: [],
      ...(fork !== undefined && { pipeline: fork }),
    });
    for (const { name, failures } of checks) found.push(...failures.map((one) => ({ fork, name, ...one })));
  }
  return found;
}

/** Runs a fork through all interruptions, each the end of a process, until it is through. */
export async function simulateFork(fork: SimulatedFork): Promise<void> {
  const { circumstances, log, ran, definition } = fork;
  const random = seededRandom(circumstances.seed);
  const world = new VirtualWorld(random);
  const processes = new Map<string, SimulatedProcess>();
  const left = [...circumstances.interruptions, undefined];
  for (let failures = circumstances.failures; left.length > 0; ) {
    const interruption = left.shift();
    const process = new SimulatedProcess(world, processes);
    const stop = new AbortController();
    const befall = (count: number, made: boolean) => {
      if (interruption?.at !== count) return;
      if (interruption.kind === "crash" && interruption.made === made) process.die();
      if (interruption.kind === "stop" && made) stop.abort();
    };
    const handle = new SlowLog(log.openHandle(), {
      world,
      process,
      random,
      delayMs: circumstances.delayMs,
      onAppend: (count) => befall(count, false),
      onAppended: (count) => befall(count, true),
      failures,
    });
    const of: DeployedFork = {
      pipeline: "p",
      to: fork.to,
      reused: fork.reused ?? [],
      cuts: fork.cuts ?? [],
      newEffects: fork.newEffects ?? "called",
      ...(fork.gaps && { gaps: fork.gaps }),
    };
    const board = new ProgressBoard();
    const done = runFork(
      {
        log: handle,
        clock: process.clock,
        ids: seededIds(random),
        processes: process.processes,
        bundler: NOTHING_LOADED,
        runtime: { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" },
      },
      {
        plan: forkedPlan(planPipeline(definition), forkName("p", fork.id), of),
        bundle: undefined,
        fork: of,
        from: fork.from,
        withoutState: fork.gaps === true,
        history: await historyOf(log, "p", ran),
        targets: new Map(),
        board,
        signal: stop.signal,
        batchRecords: circumstances.batchRecords,
        tickMs: circumstances.tickMs,
        provenance: "full",
        onRestarted: () => {},
        onQuarantined: () => {},
      },
    );
    const ended = done.then(
      () => true,
      (error: unknown) => {
        if (isHeadwaterError(error, "LogUnavailable") || isHeadwaterError(error, "Stopped")) return false;
        throw error;
      },
    );
    ended.catch(() => {});
    const died = (async () => {
      while (!process.dead) await world.sleep(50);
      return false;
    })();
    const through = await world.run(
      Promise.race([ended, died]),
      STUCK_MS,
      () => `through ${board.through} of ${fork.to}, behind: ${board.behind(fork.to).join(", ")}`,
    );
    if (!through && left.length === 0) {
      left.push(undefined);
      failures = [];
    }
    process.die();
  }
}

/** How far all partitions of a pipeline are. */
export async function throughOf(log: EventLog, definition: PipelineDefinition): Promise<number> {
  let through = Number.MAX_SAFE_INTEGER;
  for (const { name } of definition.sources)
    through = Math.min(through, await lastThrough(log, `source_p.${name}`));
  for (const { name } of planPipeline(definition).segments) {
    for (let partition = 0; partition < definition.partitions; partition++) {
      const stream = `steps_p.${name}.${String(partition).padStart(4, "0")}`;
      through = Math.min(through, await lastThrough(log, stream));
    }
  }
  return through;
}

/** What of the records of a window is not kept any more. */
export function lostIn({
  log,
  ran,
  from,
  to,
  begun,
}: Omit<SimulatedFork, "circumstances" | "id"> & { readonly begun?: number }): Promise<LostRecords> {
  const sources = ran.sources.map(({ name }) => name);
  const { signal } = new AbortController();
  return lostRecords({
    log,
    pipeline: "p",
    sources,
    from,
    to,
    ...(begun !== undefined && { begun }),
    signal,
  });
}

/** Compares what went to a sink in the pipeline and in its fork; of a selection only what that tells of. */
export async function diffIn(
  { log, ran, definition, id, from, to, gaps }: SimulatedFork,
  sink: string,
  only?: SelectionQuery,
): Promise<{ counts: DiffCounts; differences: OutputDifference[] }> {
  const world = new VirtualWorld(seededRandom(1));
  const query = { log, clock: world, of: { sink }, from, to, signal: new AbortController().signal };
  const before = await historyOf(log, "p", ran);
  const after = await historyOf(log, forkName("p", id), definition);
  const rankOf = ranksOf(commonOrder([planPipeline(ran).origins, planPipeline(definition).origins]) ?? []);
  const differences: OutputDifference[] = [];
  const lost = gaps ? await lostIn({ log, ran, definition, from, to, begun: from }) : undefined;
  const plan = planPipeline(definition);
  const doubts =
    lost &&
    doubtsOf(lost, [ran, definition], from, await stagesWithoutState({ ...query, history: before, plan }));
  const compare = async () => {
    const context = { log, clock: world, bundler: NOTHING_LOADED, from, to, signal: query.signal };
    const selection = only && (await select({ ...context, history: before }, only));
    const forked = selection && (await selectInFork({ ...context, history: after }, only, selection));
    const told = (chosen: Chosen | undefined) =>
      chosen && { told: ({ stream, part, n, k }: OutputPlace) => chosen.has(stream, part, n, k) };
    const homes = new Homes(log, before);
    const { ranges } = await putBackIn(log, before, homes, { from, to });
    const then = { ...query, doubts, history: before, ...told(selection?.chosen) };
    return diffOutputs(
      {
        before: recordedOutputs(then),
        after: recordedOutputs({ ...query, doubts, history: after, ...told(forked) }),
        putBack: outputsAtHome(then, { homes, ranges, rankOf, bytesMost: PUT_BACK_BYTES }),
        rankOf,
        nameOf: (key) => outputName("p~f", sink, key),
      },
      (difference) => {
        differences.push(difference);
      },
    );
  };
  const counts = await world.run(compare(), STUCK_MS, () => `comparing the outputs of ${sink}`);
  return { counts, differences };
}

/** What a fork has refused that its pipeline has not, or not for good. */
export async function refusedNow({ log, ran, definition, id, from, to }: SimulatedFork) {
  const history = await historyOf(log, "p", ran);
  const forked = await historyOf(log, forkName("p", id), definition);
  const { signal } = new AbortController();
  return newlyRefused({ log, history, forked, homes: new Homes(log, history), from, to, signal });
}

/** Of each output of a sink the key, and its address. */
export async function addressesIn(log: EventLog, name: string, sink: string, from: number, to: number) {
  const world = new VirtualWorld(seededRandom(1));
  const history = await DeploymentHistory.read(log, NOTHING_LOADED, name);
  if (history === undefined) throw new Error("nothing was deployed");
  const { signal } = new AbortController();
  const found = new Map<string, string>();
  const read = async () => {
    for await (const { rows, keyOf, addressOf } of recordedOutputs({
      ...{ log, clock: world, history, of: { sink }, from, to, signal },
    })) {
      for (let row = 0; row < rows.count; row++) found.set(keyOf(row), addressOf(row));
    }
  };
  await world.run(read(), STUCK_MS, () => `reading the outputs of ${sink}`);
  return found;
}

/** What went to a sink between two ordinals. */
export async function outputsIn(
  log: EventLog,
  name: string,
  definition: PipelineDefinition,
  sink: string,
  from: number,
  to: number,
): Promise<Delivery[]> {
  const world = new VirtualWorld(seededRandom(1));
  const history = await historyOf(log, name, definition);
  const signal = new AbortController().signal;
  const found: Delivery[] = [];

  const read = async () => {
    for await (const { rows, keyOf } of recordedOutputs({
      log,
      clock: world,
      history,
      of: { sink },
      from,
      to,
      signal,
    })) {
      for (let row = 0; row < rows.count; row++) {
        const bytes = (rows.buffers[row] as Uint8Array).subarray(rows.starts[row], rows.ends[row]);
        found.push({ key: keyOf(row), ordinal: rows.ordinals[row] as number, value: decodeCanonical(bytes) });
      }
    }
  };
  await world.run(read(), STUCK_MS, () => `reading the outputs of ${sink}`);
  return found;
}

/** The difference of two lists of outputs, found by looking each of them up in the other. */
export function naiveDiff(was: readonly Delivery[], made: readonly Delivery[]) {
  const idOf = ({ ordinal, key }: Delivery) => `${ordinal} ${key}`;
  const before = new Map(was.map((one) => [idOf(one), one.value]));
  const after = new Map(made.map((one) => [idOf(one), one.value]));
  const counts = { same: 0, changed: 0, added: 0, gone: 0 };
  const found = new Map<string, unknown>();
  for (const id of new Set([...before.keys(), ...after.keys()])) {
    const kind = !after.has(id) ? "gone" : !before.has(id) ? "added" : undefined;
    const differs = kind ?? (isDeepStrictEqual(before.get(id), after.get(id)) ? "same" : "changed");
    counts[differs]++;
    if (differs !== "same") found.set(id, { kind: differs, before: before.get(id), after: after.get(id) });
  }
  return { counts, found };
}
