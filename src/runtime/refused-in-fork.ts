import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { besideStream } from "../core/streams.ts";
import { StepGraph } from "../engine/step-graph.ts";
import { type Plan, SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import type { Doubts } from "./fork-gaps.ts";
import { type RefusalReason, type RefusedAgain, type RefusedNow, refusedAgain } from "./refused-again.ts";
import { stepsStreamOf } from "./routes.ts";
import { placesIn, placeText } from "./row-places.ts";
import { seekThrough } from "./seek.ts";
import type { RefusedRow } from "./selection.ts";

/** What became in a fork of records that stages of its pipeline had refused: each is looked for at its place there. */
export async function refusedInFork(
  log: EventLog,
  fork: string,
  deployed: PipelineDeployed,
  refused: readonly RefusedRow[],
  doubts: Doubts | undefined,
  signal: AbortSignal,
): Promise<RefusedAgain[]> {
  const plan = structureOf(deployed, fork);
  const found: RefusedAgain[] = [];
  for (const row of refused) {
    if (signal.aborted) throw new HeadwaterError("Stopped", "stopped while refused records were looked for");
    const isLost = doubts?.isLost(row.home.origin, row.home.root) === true;
    found.push(refusedAgain(row, isLost ? { fate: "unverifiable" } : await nowOf(log, plan, row)));
  }
  return found;
}

async function nowOf(log: EventLog, plan: Plan, row: RefusedRow): Promise<RefusedNow> {
  const segment = plan.segments.find(({ stages }) =>
    stages.some(({ definition }) => definition.name === row.stage),
  );
  if (segment === undefined) return { fate: "absent" };
  if (plan.fork?.reused.has(segment.name)) return { failed: reasonThen(row) };
  for (let partition = 0; partition < plan.definition.partitions; partition++) {
    const now = await nowIn(log, stepsStreamOf(plan, segment, partition), segment, row);
    if (now !== undefined) return now;
  }
  return { fate: "absent" };
}

function reasonThen({ refused: { record } }: RefusedRow): RefusalReason {
  const { code = "", message = "" } = record.kind === "quarantined" ? record.quarantined : {};
  return { code, message };
}

async function nowIn(
  log: EventLog,
  stream: string,
  segment: Segment,
  { stage, home }: RefusedRow,
): Promise<RefusedNow | undefined> {
  const { ordinal, path } = home;
  const at = segment.stages.findIndex(({ definition }) => definition.name === stage);
  const given = segment.stages[at]?.input ?? SEGMENT_INPUT;
  const wanted = new Set([home, { ...home, path: path + branchInto(segment, at) }].map(placeText));
  // Of an ordinal that is still going on an event is complete up to the one before.
  const from = await seekThrough(log, stream, ordinal - 2);
  if (from === undefined) return undefined;
  for await (const recorded of log.read(stream, { from })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "StepsRecorded" || data.count === 0) continue;
    const graph = new StepGraph(data);
    if (graph.input(0).ordinal > ordinal) return undefined;
    const placeOf = placesIn(graph);
    for (let input = 0; input < data.count; input++) {
      if (graph.input(input).ordinal !== ordinal) continue;
      const { start, end } =
        given === SEGMENT_INPUT ? { start: input, end: input + 1 } : graph.rowsOf(given, input);
      for (let row = start; row < end; row++) {
        if (!wanted.has(placeText(placeOf({ stage: given, row })))) continue;
        if (graph.endOf(at, row) !== "failed") return { fate: "passed" };
        return { failed: await reasonIn(log, stream, graph, { n: data.first + input, stage, row }) };
      }
    }
  }
  return undefined;
}

/** Where a fork has cut a segment: what is added to the paths of records that come in at its stage `at`; else nothing. */
export function branchInto({ upstreams }: Segment, at: number): string {
  return at === 0 && upstreams.length === 1 ? (upstreams[0]?.branch ?? "") : "";
}

/** Why a row was refused, as the fork's quarantine has it. */
async function reasonIn(
  log: EventLog,
  stream: string,
  { event: { quarantine } }: StepGraph,
  wanted: { readonly n: number; readonly stage: string; readonly row: number },
): Promise<RefusalReason> {
  const range = { from: quarantine?.revision ?? 0, limit: quarantine?.events ?? 0 };
  for await (const recorded of log.read(besideStream(stream, "quarantine"), range)) {
    for (const { n, stage, row, code, message } of decodeEventAs(recorded, "RecordsQuarantined").records) {
      if (n === wanted.n && stage === wanted.stage && row === wanted.row) return { code, message };
    }
  }
  throw new HeadwaterError("LogDamaged", "a record that was refused is not in the quarantine", {
    where: `${stream}@${wanted.n}`,
  });
}
