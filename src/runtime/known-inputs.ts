import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { DoorClaimed, InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { EventLog } from "../ports/event-log.ts";
import { otherInputs } from "./other-inputs.ts";
import { readOne, seekEpoch } from "./seek.ts";
import { lastEvent } from "./stream-tail.ts";

/** How much of which inputs a source has taken, the latest last: what its last claims say, and what was taken since. */
export async function knownInputs(log: EventLog, stream: string): Promise<InputProgress[]> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return [];
  const { data } = decodeEvent(last);
  if (!("epoch" in data)) return [];
  const claim = await claimOf(log, stream, data.epoch);
  let known: readonly InputProgress[] = [];
  const goOn = ({ inputs, input }: DoorClaimed) => {
    known = otherInputs(known, inputs, input);
  };
  for (let epoch = claim.inputsSince ?? claim.epoch; epoch < claim.epoch; epoch++) {
    goOn(await claimOf(log, stream, epoch));
  }
  goOn(claim);
  const latest = "input" in data ? data.input : undefined;
  return [...known, ...(latest === undefined ? [] : [latest])].slice(-LIMITS.knownInputs);
}

async function claimOf(log: EventLog, stream: string, epoch: number): Promise<DoorClaimed> {
  return decodeEventAs(await readOne(log, stream, await seekEpoch(log, stream, epoch)), "DoorClaimed");
}
