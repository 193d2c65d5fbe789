import { decodeCanonical } from "../core/canonical.ts";
import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { Cursors, QuarantinedRecord, StepsRecorded } from "../core/events.ts";
import { besideStream, retryStream } from "../core/streams.ts";
import { lastWatermark, type WatermarkStep } from "../core/watermark.ts";
import { originNamed, RETRIED, retriedPath } from "../engine/origins.ts";
import { type RecordedInput, recordedInput } from "../engine/recorded-inputs.ts";
import { type RowBefore, RowsBuilder } from "../engine/rows.ts";
import type { Key } from "../pipeline/definition.ts";
import type { Plan, Segment } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { DecodeRecord } from "./merge-reader.ts";
import { type AskedItem, readAsked } from "./retry-reader.ts";
import { stepsStreamOf, upstreamsOfPartition } from "./routes.ts";
import { EventCursor, readOne, seekRecord } from "./seek.ts";

/** Whose quarantined records are put back. */
export interface RetriedContext {
  readonly log: EventLog;
  readonly plan: Plan;
  readonly segment: Segment;
  readonly partition: number;
  readonly decode: DecodeRecord;
}

/** Records as they are put back. */
export interface RetriedInputs {
  readonly rows: RowsBuilder;
  /** What each was quarantined as. */
  readonly quarantined: readonly QuarantinedRecord[];
}

/**
 * Records that were asked for as inputs of their partition, with the ordinal `ordinal`: see "Retries" in
 * docs/format.md. The first ones, where they have `mostBytes` together. Throws `LogDamaged` where the log does not hold what was asked for.
 */
export async function loadRetried(
  context: RetriedContext,
  items: readonly AskedItem[],
  ordinal: number,
  mostBytes = Number.POSITIVE_INFINITY,
): Promise<RetriedInputs> {
  const { log, plan, segment, partition, decode } = context;
  const steps = stepsStreamOf(plan, segment, partition);
  const upstreams = upstreamsOfPartition(plan, segment, partition);
  const after = plan.segments.length - 1 - plan.segments.indexOf(segment);
  const rows = new RowsBuilder();
  const before: RowBefore[] = [];
  const quarantined: QuarantinedRecord[] = [];
  const events = new EventCursor(log, besideStream(steps, "quarantine"));
  let bytes = 0;
  for (const item of items) {
    if (bytes >= mostBytes) break;
    const record = await quarantinedAt(events, steps, item);
    bytes += record.record.length;
    const input = cameInAs(record) ?? (await inputAt(log, steps, record.n));
    quarantined.push(record);
    rows.records.push(decode(record.record, 0, record.record.length));
    rows.buffers.push(record.record);
    rows.starts.push(0);
    rows.ends.push(record.record.length);
    rows.ordinals.push(ordinal);
    rows.sources.push(RETRIED);
    rows.roots.push(item.item);
    rows.paths.push(retriedPath(after, item.item, input.origin));
    rows.times.push(input.time);
    rows.upstreams.push(upstreamOf(context, upstreams, record.edge, input));
    rows.parents.push(item.item);
    rows.parentKs.push(0);
    rows.keys.push(record.key && (decodeCanonical(record.key) as Key));
    before.push(placeBefore(record));
  }
  rows.before = before;
  return { rows, quarantined };
}

/** What a record was when it was quarantined. */
export function placeBefore({ root = "", path }: QuarantinedRecord): RowBefore {
  return { root, path: path === undefined ? "" : Buffer.from(path).toString("latin1") };
}

/** The quarantined record of a partition that `item` names. */
async function quarantinedAt(
  events: EventCursor,
  steps: string,
  item: AskedItem,
): Promise<QuarantinedRecord> {
  const event = decodeEventAs(await events.at(item.revision), "RecordsQuarantined");
  const record = event.records[item.index];
  if (record !== undefined && record.n === item.n && record.stage === item.stage) return record;
  throw new HeadwaterError("LogDamaged", "a quarantined record that was asked for is not where it was", {
    where: `${besideStream(steps, "quarantine")}@${item.revision}, ${item.index}`,
  });
}

