import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { ReplayAsk, TypedEvent, VerificationBegun, VerificationProgressed } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { pipelineStream, stepsStream } from "../core/streams.ts";
import type { Value } from "../core/value.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Divergence } from "./history-check.ts";
import { appendToPipeline } from "./pipeline-events.ts";
import type { GoneInputs } from "./reexecution.ts";
import { StreamTail } from "./stream-tail.ts";
import type { WindowInputs } from "./window-inputs.ts";

/** Where a verification is: the partition, and the N of its first input that is not compared yet. */
export interface VerificationPlace {
  readonly segment: string;
  readonly partition: number;
  readonly next: number;
}

/** How far a verification is, and what has come of it by then. To go on from here gives what never stopping would. */
export interface VerificationState {
  /** `undefined`: it is through. */
  readonly at: VerificationPlace | undefined;
  readonly steps: number;
  readonly diverged: number;
  readonly first: Divergence | undefined;
  readonly gone: { readonly inputs: number; readonly first: GoneInputs | undefined };
  /** From 0 to 1. */
  readonly share: number;
  /** Time that it has taken, in seconds. */
  readonly seconds: number;
}

/** A verification as the log has it. */
export interface RecordedVerification {
  readonly begun: VerificationBegun;
  /** `undefined`: nothing was compared yet. */
  readonly state: VerificationState | undefined;
  /** Of one that is through. */
  readonly report: Value | undefined;
}

/** A verification that was begun under this name, `PIPELINE~ID`; `undefined`: none was. */
export async function readVerification(
  log: EventLog,
  name: string,
): Promise<RecordedVerification | undefined> {
  const stream = pipelineStream(name);
  if ((await log.streamInfo(stream)) === undefined) return undefined;
  let begun: VerificationBegun | undefined;
  for await (const recorded of log.read(stream, { limit: 1 })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "VerificationBegun") return undefined;
    begun = data;
  }
  if (begun === undefined) return undefined;
  for await (const recorded of log.read(stream, { direction: "backwards" })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "VerificationProgressed") continue;
    const report = data.report && decodeCanonical(data.report);
    return { begun, state: stateOf(data), report };
  }
  return { begun, state: undefined, report: undefined };
}

/** Begins a verification; `false`: something is under this name already. */
export async function beginVerification(
  log: EventLog,
  clock: Clock,
  name: string,
  begun: Omit<VerificationBegun, "v" | "wall">,
): Promise<boolean> {
  const tail = await StreamTail.open(log, pipelineStream(name));
  if (tail.revision >= 0) return false;
  const event = { v: 1, wall: clock.now(), ...begun } as const;
  try {
    await tail.append([{ type: "VerificationBegun", event }]);
    return true;
  } catch (error) {
    if (!isHeadwaterError(error, "WrongExpectedRevision")) throw error;
    return false;
  }
}

/**
 * Writes down how far a verification is; `report`: it is through. `confirm` throws where another process is at it now.
 * What was asked last stays so.
 */
export async function saveVerification(
  log: EventLog,
  clock: Clock,
  name: string,
  state: VerificationState,
  report: Value | undefined,
  confirm: () => Promise<void>,
): Promise<void> {
  const { at, first, gone, ...counts } = state;
  const progress = {
    ...{ ...counts, gone: gone.inputs },
    ...(at !== undefined && { at }),
    ...(first !== undefined && { firstDivergence: encodeCanonical(withoutLarge(first)) }),
    ...(gone.first !== undefined && { firstGone: gone.first }),
    ...(report !== undefined && { report: encodeCanonical(report) }),
  } as const;
  await appendToPipeline(
    log,
    name,
    ({ last }) => {
      const ask = last && askIn(last);
      return {
        type: "VerificationProgressed",
        event: { v: 1, ...progress, wall: clock.now(), ...(ask !== undefined && { ask }) },
      };
    },
    confirm,
  );
}

/** What an event says of the inputs that partitions have in a window, as {@link windowInputs} does, by their streams. */
export function inputsIn(
  pipeline: string,
  inputs: VerificationBegun["inputs"],
): ReadonlyMap<string, WindowInputs> | undefined {
  return (
    inputs &&
    new Map(
      inputs.map(({ segment, partition, first, end }) => [
        stepsStream(pipeline, segment, partition),
        { first, end },
      ]),
    )
  );
}

/** A divergence without those of its values that are too large to be kept in an event. */
export function withoutLarge(divergence: Divergence): Value {
  const kept = Object.entries(divergence).filter(
    ([field, value]) => !LARGE.has(field) || bytesOf(value) <= LIMITS.verificationValueBytes,
  );
  return Object.fromEntries(kept);
}

const LARGE = new Set(["value", "expectedValue"]);

function bytesOf(value: Value | undefined): number {
  return value === undefined ? 0 : encodeCanonical(value).length;
}

/** What was asked last, as the last event of a replay's stream says; `undefined`: nothing was. */
export function askIn(last: TypedEvent): ReplayAsk | undefined {
  if (last.type === "ReplayAsked" || last.type === "VerificationProgressed") return last.data.ask;
  return undefined;
}

function stateOf(data: VerificationProgressed): VerificationState {
  const { at, steps, diverged, firstDivergence, gone, firstGone, share, seconds } = data;
  return {
    ...{ at, steps, diverged, share, seconds },
    first: firstDivergence && divergenceOf(decodeCanonical(firstDivergence)),
    gone: { inputs: gone, first: firstGone },
  };
}

/** A divergence as it was kept: what is absent there is `undefined` here. */
export function divergenceOf(value: Value): Divergence {
  const absent = { stage: undefined, expected: undefined, actual: undefined, value: undefined };
  return { ...absent, ...(value as object) } as Divergence;
}
