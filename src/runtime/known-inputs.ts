import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { EventLog } from "../ports/event-log.ts";
import { readOne, seekEpoch } from "./seek.ts";
import { lastEvent } from "./stream-tail.ts";

/** How much of which inputs a source has taken: what its last claim says, and what was taken since. */
export async function knownInputs(log: EventLog, stream: string): Promise<InputProgress[]> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return [];
  const { data } = decodeEvent(last);
  if (!("epoch" in data)) return [];
  const claim = decodeEventAs(
    await readOne(log, stream, await seekEpoch(log, stream, data.epoch)),
    "DoorClaimed",
  );
  const latest = "input" in data ? data.input : undefined;
  return [...claim.inputs, ...(latest === undefined ? [] : [latest])].slice(-LIMITS.knownInputs);
}
