import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { DoorClaimed, InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { EventLog } from "../ports/event-log.ts";
import { OtherInputs } from "./other-inputs.ts";
import { readOne, seekEpoch } from "./seek.ts";
import { lastEvent } from "./stream-tail.ts";

export interface KnownInputs {
  /** The latest come last. */
  readonly inputs: readonly InputProgress[];
  /** The epoch of the first of the claims that say them. */
  readonly since?: number;
}

/** How much of which inputs a source has taken: what its last claims say, and what was taken since. */
export async function knownInputs(log: EventLog, stream: string): Promise<KnownInputs> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return { inputs: [] };
  const { data } = decodeEvent(last);
  if (!("epoch" in data)) return { inputs: [] };
  const claim = await claimOf(log, stream, data.epoch);
  const known = new OtherInputs();
  const goOn = ({ inputs, input }: DoorClaimed) => known.turnTo(input, inputs);
  const since = claim.inputsSince ?? claim.epoch;
  for (let epoch = since; epoch < claim.epoch; epoch++) {
    goOn(await claimOf(log, stream, epoch));
  }
  goOn(claim);
  const latest = "input" in data ? data.input : undefined;
  const inputs = [...known.all, ...(latest === undefined ? [] : [latest])].slice(-LIMITS.knownInputs);
  return { inputs, since };
}

async function claimOf(log: EventLog, stream: string, epoch: number): Promise<DoorClaimed> {
  return decodeEventAs(await readOne(log, stream, await seekEpoch(log, stream, epoch)), "DoorClaimed");
}