/** What a quarantined record says of the input that it was. `undefined`: nothing, because it is an older one. */
function cameInAs(record: QuarantinedRecord): CameIn | undefined {
  const { input } = record;
  if (input === undefined) return undefined;
  const { root, path } = placeBefore(record);
  const stream = input.parent?.slice(0, input.parent.lastIndexOf("@")) ?? "";
  return { origin: originNamed(root, path), time: input.time, stream };
}

type CameIn = Pick<RecordedInput, "origin" | "time" | "stream">;

async function inputAt(log: EventLog, steps: string, n: number): Promise<RecordedInput> {
  const event = await readOne(log, steps, await seekRecord(log, steps, n));
  return recordedInput(decodeEventAs(event, "StepsRecorded"), n);
}

/** The first upstream stream of the edge by which it came in; older logs do not say which that was. */
function upstreamOf(
  { plan, segment }: RetriedContext,
  upstreams: readonly { readonly stream: string }[],
  edge: number | undefined,
  input: CameIn,
): number {
  if (edge === undefined || segment.upstreams.length === 1) {
    return Math.max(
      0,
      upstreams.findIndex(({ stream }) => stream === input.stream),
    );
  }
  // An edge that re-keys reads every partition, the others one stream.
  const { partitions } = plan.definition;
  const before = segment.upstreams.slice(0, edge);
  return before.reduce((sum, { route }) => sum + (route === "sections" ? partitions : 1), 0);
}

/** Retried inputs of one step event, among the inputs of a partition. */
export interface RetriedBatch {
  /** N of its first input. */
  readonly first: number;
  readonly entry: string;
  readonly ordinal: number;
  /** The step of the watermark that was in force. */
  readonly step: WatermarkStep | undefined;
  /** The I of each. */
  readonly items: readonly number[];
}

/**
 * The retried inputs of a partition between two places of its history, of which it is known up to which I each had
 * taken what was asked for. Reads nothing where that is the same.
 */
export async function retriedBetween(
  log: EventLog,
  pipeline: string,
  stream: string,
  from: { readonly next: number; readonly cursors: Cursors },
  to: { readonly next: number; readonly cursors: Cursors },
): Promise<RetriedBatch[]> {
  const retries = retryStream(pipeline);
  const batches: RetriedBatch[] = [];
  if ((from.cursors[retries] ?? 0) === (to.cursors[retries] ?? 0)) return batches;
  // Of events that begin at one N the last is the one that has it.
  for (let revision = await seekRecord(log, stream, from.next); ; revision++) {
    const { type, data } = decodeEvent(await readOne(log, stream, revision));
    if (type !== "StepsRecorded") continue;
    if (data.entry !== undefined && data.first >= from.next) {
      batches.push(retriedBatch(data, data.entry));
    }
    if (data.first + data.count >= to.next && (data.to[retries] ?? 0) === (to.cursors[retries] ?? 0))
      return batches;
  }
}

/** What was put back in a step event whose inputs came in at the stage `entry`. */
export function retriedBatch(event: StepsRecorded, entry: string): RetriedBatch {
  const { first, count, ordinals = new Uint8Array(), parents = new Uint8Array() } = event;
  return {
    first,
    entry,
    ordinal: decodeDeltas(ordinals, count)[0] ?? 0,
    step: lastWatermark(event.watermark),
    items: decodeDeltas(parents, count),
  };
}

/** The inputs of a batch that was put back, as they were then. */
export async function loadRetriedBatch(
  context: RetriedContext,
  { items, ordinal }: RetriedBatch,
): Promise<RetriedInputs> {
  const stream = retryStream(context.plan.definition.name);
  return loadRetried(context, await readAsked(context.log, stream, items), ordinal);
}
