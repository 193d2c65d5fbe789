import { decodeEvent } from "../core/event-codec.ts";
import type { Cursors, OutputsDelivered, OutputsPrepared } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { sinkStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { readInSteps } from "./seek.ts";
import type { DeliveredPart, Preparation, SinkTarget, TargetPlace } from "./sink-target.ts";
import { lastEvent } from "./stream-tail.ts";

/** How far a sink has delivered to a target. */
export interface SinkPlace extends TargetPlace {
  /** How many records; the N of the next one. */
  readonly next: number;
  readonly cursors: Cursors;
  readonly through: number;
}

/** A batch of which it is not known whether it was handed over: the next `count` records. */
export interface PendingBatch {
  readonly count: number;
  readonly preparation: Preparation;
}

/** What a sink's stream says of a target. */
export interface SinkHistory {
  readonly place: SinkPlace;
  /** The last part that was delivered. */
  readonly last: DeliveredPart | undefined;
  readonly pending: PendingBatch | undefined;
}

/**
 * What is known of a target; `undefined` if the sink never delivered to it. A target without content of its own
 * goes on after whatever was delivered last, wherever to.
 */
export async function sinkHistory(
  log: EventLog,
  pipeline: string,
  sink: string,
  target: SinkTarget,
): Promise<SinkHistory | undefined> {
  const stream = sinkStream(pipeline, sink);
  if ((await lastEvent(log, stream)) === undefined) return undefined;
  let latest: OutputsDelivered | undefined;
  let prepared: OutputsPrepared | undefined;
  for await (const recorded of log.read(stream, { direction: "backwards" })) {
    const { type, data } = decodeEvent(recorded);
    const ours = "target" in data && data.target === target.id;
    if (type === "OutputsPrepared" && ours && latest === undefined) prepared ??= data;
    if (type !== "SinkOpened" && type !== "OutputsDelivered") continue;
    if (!target.fills) {
      if (type === "OutputsDelivered") return historyOf(data, undefined, prepared);
      continue;
    }
    if (!ours) continue;
    if (type === "OutputsDelivered") {
      if (latest !== undefined) return historyOf(latest, data, prepared);
      latest = data;
    } else {
      if (latest !== undefined) return historyOf(latest, undefined, prepared);
      const place = { next: 0, cursors: data.cursors, through: THROUGH_NOTHING, bytes: 0 };
      return { place, last: undefined, pending: pendingOf(prepared, 0) };
    }
  }
  if (prepared === undefined) return undefined;
  const { first, from, through } = prepared;
  return {
    place: { next: first, cursors: from, through, bytes: 0 },
    last: undefined,
    pending: pendingOf(prepared, first),
  };
}

/** Whether what a sink delivered at first was let go of. */
export async function hasLetGoOfDeliveries(log: EventLog, pipeline: string, sink: string): Promise<boolean> {
  return ((await log.streamInfo(sinkStream(pipeline, sink)))?.firstRevision ?? 0) > 0;
}

/** Names a target of nobody: see `CountTarget`. */
const NOBODY = "count:";

/**
 * Names the target that a sink wrote to last, or was about to; `undefined` if it was none, or that is too long ago. When
 * it was left out, and nothing came, it is as if it had not been.
 */
export async function lastTarget(log: EventLog, pipeline: string, sink: string): Promise<string | undefined> {
  const stream = sinkStream(pipeline, sink);
  const last = await lastEvent(log, stream);
  if (last === undefined) return undefined;
  let looks = 0;
  for await (const recorded of readInSteps(log, stream, last.revision, "backwards")) {
    if (++looks > LIMITS.leftOutLooks) return undefined;
    const { type, data } = decodeEvent(recorded);
    if (type !== "OutputsDelivered" && type !== "OutputsPrepared" && type !== "SinkOpened") continue;
    if (data.target !== NOBODY || (type === "OutputsDelivered" && data.count > 0)) return data.target;
  }
  return undefined;
}

/** Of a target with several files: what tells it from one with the same files that are divided in another way. */
const DIVIDED = /^(files:.*) \(([^()]*)\)$/s;
/** Of a target with one. */
const ONE_FILE = "file:";
/** Of one that is sent to. */
const RECEIVER = "http:";

/**
 * How the files were divided that a sink wrote under the same name as it is to write now in another way; `undefined` if
 * it wrote none.
 */
export async function otherDivision(
  log: EventLog,
  pipeline: string,
  sink: string,
  target: SinkTarget,
): Promise<string | undefined> {
  const files = DIVIDED.exec(target.id)?.[1];
  return files === undefined ? undefined : divisionOf(log, sinkStream(pipeline, sink), files);
}

/**
 * How the files were divided that a sink wrote under the name of one file that it never wrote; `undefined` if it wrote
 * none.
 */
export async function dividedBefore(
  log: EventLog,
  pipeline: string,
  sink: string,
  file: SinkTarget,
): Promise<string | undefined> {
  if (!file.id.startsWith(ONE_FILE) || (await sinkHistory(log, pipeline, sink, file)) !== undefined) {
    return undefined;
  }
  return divisionOf(log, sinkStream(pipeline, sink), `files:${file.id.slice(ONE_FILE.length)}`);
}

/** A file, several that are divided by `division`, or a receiver, as a target's name says it; `undefined` for others. */
export function targetOfName(
  id: string,
): { readonly to: "file" | "receiver"; readonly output: string; readonly division?: string } | undefined {
  if (id.startsWith(ONE_FILE)) return { to: "file", output: id.slice(ONE_FILE.length) };
  if (id.startsWith(RECEIVER)) return { to: "receiver", output: id.slice(RECEIVER.length) };
  const [, files, division] = DIVIDED.exec(id) ?? [];
  if (files === undefined || division === undefined) return undefined;
  return { to: "file", output: files.slice(files.indexOf(":") + 1), division };
}

/** How the files of a name were divided that a sink wrote last under it. */
async function divisionOf(log: EventLog, stream: string, files: string): Promise<string | undefined> {
  if ((await lastEvent(log, stream)) === undefined) return undefined;
  for await (const recorded of log.read(stream, { direction: "backwards" })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "SinkOpened" && type !== "OutputsDelivered") continue;
    const [, other, division] = DIVIDED.exec(data.target) ?? [];
    if (other === files) return division;
  }
  return undefined;
}

function historyOf(
  { first, count, to, through, bytes, digest, part }: OutputsDelivered,
  before: OutputsDelivered | undefined,
  prepared: OutputsPrepared | undefined,
): SinkHistory {
  const next = first + count;
  const from = before?.part === part ? (before?.bytes ?? 0) : 0;
  return {
    place: { next, cursors: to, through, bytes, ...(part !== undefined && { part }) },
    last: digest === undefined ? undefined : { from, digest },
    pending: pendingOf(prepared, next),
  };
}

/** What was prepared before the last delivery is delivered. */
function pendingOf(prepared: OutputsPrepared | undefined, next: number): PendingBatch | undefined {
  if (prepared === undefined || prepared.first !== next) return undefined;
  const { count, parts } = prepared;
  return { count, preparation: parts === undefined ? {} : { parts } };
}
