import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { kindMakesRecords, type Plan } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Surroundings } from "../runtime/compose.ts";
import { structureOf } from "../runtime/deployed-plan.ts";
import type { DeploymentHistory } from "../runtime/deployment-history.ts";
import type { Doubts } from "../runtime/fork-gaps.ts";
import type { Homes } from "../runtime/homes.ts";
import {
  commonOrder,
  type DiffCounts,
  diffOutputs,
  type OutputDifference,
  ranksOf,
} from "../runtime/outputs-diff.ts";
import type { PutBackIn } from "../runtime/put-back.ts";
import { outputsAtHome } from "../runtime/put-back-outputs.ts";
import { type OutputsQuery, outputName, recordedOutputs } from "../runtime/recorded-outputs.ts";
import { differenceToJson } from "../runtime/sink-target.ts";
import { openDifferences } from "./diff-file.ts";
import type { HistoryWindow } from "./history-window.ts";
import type { OutputsDiff, SinkDifference } from "./what-if-types.ts";

/** What is compared with what. */
export interface ForkDiffOptions {
  readonly log: EventLog;
  /** Of the pipeline, and of its fork. */
  readonly history: DeploymentHistory;
  readonly forked: DeploymentHistory;
  /** The fork's. */
  readonly plan: Plan;
  readonly window: HistoryWindow;
  /** Stages that were not run, with how many results each was taken to have given. */
  readonly taken: ReadonlyMap<string, number>;
  /** A file that gets all differences, or `-` for standard output. */
  readonly file: string | undefined;
  readonly signal: AbortSignal;
  /** What cannot be compared, because records were let go of. */
  readonly doubts: Doubts | undefined;
  /** Which outputs are told of, of the pipeline and of the fork: one at a place that either tells of is. */
  readonly told?: Readonly<Record<"before" | "after", OutputsQuery["told"]>>;
  /** What was put back in the pipeline, and where it would be if it had not been refused. */
  readonly putBack: Pick<PutBackIn, "ranges">;
  readonly homes: Homes;
}

/**
 * Compares a fork's outputs with those that were recorded in its window, record by record, and what each stage gave.
 * Everything is read from the log, so that it is the same whenever it is asked for. Throws `Stopped`.
 */
export async function diffFork(surroundings: Surroundings, options: ForkDiffOptions): Promise<OutputsDiff> {
  const { history, plan, window } = options;
  const order = commonOrder([
    ...history.all.map((deployed) => structureOf(deployed, history.pipeline).origins),
    plan.origins,
  ]);
  const rankOf = ranksOf(order ?? plan.origins);
  const file = options.file === undefined ? undefined : await openDifferences(surroundings, options.file);
  const examples: SinkDifference[] = [];
  const sinks: OutputsDiff["sinks"][number][] = [];
  try {
    for (const sink of namesOf(history, window, "sinks", plan.definition.sinks)) {
      const fields = new Map<string, number>();
      const counts = await compare(surroundings, options, { sink }, rankOf, async (difference) => {
        const found = { sink, ...difference };
        if (isExample(examples, found)) examples.push(found);
        for (const field of difference.fields ?? []) count(fields, field);
        await file?.writeLine(`${differenceToJson(found)}\n`);
      });
      sinks.push({ sink, ...counts, fields: Object.fromEntries(fields) });
    }
    await file?.flush();
  } finally {
    await file?.close();
  }
  const stages: OutputsDiff["stages"][number][] = [];
  for (const stage of namesOf(history, window, "stages", plan.definition.stages)) {
    const taken = options.taken.get(stage);
    // Of a stage that was not run all is as it was, but how much of that is told of has to be looked for.
    const known =
      taken === undefined
        ? countsAtSink(options, sinks, stage)
        : options.told === undefined && options.doubts === undefined
          ? { ...NOTHING_DIFFERS, same: taken }
          : undefined;
    const found = known ?? (await compare(surroundings, options, { stage }, rankOf));
    stages.push({ stage, ...countsOf(found) });
  }
  return { ...totals(sinks), sinks, stages, examples };
}

