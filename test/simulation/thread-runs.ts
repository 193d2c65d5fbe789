import { randomUUID } from "node:crypto";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import type { HeadwaterError } from "../../src/core/errors.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { createSurroundings } from "../../src/runtime/compose.ts";
import { definitionOf } from "../../src/runtime/deployment.ts";
import { ProgramIntake } from "../../src/runtime/intake.ts";
import { groupRecords } from "../../src/runtime/offer-queue.ts";
import { runPipeline } from "../../src/runtime/pipeline-run.ts";
import { ProgressBoard, type Totals } from "../../src/runtime/progress-board.ts";
import type { RunControls } from "../../src/runtime/run-options.ts";
import { CallbackTarget } from "../../src/runtime/sink-targets.ts";
import { projectFile } from "../e2e/command.ts";

export type Executor = "inline" | "threads";

export type Records = Iterable<unknown> | AsyncIterable<unknown>;

export interface ThreadRunOptions {
  /** Path of the pipeline's module in this project. */
  readonly module: string;
  readonly log: EventLog;
  readonly executor: Executor;
  readonly inputs?: Readonly<Record<string, Records>>;
  readonly nodes?: number;
  readonly batchRecords?: number;
  readonly hangAfterMs?: number;
  readonly memoryMb?: number;
  /** Called when nodes can be lost, and while the run lasts. */
  readonly onOperating?: (controls: RunControls, board: ProgressBoard) => void;
}

/** What a run has come to. */
export interface ThreadRun {
  readonly totals: Totals;
  /** What each sink has handed out, each output once, in order. */
  readonly outputs: ReadonlyMap<string, readonly unknown[]>;
  readonly lost: readonly HeadwaterError[];
  readonly quarantined: readonly string[];
}

export function newLog(id: string = randomUUID()): MemoryLog {
  return MemoryLog.create({ id, clock: createSurroundings().clock });
}

/** Runs a pipeline by its module, with nodes in real threads or in this one. */
export async function runThreads(options: ThreadRunOptions): Promise<ThreadRun> {
  const { module, log, executor, inputs = {}, nodes = 2, batchRecords = 32, onOperating } = options;
  const surroundings = createSurroundings();
  const bundle = await surroundings.bundler.bundle(projectFile(module));
  const plan = planPipeline(definitionOf(surroundings.bundler.load(bundle), module));
  const board = new ProgressBoard();
  const outputs = new Map(plan.sinks.map(({ name }) => [name, new Map<string, unknown>()]));
  const lost: HeadwaterError[] = [];
  const quarantined: string[] = [];
  const nothing = () => {};
  await runPipeline(
    {
      ...surroundings,
      log,
      runtime: { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" },
      onOperating: (controls) => onOperating?.(controls, board),
    },
    {
      plan,
      bundle,
      intakes: new Map(
        Object.entries(inputs).map(([source, records]) => [
          source,
          new ProgramIntake(groupRecords(records, batchRecords, new AbortController().signal)),
        ]),
      ),
      targets: new Map(
        [...outputs].map(([sink, records]) => [
          sink,
          new CallbackTarget(sink, ({ key, value }) => {
            // What is not known to be delivered comes again.
            if (!records.has(key)) records.set(key, value);
          }),
        ]),
      ),
      nodes,
      ...(executor === "threads" && {
        threads: { hangAfterMs: options.hangAfterMs ?? 60_000, memoryMb: options.memoryMb ?? 256 },
      }),
      batchRecords,
      tickMs: 2,
      provenance: "full",
      follow: false,
      keepOpen: false,
      signal: new AbortController().signal,
      board,
      onDeployed: nothing,
      onRejected: nothing,
      onQuarantined: (stage, address, message) => void quarantined.push(`${stage}: ${address}: ${message}`),
      onResumed: nothing,
      onTimeAhead: nothing,
      onStandBy: nothing,
      onBegunAgain: nothing,
      onRestarted: nothing,
      onNodeLost: (_node, _replacement, error) => void lost.push(error),
    },
  );
  return {
    totals: { ...board.totals },
    outputs: new Map([...outputs].map(([sink, records]) => [sink, [...records.values()]])),
    lost,
    quarantined,
  };
}

/** A log with what another has of deployments and accepted records, and nothing of what was made of them. */
export async function acceptedOnly(log: MemoryLog, pipeline: string): Promise<MemoryLog> {
  const copy = newLog(log.id);
  const sources = new Set<string>();
  for await (const { stream } of log.streams({ prefixes: [`source_${pipeline}.`] })) sources.add(stream);
  for await (const event of log.readAll()) {
    const { stream } = event;
    const beside = /^(payload|quarantine)_/.test(stream) && sources.has(stream.replace(/^[a-z]+/, "source"));
    const deployed = stream === `pipeline_${pipeline}` || stream.startsWith("code_");
    if (beside || deployed || sources.has(stream)) await copy.append(stream, "any", [event]);
  }
  return copy;
}
