import { ColumnReader } from "../core/columns.ts";
import { toHex } from "../core/digest.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type {
  EventRange,
  PipelineDeployed,
  QuarantinedInput,
  QuarantinedRecord,
  RejectedRecord,
  RetryItem,
  StepsRecorded,
} from "../core/events.ts";
import { besideStream, pipelineStream } from "../core/streams.ts";
import { readMembers } from "../engine/members.ts";
import { type RecordedInput, recordedInput } from "../engine/recorded-inputs.ts";
import { inputsOfRows } from "../engine/stage-rows.ts";
import type { EventLog } from "../ports/event-log.ts";
import { GoneReferences } from "./refused-runs.ts";
import { readUnlessGone, seekRecord } from "./seek.ts";

/** A record that was refused, by a stage or by a door, and where it is kept. */
export interface Refused {
  /** `steps_P.G.Q@N.K/stage` or `quarantine_P.S@I`. */
  readonly address: string;
  /** The stream of the partition or door that refused it. */
  readonly unit: string;
  readonly place: RetryItem;
  readonly wall: number;
  /** Whether it is no record, but the firing of a window or join. */
  readonly firing: boolean;
  readonly record:
    | { readonly kind: "quarantined"; readonly quarantined: QuarantinedRecord }
    | { readonly kind: "rejected"; readonly rejected: RejectedRecord };
}

/** Which units' records are wanted; absent: all of them. */
export interface RefusedFilter {
  readonly stage?: string;
  readonly source?: string;
  readonly unit?: string;
}

/** What tells a refused record from others of its pipeline. */
export function refusedKey(unit: string, { n, k, stage }: Pick<RetryItem, "n" | "k" | "stage">): string {
  return stage === undefined ? `${unit}@${n}` : `${unit}@${n}.${k ?? 0}/${stage}`;
}

/**
 * All records of a pipeline that were ever refused, stream by stream in the order of names, each stream's in its own.
 * What a crash left behind in a quarantine is passed over.
 */
export async function* readRefused(
  log: EventLog,
  pipeline: string,
  { stage, source, unit }: RefusedFilter = {},
): AsyncIterable<Refused> {
  const filter = { prefixes: [`quarantine_${pipeline}.`] };
  const streams: string[] = [];
  for await (const info of log.streams(filter)) if (!info.deleted) streams.push(info.stream);
  for (const stream of streams.sort()) {
    const partition = /\.\d{4}$/.test(stream);
    const main = `${partition ? "steps" : "source"}${stream.slice(stream.indexOf("_"))}`;
    if (unit !== undefined && unit !== main) continue;
    if (partition ? source !== undefined : stage !== undefined) continue;
    if (!partition && source !== undefined && !main.endsWith(`.${source}`)) continue;
    if (partition) yield* quarantinedIn(log, pipeline, main, stage);
    else yield* rejectedIn(log, pipeline, main);
  }
}

async function* quarantinedIn(
  log: EventLog,
  pipeline: string,
  unit: string,
  stage: string | undefined,
): AsyncIterable<Refused> {
  let deployments: ReadonlyMap<string, PipelineDeployed> | undefined;
  const gone = new GoneReferences(log, pipeline, unit);
  for await (const recorded of log.read(besideStream(unit, "quarantine"))) {
    const { records, wall } = decodeEventAs(recorded, "RecordsQuarantined");
    const steps = await stepsOf(log, unit, records[0]?.n ?? 0);
    if (steps === undefined) continue;
    const referred =
      steps === "gone" ? await gone.include(recorded.revision) : covers(steps.quarantine, recorded.revision);
    if (!referred) continue;
    for (const [index, quarantined] of records.entries()) {
      if (stage !== undefined && quarantined.stage !== stage) continue;
      // Given up: that is told of where it had been refused before.
      if (quarantined.code === "Withdrawn") continue;
      // Older logs leave it to be worked out.
      let { k } = quarantined;
      if (k === undefined && steps !== "gone") {
        deployments ??= await deploymentsOf(log, pipeline);
        k = rowOfInput(steps, quarantined, unit, deployments);
      }
      const { n } = quarantined;
      const place = { n, k: k ?? 0, stage: quarantined.stage, revision: recorded.revision, index };
      yield {
        address: refusedKey(unit, place),
        unit,
        place,
        wall,
        firing: steps === "gone" ? quarantined.input?.firing === true : recordedInput(steps, n).firing,
        record: { kind: "quarantined", quarantined },
      };
    }
  }
}

/** The step event that has the input N = `n`; `gone`: it was let go of. */
async function stepsOf(log: EventLog, unit: string, n: number): Promise<StepsRecorded | "gone" | undefined> {
  if ((await log.streamInfo(unit)) === undefined) return undefined;
  const recorded = await readUnlessGone(log, unit, await seekRecord(log, unit, n));
  if (recorded === undefined) return "gone";
  const { type, data } = decodeEvent(recorded);
  if ("first" in data && data.first > n) return "gone";
  return type === "StepsRecorded" && n < data.first + data.count ? data : undefined;
}

