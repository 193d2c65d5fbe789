import { describeThrown, HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { durationMs } from "../pipeline/duration.ts";
import { overridesOf } from "../pipeline/parameter-overrides.ts";
import type { Pipeline } from "../pipeline/pipeline.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import { sleep } from "../ports/clock.ts";
import { createSurroundings, openLog } from "../runtime/compose.ts";
import { ProgramIntake } from "../runtime/intake.ts";
import type { IntakeRecord } from "../runtime/intake-record.ts";
import { moduleMissing } from "../runtime/node-threads.ts";
import { groupRecords, OfferQueue } from "../runtime/offer-queue.ts";
import { runPipeline } from "../runtime/pipeline-run.ts";
import { ProgressBoard } from "../runtime/progress-board.ts";
import { runtimeVersions } from "../runtime/versions.ts";
import { beginWork } from "./at-work.ts";
import { checkpointsOfRun, mustBeTimes } from "./checkpoint-timer.ts";
import { chooseExecutor } from "./executor.ts";
import { tellLeftOut } from "./left-out-sinks.ts";
import { logNotices, noticesTo, reportOf } from "./report.ts";
import { mustNotWrite } from "./run-outputs.ts";
import type { RunReport } from "./run-types.ts";
import { boundTargets } from "./sink-bindings.ts";
import { bundleOfModule } from "./start-module.ts";
import { badOption, given, isIterable, mustBeOptions, mustBePipeline } from "./start-options.ts";
import type { Feed, RunningPipeline, StartOptions } from "./start-types.ts";

const EVERY_OPTION = "checkpoints.every";

/** Runs a pipeline in this process. Throws `UnknownSource`, `UnknownSink`, `BadParameter`, and what opening the log throws. */
export async function start(pipeline: Pipeline, options: StartOptions): Promise<RunningPipeline> {
  mustBePipeline(pipeline);
  mustBeOptions(options);
  const plan = planPipeline(pipeline.definition, overridesOf(given(options.parameters, "parameters")));
  const { definition } = plan;
  const queues = new Map<string, OfferQueue>();
  const over = new AbortController();
  const feeds: OfferQueue[] = [];
  const intakes = intakesOf(plan, options, queues, feeds, over.signal);
  const surroundings = createSurroundings();
  const executor = chooseExecutor(options, surroundings, definition.partitions);
  if (executor.threads !== undefined && options.module === undefined) throw moduleMissing(definition.name);
  const targets = await boundTargets(plan, options.sinks, surroundings);
  const bundle = await bundleOfModule(options, plan, surroundings.bundler);
  await mustBeTimes(options.checkpoints, EVERY_OPTION);
  await mustNotWrite(targets, options.checkpoints?.out, "the checkpoints");
  const log = await openLog(options.log, { onNotice: logNotices(options.onNotice) });
  const timer = await checkpointsOfRun(log, options.checkpoints, EVERY_OPTION, options.onNotice).catch(
    async (error) => {
      await log.close();
      throw error;
    },
  );
  const board = new ProgressBoard();
  const stop = new AbortController();
  let operating = false;
  /** When it was told to stop, by the monotonic clock: what waits in queues and what is in flight share the time. */
  let drainsSince: number | undefined;
  let begun = nothing;
  /** Whether there is anything to be drained is known then. */
  const decided = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const { clock } = surroundings;
  const drainMs =
    options.drainTimeout === undefined
      ? undefined
      : durationMs(options.drainTimeout, "the drain timeout", "drainTimeout");

  const abandon = (error: unknown) => {
    for (const intake of intakes.values()) intake.abandon(error);
    for (const queue of queues.values()) queue.abort(error);
  };
  const work = async (): Promise<RunReport> => {
    const started = clock.monotonic();
    const endWork = beginWork();
    try {
      await tellLeftOut(log, plan, targets, options.onNotice);
      const end = await runPipeline(
        {
          ...surroundings,
          log,
          runtime: runtimeVersions(),
          onOperating: () => {
            operating = true;
            begun();
          },
        },
        {
          plan,
          bundle,
          intakes,
          targets,
          ...executor,
          batchRecords: options.batchRecords ?? definition.batchRecords,
          tickMs: options.tickMs ?? definition.tickMs,
          provenance: options.provenance ?? "full",
          follow: false,
          keepOpen: options.keepOpen ?? false,
          ...(drainMs !== undefined && { drainMs }),
          drainSince: () => drainsSince,
          signal: stop.signal,
          board,
          ...noticesTo(definition, (notice) => {
            if (notice.kind === "standing-by") begun();
            // Others may never end, and who waits for this one would wait for ever.
            if (notice.kind === "input-failed") void drain();
            options.onNotice?.(notice);
          }),
        },
      );
      const time = { started, ended: clock.monotonic() };
      return await reportOf({ log, clock, plan, targets, board, nodes: executor.nodes, end, time });
    } catch (error) {
      abandon(error);
      throw error;
    } finally {
      abandon(
        new HeadwaterError("Stopped", "the pipeline has stopped", { where: `pipeline ${definition.name}` }),
      );
      over.abort();
      endWork();
      await timer?.stop();
      await log.close();
    }
  };
  /** Takes nothing more in, and resolves when that is told: {@link work} goes on until what was taken is through. */
  const drain = async () => {
    over.abort();
    // What has its place in a queue is taken, if there is somebody who takes it.
    const all = [...queues.values(), ...feeds];
    const closed = Promise.all(all.map((queue) => queue.close()));
    const done = finished.then(nothing, nothing);
    await Promise.race([decided, done]);
    drainsSince ??= clock.monotonic();
    if (operating) await Promise.race([closed, done, sleep(clock, drainMs ?? LIMITS.drainMs, stop.signal)]);
    stop.abort();
    for (const queue of all) queue.end();
  };
  const finished = work();
  finished.catch(() => {});
  const queueOf = (source: string) => {
    const queue = queues.get(source);
    if (queue !== undefined) return queue;
    throw new HeadwaterError(
      "UnknownSource",
      `no source takes offers under the name ${JSON.stringify(source)}`,
      {
        where: `pipeline ${definition.name}`,
        hint: `Those that do: ${[...queues.keys()].join(", ") || "none"}.`,
      },
    );
  };
  return {
    offer: async (source, record) => queueOf(source).offer(record),
    end: (source) => {
      for (const queue of source === undefined ? queues.values() : [queueOf(source)]) queue.end();
    },
    stop: async () => {
      await drain();
      return finished;
    },
    finished,
  };
}

function intakesOf(
  plan: Plan,
  options: StartOptions,
  queues: Map<string, OfferQueue>,
  feeds: OfferQueue[],
  over: AbortSignal,
): Map<string, ProgramIntake> {
  const { definition } = plan;
  const inputs = new Map(Object.entries(given(options.inputs, "inputs")));
  for (const name of inputs.keys()) {
    if (definition.sources.some((source) => source.name === name)) continue;
    throw new HeadwaterError("UnknownSource", `the pipeline has no source ${JSON.stringify(name)}`, {
      where: `pipeline ${definition.name}`,
    });
  }
  return new Map(
    definition.sources.map(({ name }) => {
      const input: unknown = inputs.get(name);
      if (isIterable(input)) {
        const groups = failingAsInput(groupRecords(input, definition.batchRecords, over));
        return [name, new ProgramIntake(groups)];
      }
      const queue = new OfferQueue();
      if (input === undefined) {
        queues.set(name, queue);
        return [name, new ProgramIntake(queue)];
      }
      if (typeof input !== "function") {
        throw badOption(`inputs.${name}`, input, "records as an iterable, or a function that pushes them");
      }
      feeds.push(queue);
      return [name, new ProgramIntake(pushed(queue, input as Feed, over))];
    }),
  );
}

/** What a function of the program gives; it is called when the door begins to read. */
async function* pushed(
  queue: OfferQueue,
  feed: Feed,
  over: AbortSignal,
): AsyncIterable<readonly IntakeRecord[]> {
  const done = (async () => feed({ push: (record) => queue.push(record), signal: over }))();
  const failure = done.then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  // When the pipeline is stopped, that is not an end of the input: it goes on another time.
  void failure.then(() => {
    if (!over.aborted) queue.end();
  });
  yield* queue;
  const failed = over.aborted ? undefined : await failure;
  if (failed !== undefined) throw inputFailed("function", failed.error);
}

/** What an iterable throws is a failure of the input: what it gave before is taken. */
async function* failingAsInput(
  groups: AsyncIterable<readonly IntakeRecord[]>,
): AsyncIterable<readonly IntakeRecord[]> {
  try {
    yield* groups;
  } catch (error) {
    throw inputFailed("iterable", error);
  }
}

function nothing(): void {}

function inputFailed(what: "function" | "iterable", error: unknown): HeadwaterError {
  return new HeadwaterError(
    "InputFailed",
    `the ${what} that gives records failed: ${describeThrown(error)}`,
    {
      where: "the program",
      cause: error,
    },
  );
}
