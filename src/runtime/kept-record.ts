import { decodeEventAs } from "../core/event-codec.ts";
import type { EventRange, RecordsStored } from "../core/events.ts";
import { besideStream } from "../core/streams.ts";
import { acceptedRows, decodeBlock } from "../engine/outlet-decoder.ts";
import { placeAmong, type StoredAt } from "../engine/stored-rows.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { RecordPlace } from "./lineage-places.ts";

/**
 * The canonical bytes of a record as the payload has them. `undefined`: it is not kept there, is no record, or left its stage
 * as it came in, so that it is the record of a stage further up.
 */
export async function keptRecord(log: EventLog, place: RecordPlace): Promise<Uint8Array | undefined> {
  if (place.kind === "source") {
    const stored = placeAmong(acceptedRows(place.event), place.row);
    return stored && fromBlock(log, place.stream, place.event, SEGMENT_INPUT, stored);
  }
  if (place.kind !== "result") return undefined;
  const { graph, stream, at } = place;
  if (graph.event.stages?.[at.stage]?.digests === undefined) return undefined;
  const stored = graph.shape.storedAt(at.stage, at.row);
  return stored && fromBlock(log, stream, graph.event, at.stage, stored);
}

async function fromBlock(
  log: EventLog,
  main: string,
  event: { readonly payload?: EventRange; readonly transit?: EventRange },
  stage: number,
  { beside, index }: StoredAt,
): Promise<Uint8Array | undefined> {
  const range = event[beside];
  if (range === undefined) return undefined;
  const events: RecordsStored[] = [];
  for await (const event of log.read(besideStream(main, beside), {
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
