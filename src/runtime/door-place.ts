import { decodeTexts } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { lastWatermark } from "../core/watermark.ts";
import type { EventTimePlace } from "../engine/event-time.ts";
import type { EventLog } from "../ports/event-log.ts";
import { DuplicateHorizon } from "./duplicates.ts";
import { knownInputs } from "./known-inputs.ts";
import { lastEvent, type StreamTail } from "./stream-tail.ts";

/** What a door's stream says of its past. */
export interface DoorPlace {
  epoch: number;
  next: number;
  through: number;
  /** The I from which on records that were put back have not been taken. */
  retry: number;
  readonly eventTime: EventTimePlace;
  readonly inputs: readonly InputProgress[];
  /** The epoch of the first claim that says them; absent if there is none. */
  readonly listedIn?: number;
}

/** Reads where a door goes on. Throws `LogDamaged` for a stream that is no source's. */
export async function readDoorPlace(log: EventLog, { stream, last }: StreamTail): Promise<DoorPlace> {
  if (last === undefined) {
    return {
      epoch: 0,
      next: 0,
      through: THROUGH_NOTHING,
      retry: 0,
      eventTime: { maxTime: undefined, ahead: undefined, watermark: undefined },
      inputs: [],
    };
  }
  if (last.type !== "DoorClaimed" && last.type !== "RecordsAccepted" && last.type !== "InputEnded") {
    throw new HeadwaterError("LogDamaged", `a source's stream ends in ${last.type}`, { where: stream });
  }
  const { epoch, first, through, maxTime, ahead, watermark, retry = 0 } = last.data;
  const next = first + ("count" in last.data ? last.data.count : 0);
  const { inputs, since: listedIn } = await knownInputs(log, stream);
  const eventTime = { maxTime, ahead, watermark: lastWatermark(watermark) };
  return { epoch, next, through, retry, eventTime, inputs, ...(listedIn !== undefined && { listedIn }) };
}

/** The ids of the last records of a source's stream. */
export async function readHorizon(log: EventLog, stream: string): Promise<DuplicateHorizon> {
  const horizon = new DuplicateHorizon(LIMITS.duplicateHorizonIds);
  if ((await lastEvent(log, stream)) === undefined) return horizon;
  const ids: string[][] = [];
  let known = 0;
  for await (const recorded of log.read(stream, { direction: "backwards" })) {
    const event = decodeEvent(recorded);
    if (event.type !== "RecordsAccepted" || event.data.ids === undefined) continue;
    const batch = decodeTexts(event.data.ids, event.data.count);
    ids.push(batch);
    known += batch.length;
    if (known >= LIMITS.duplicateHorizonIds) break;
  }
  for (const batch of ids.reverse()) for (const id of batch) horizon.add(id);
  return horizon;
}
