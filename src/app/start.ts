import { resolve } from "node:path";
import { HeadwaterError } from "../core/errors.ts";
import { overridesOf } from "../pipeline/parameter-overrides.ts";
import type { Pipeline } from "../pipeline/pipeline.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import { createSurroundings, openLog } from "../runtime/compose.ts";
import { ProgramIntake } from "../runtime/intake.ts";
import { groupRecords, OfferQueue } from "../runtime/offer-queue.ts";
import { runPipeline } from "../runtime/pipeline-run.ts";
import { ProgressBoard } from "../runtime/progress-board.ts";
import { CallbackTarget, type SinkTarget } from "../runtime/sink-targets.ts";
import { runtimeVersions } from "../runtime/versions.ts";
import { checkpointsOfRun } from "./checkpoint-timer.ts";
import { logNotices, noticesTo, reportOf } from "./report.ts";
import type { RunReport } from "./run-types.ts";
import type { Delivery, RunningPipeline, StartOptions } from "./start-types.ts";

const MS_PER_SECOND = 1_000;

/** Runs a pipeline in this process. Throws `UnknownSource`, `UnknownSink`, `BadParameter`, and what opening the log throws. */
export async function start(pipeline: Pipeline, options: StartOptions): Promise<RunningPipeline> {
  const plan = planPipeline(pipeline.definition, overridesOf(options.parameters));
  const { definition } = plan;
  const queues = new Map<string, OfferQueue>();
  const intakes = intakesOf(plan, options, queues);
  const targets = targetsOf(plan, options);
  const surroundings = createSurroundings();
  const bundle =
    options.module === undefined ? undefined : await surroundings.bundler.bundle(resolve(options.module));
  const log = await openLog(options.log, { onNotice: logNotices(options.onNotice) });
  const timer = await checkpointsOfRun(log, options.checkpoints, options.onNotice).catch(async (error) => {
    await log.close();
    throw error;
  });
  const board = new ProgressBoard();
  const stop = new AbortController();
  const { clock } = surroundings;
  const nodes = options.nodes ?? 1;

  const abandon = (error: unknown) => {
    for (const intake of intakes.values()) intake.abandon(error);
    for (const queue of queues.values()) queue.abort(error);
  };
  const work = async (): Promise<RunReport> => {
    const started = clock.monotonic();
    try {
      const deployed = await runPipeline(
        { ...surroundings, log, runtime: runtimeVersions() },
        {
          plan,
          bundle,
          intakes,
          targets,
          nodes,
          batchRecords: options.batchRecords ?? definition.batchRecords,
          tickMs: options.tickMs ?? definition.tickMs,
          provenance: options.provenance ?? "full",
          follow: false,
          keepOpen: options.keepOpen ?? false,
          signal: stop.signal,
          board,
          ...noticesTo(definition, options.onNotice),
        },
      );
      return await reportOf(
        log,
        definition,
        deployed,
        board,
        nodes,
        (clock.monotonic() - started) / MS_PER_SECOND,
      );
    } catch (error) {
      abandon(error);
      throw error;
    } finally {
      abandon(
        new HeadwaterError("Stopped", "the pipeline has stopped", { where: `pipeline ${definition.name}` }),
      );
      await timer?.stop();
      await log.close();
    }
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
    stop: () => {
      stop.abort();
      return finished;
    },
    finished,
  };
}

function intakesOf(
  plan: Plan,
  options: StartOptions,
  queues: Map<string, OfferQueue>,
): Map<string, ProgramIntake> {
  const { definition } = plan;
  const inputs = new Map(Object.entries(options.inputs ?? {}));
  for (const name of inputs.keys()) {
    if (definition.sources.some((source) => source.name === name)) continue;
    throw new HeadwaterError("UnknownSource", `the pipeline has no source ${JSON.stringify(name)}`, {
      where: `pipeline ${definition.name}`,
    });
  }
  return new Map(
    definition.sources.map(({ name }) => {
      const given = inputs.get(name);
      if (given !== undefined) return [name, new ProgramIntake(groupRecords(given, definition.batchRecords))];
      const queue = new OfferQueue();
      queues.set(name, queue);
      return [name, new ProgramIntake(queue)];
    }),
  );
}

function targetsOf({ definition }: Plan, options: StartOptions): Map<string, SinkTarget> {
  return new Map(
    Object.entries(options.sinks ?? {}).map(([name, callback]) => {
      if (!definition.sinks.some((sink) => sink.name === name)) {
        throw new HeadwaterError("UnknownSink", `the pipeline has no sink ${JSON.stringify(name)}`, {
          where: `pipeline ${definition.name}`,
        });
      }
      const deliver = callback as (record: unknown, delivery: Delivery) => void | Promise<void>;
      return [name, new CallbackTarget(({ value, key, ordinal }) => deliver(value, { key, ordinal }))];
    }),
  );
}