function deploymentsIn(history: DeploymentHistory, { from, to }: HistoryWindow) {
  const first = history.at(from).version;
  const last = history.at(to).version;
  return history.all.filter(({ version }) => first <= version && version <= last);
}

/** The names that a fork has, and those that only the pipeline had in the window. */
function namesOf(
  history: DeploymentHistory,
  { from, to }: HistoryWindow,
  kind: "sinks" | "stages",
  now: readonly { readonly name: string }[],
): readonly string[] {
  const ran = deploymentsIn(history, { from, to });
  const then = ran.flatMap((deployed): readonly { readonly name: string }[] => deployed[kind]);
  return [...new Set([...now, ...then].map(({ name }) => name))];
}

async function compare(
  { clock }: Surroundings,
  { log, history, forked, window, signal, told, doubts, putBack: { ranges }, homes }: ForkDiffOptions,
  of: OutputsQuery["of"],
  rankOf: (origin: string) => number,
  take?: (difference: OutputDifference) => Promise<void>,
): Promise<DiffCounts> {
  const query = { log, clock, of, ...window, signal, doubts };
  const side = (which: "before" | "after") => (told?.[which] === undefined ? {} : { told: told[which] });
  const before = { ...query, history, ...side("before") };
  const counts = await diffOutputs(
    {
      before: recordedOutputs(before),
      after: recordedOutputs({ ...query, history: forked, ...side("after") }),
      ...(ranges.length > 0 && { putBack: outputsAtHome(before, { homes, ranges, rankOf }) }),
      rankOf,
      nameOf: (key) => outputName(forked.pipeline, "sink" in of ? of.sink : of.stage, key),
    },
    take,
  );
  mustGoOn(signal);
  return counts;
}

const NOTHING_DIFFERS: DiffCounts = { same: 0, changed: 0, added: 0, gone: 0 };

/** The counts of a sink that gets what a stage gives, and nothing else. */
function countsAtSink(
  { plan, history, window }: ForkDiffOptions,
  sinks: OutputsDiff["sinks"],
  stage: string,
): DiffCounts | undefined {
  const { stages, sinks: defined } = plan.definition;
  const kind = stages.find(({ name }) => name === stage)?.kind;
  const now = defined.find(({ input }) => input === stage);
  if (now === undefined || kind === undefined || !kindMakesRecords(kind)) return undefined;
  const always = deploymentsIn(history, window).every((deployed) =>
    deployed.sinks.some(({ name, input }) => name === now.name && input === stage),
  );
  return always ? sinks.find(({ sink }) => sink === now.name) : undefined;
}

function mustGoOn(signal: AbortSignal): void {
  if (signal.aborted) throw new HeadwaterError("Stopped", "stopped while outputs were compared");
}

function isExample(examples: readonly SinkDifference[], { sink, kind }: SinkDifference): boolean {
  const alike = examples.filter((other) => other.sink === sink && other.kind === kind);
  return alike.length < LIMITS.diffExamples;
}

function count(fields: Map<string, number>, field: string): void {
  const known = fields.get(field);
  if (known === undefined && fields.size >= LIMITS.diffFields) return;
  fields.set(field, (known ?? 0) + 1);
}

function countsOf({ same, changed, added, gone, unverifiable }: DiffCounts): DiffCounts {
  return { same, changed, added, gone, ...(unverifiable !== undefined && { unverifiable }) };
}

function totals(all: readonly DiffCounts[]): DiffCounts {
  const sum = (of: (counts: DiffCounts) => number) => all.reduce((total, counts) => total + of(counts), 0);
  const unverifiable = sum((counts) => counts.unverifiable ?? 0);
  return {
    ...(unverifiable > 0 && { unverifiable }),
    same: sum(({ same }) => same),
    changed: sum(({ changed }) => changed),
    added: sum(({ added }) => added),
    gone: sum(({ gone }) => gone),
  };
}
