import { decodeEvent } from "../core/event-codec.ts";
import type { Cursors, OutputsDelivered } from "../core/events.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { sinkStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { DeliveredPart, SinkTarget } from "./sink-targets.ts";
import { lastEvent } from "./stream-tail.ts";

/** How far a sink has delivered to a target. */
export interface SinkPlace {
  /** How many records; the N of the next one. */
  readonly next: number;
  readonly cursors: Cursors;
  readonly through: number;
  /** Length of the target's content. */
  readonly bytes: number;
}

/** What a sink's stream says of a target. */
export interface SinkHistory {
  readonly place: SinkPlace;
  /** The last part that was delivered. */
  readonly last: DeliveredPart | undefined;
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
  for await (const recorded of log.read(stream, { direction: "backwards" })) {
    const event = decodeEvent(recorded);
    if (event.type !== "SinkOpened" && event.type !== "OutputsDelivered") continue;
    if (!target.fills) {
      if (event.type === "OutputsDelivered") return historyOf(event.data, 0);
      continue;
    }
    if (event.data.target !== target.id) continue;
    if (event.type === "OutputsDelivered") {
      if (latest !== undefined) return historyOf(latest, event.data.bytes);
      latest = event.data;
    } else {
      if (latest !== undefined) return historyOf(latest, 0);
      return {
        place: { next: 0, cursors: event.data.cursors, through: THROUGH_NOTHING, bytes: 0 },
        last: undefined,
      };
    }
  }
  return undefined;
}

function historyOf(
  { first, count, to, through, bytes, digest }: OutputsDelivered,
  from: number,
): SinkHistory {
  return {
    place: { next: first + count, cursors: to, through, bytes },
    last: digest === undefined ? undefined : { from, digest },
  };
}
