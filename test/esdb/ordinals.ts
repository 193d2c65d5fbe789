import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { createSurroundings } from "../../src/runtime/compose.ts";
import { ProgramIntake } from "../../src/runtime/intake.ts";
import { runPipeline } from "../../src/runtime/pipeline-run.ts";
import { ProgressBoard } from "../../src/runtime/progress-board.ts";
import { CallbackTarget } from "../../src/runtime/sink-targets.ts";

export interface GivenRecord {
  readonly ordinal: number;
  readonly value: unknown;
}

/** An output of a sink: its address and ordinal, and what it is. */
export interface Output {
  readonly key: string;
  readonly ordinal: number;
  readonly value: unknown;
}

/**
 * Runs a pipeline in this process on records whose ordinals are given, so that sources meet in one order only, whatever
 * the log and the clock; answers what each sink got.
 */
export async function runWithOrdinals(
  log: EventLog,
  definition: PipelineDefinition,
  inputs: Readonly<Record<string, readonly GivenRecord[]>>,
  batch: number,
): Promise<Readonly<Record<string, readonly Output[]>>> {
  const outputs: Record<string, Output[]> = Object.fromEntries(
    definition.sinks.map(({ name }) => [name, []]),
  );
  await runPipeline(
    {
      ...createSurroundings(),
      log,
      runtime: { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" },
    },
    {
      plan: planPipeline(definition),
      bundle: undefined,
      intakes: new Map(
        definition.sources.map(({ name }) => [
          name,
          new ProgramIntake(batches(inputs[name] ?? [], batch), true),
        ]),
      ),
      targets: new Map(
        definition.sinks.map(({ name }) => [
          name,
          new CallbackTarget(
            "out",
            ({ key, ordinal, value }) => void outputs[name]?.push({ key, ordinal, value }),
          ),
        ]),
      ),
      nodes: 2,
      batchRecords: batch,
      tickMs: 10,
      provenance: "full",
      follow: false,
      keepOpen: false,
      signal: new AbortController().signal,
      board: new ProgressBoard(),
      onDeployed: () => {},
      onRejected: () => {},
      onQuarantined: () => {},
      onResumed: () => {},
      onTimeAhead: () => {},
      onStandBy: () => {},
      onBegunAgain: () => {},
      onRestarted: () => {},
    },
  );
  return outputs;
}

async function* batches(records: readonly GivenRecord[], size: number) {
  for (let at = 0; at < records.length; at += size) {
    yield records.slice(at, at + size).map((record, i) => ({ ...record, line: at + i + 1 }));
  }
}