function rowOfInput(
  steps: StepsRecorded,
  { n, row, stage }: QuarantinedRecord,
  unit: string,
  deployments: ReadonlyMap<string, PipelineDeployed> | undefined,
): number {
  const segment = unit.slice(unit.indexOf(".") + 1, -".0000".length);
  const stages = deployments
    ?.get(toHex(steps.deployment))
    ?.stages.filter((other) => other.segment === segment);
  const at = stages?.findIndex(({ name }) => name === stage) ?? -1;
  const input = steps.stages?.[at]?.input;
  if (input === undefined) return row;
  return row - inputsOfRows(steps, input).indexOf(n - steps.first);
}

async function deploymentsOf(
  log: EventLog,
  pipeline: string,
): Promise<ReadonlyMap<string, PipelineDeployed>> {
  const found = new Map<string, PipelineDeployed>();
  for await (const recorded of log.read(pipelineStream(pipeline))) {
    const { type, data } = decodeEvent(recorded);
    if (type === "PipelineDeployed") found.set(toHex(data.deployment), data);
  }
  return found;
}

async function* rejectedIn(log: EventLog, pipeline: string, unit: string): AsyncIterable<Refused> {
  const stream = besideStream(unit, "quarantine");
  const gone = new GoneReferences(log, pipeline, unit);
  let ranges: readonly EventRange[] | undefined;
  let n = 0;
  for await (const recorded of log.read(stream)) {
    const { records, wall, main } = decodeEventAs(recorded, "RecordsRejected");
    const { revision } = recorded;
    if (main === undefined) {
      ranges ??= await rejectedRanges(log, unit);
      if (!ranges.some((range) => covers(range, revision)) && !(await gone.include(revision))) continue;
    } else {
      const range = await rejectedBy(log, unit, main);
      if (range === "gone" ? !(await gone.include(revision)) : !covers(range, revision)) continue;
    }
    for (const [index, rejected] of records.entries()) {
      yield {
        address: `${stream}@${n}`,
        unit,
        place: { n, revision, index },
        wall,
        firing: false,
        record: { kind: "rejected", rejected },
      };
      n++;
    }
  }
}

/** `gone`: the event was let go of. */
async function rejectedBy(
  log: EventLog,
  unit: string,
  revision: number,
): Promise<EventRange | "gone" | undefined> {
  const info = await log.streamInfo(unit);
  if (info === undefined || info.lastRevision < revision) return undefined;
  const recorded = await readUnlessGone(log, unit, revision);
  if (recorded === undefined) return "gone";
  const { data } = decodeEvent(recorded);
  return "rejected" in data ? data.rejected : undefined;
}

/** Of older logs, whose rejected records do not say which event refers to them. */
async function rejectedRanges(log: EventLog, unit: string): Promise<EventRange[]> {
  const ranges: EventRange[] = [];
  for await (const recorded of log.read(unit)) {
    const { data } = decodeEvent(recorded);
    if ("rejected" in data && data.rejected !== undefined) ranges.push(data.rejected);
  }
  return ranges;
}

function covers(range: EventRange | undefined, revision: number): boolean {
  return range !== undefined && revision >= range.revision && revision < range.revision + range.events;
}

/** Where a record came from that was quarantined. */
export interface RefusedOrigin {
  /** Address of what its input was made of; of a firing its own input. */
  readonly parent: string;
  /** Event time, milliseconds since 1970. */
  readonly time: number | undefined;
  /** Addresses of the inputs that a firing would have been made of; the first ones. */
  readonly members: readonly string[];
}

/** Reads where a record came from; `undefined` for one that a door rejected. */
export async function refusedOrigin(log: EventLog, refused: Refused): Promise<RefusedOrigin | undefined> {
  const { unit, place, record } = refused;
  const steps = record.kind === "quarantined" ? await stepsOf(log, unit, place.n) : undefined;
  if (steps === undefined || record.kind !== "quarantined") return undefined;
  const input = steps === "gone" ? record.quarantined.input : inputIn(recordedInput(steps, place.n));
  const { members, time } = record.quarantined.firing ?? {};
  return {
    parent: input?.parent ?? `${unit}@${place.n}`,
    time: time ?? input?.time,
    members: members === undefined ? [] : memberNs(members).map((n) => `${unit}@${n}`),
  };
}

function inputIn(input: RecordedInput): QuarantinedInput {
  const { firing, time } = input;
  return { ...(!firing && { parent: parentOf(input) }), ...(time !== undefined && { time }) };
}

function parentOf({ stream, parent, parentK }: RecordedInput): string {
  return stream.startsWith("steps_") ? `${stream}@${parent}.${parentK}` : `${stream}@${parent}`;
}

/** Members that are told one by one. */
const MEMBERS_TOLD = 1_000;

function memberNs(members: Uint8Array): number[] {
  const runs = readMembers(new ColumnReader(members));
  const ns: number[] = [];
  for (let at = 0; at < runs.length && ns.length < MEMBERS_TOLD; at += 2) {
    for (let n = 0; n < (runs[at + 1] ?? 0) && ns.length < MEMBERS_TOLD; n++) ns.push((runs[at] ?? 0) + n);
  }
  return ns;
}
