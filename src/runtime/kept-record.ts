import { decodeEventAs } from "../core/event-codec.ts";
import type { EventRange, RecordsStored } from "../core/events.ts";
import { besideStream } from "../core/streams.ts";
import { decodeBlock } from "../engine/outlet-decoder.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { RecordPlace } from "./lineage-places.ts";

/**
 * The canonical bytes of a record as the payload has them. `undefined`: it is not kept there, is no record, or left its stage
 * as it came in, so that it is the record of a stage further up.
 */
export async function keptRecord(log: EventLog, place: RecordPlace): Promise<Uint8Array | undefined> {
  if (place.kind === "source")
    return fromPayload(log, place.stream, place.event.payload, SEGMENT_INPUT, place.row);
  if (place.kind !== "result") return undefined;
  const { graph, stream, at } = place;
  const { outlets = [], stages = [], payload } = graph.event;
  const leaves = outlets.some(({ stored }) => stored === at.stage);
  if (!leaves || stages[at.stage]?.digests === undefined) return undefined;
  const kept = graph.shape.keptRows(at.stage);
  const index = kept === undefined ? at.row : kept.indexOf(at.row);
  return index < 0 ? undefined : fromPayload(log, stream, payload, at.stage, index);
}

async function fromPayload(
  log: EventLog,
  main: string,
  range: EventRange | undefined,
  stage: number,
  index: number,
): Promise<Uint8Array | undefined> {
  if (range === undefined) return undefined;
  const events: RecordsStored[] = [];
  for await (const event of log.read(besideStream(main, "payload"), {
    from: range.revision,
    limit: range.events,
  })) {
    if (event.revision >= range.revision + range.events) break;
    events.push(decodeEventAs(event, "RecordsStored"));
  }
  if (events.length < range.events) return undefined;
  const { buffers, starts, ends } = decodeBlock(events, stage);
  return buffers[index]?.slice(starts[index], ends[index]);
}
