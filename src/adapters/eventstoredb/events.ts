import type { ReadResp } from "@eventstore/db-client/generated/streams_pb.js";
import type { Position } from "../../core/position.ts";
import type { RecordedEvent } from "../../ports/event-log.ts";

/** The log's own stream: its id. Not among those that are listed, read with others, or written by others. */
export const LOG_STREAM = "headwater_log";

/** The type of what a tombstone leaves in the order of all events. */
const STREAM_ENDED = "$streamDeleted";

/** Revisions from here on are the server's words for "for ever". */
export const NO_REVISION = Number.MAX_SAFE_INTEGER;

/** An event as the server recorded it. */
export interface ServerEvent extends RecordedEvent {
  /** It ends its stream for ever, and is not one of the stream's events. */
  readonly endsStream: boolean;
}

/** @param prefix what names on the server begin with, and those of the log do not */
export function readEvent(recorded: ReadResp.ReadEvent.RecordedEvent, prefix: string): ServerEvent {
  const map = recorded.getMetadataMap();
  const type = map.get("type") ?? "";
  const name = Buffer.from(recorded.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString();
  const revision = Number(recorded.getStreamRevision());
  return {
    stream: name.startsWith(prefix) ? name.slice(prefix.length) : name,
    revision,
    id: recorded.getId()?.getString() ?? "",
    type,
    data: recorded.getData_asU8(),
    metadata: recorded.getCustomMetadata_asU8(),
    position: toPosition(recorded.getCommitPosition(), recorded.getPreparePosition()),
    created: readTicks(map.get("created")),
    endsStream: type === STREAM_ENDED && revision >= NO_REVISION,
  };
}

export function toPosition(commit: string, prepare: string): Position {
  return { commit: BigInt(commit), prepare: BigInt(prepare) };
}

/** Bytes of an answer to a read. */
export function answerBytes(answer: ReadResp): number {
  const recorded = answer.getEvent()?.getEvent();
  return recorded === undefined
    ? 0
    : recorded.getData_asU8().length + recorded.getCustomMetadata_asU8().length;
}

/** Milliseconds since 1970, of ten thousandths of them. */
function readTicks(ticks = "0"): number {
  return Number(ticks.slice(0, -4));
}
