import sharedPb from "@eventstore/db-client/generated/shared_pb.js";
import statusPb, { type Status } from "@eventstore/db-client/generated/status_pb.js";
import streamsPb, {
  type BatchAppendReq,
  type BatchAppendResp,
  type DeleteReq,
  type ReadResp,
  type TombstoneReq,
} from "@eventstore/db-client/generated/streams_pb.js";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import anyPb from "google-protobuf/google/protobuf/any_pb.js";
import type { Expected, Offered, Stored, Written } from "./store.ts";

/** An error as the server sends it: `exception` and more come as metadata. */
export function serviceError(
  code: status,
  details: string,
  sent: Readonly<Record<string, string>> = {},
): ServiceError {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(sent)) metadata.set(key, value);
  return Object.assign(new Error(details), { code, details, metadata });
}

export function notLeaderError(leader: { readonly host: string; readonly port: number }): ServiceError {
  return serviceError(status.NOT_FOUND, "Leader info available", {
    exception: "not-leader",
    "leader-endpoint-host": leader.host,
    "leader-endpoint-port": String(leader.port),
  });
}

export function streamEndedError(stream: string): ServiceError {
  return serviceError(status.FAILED_PRECONDITION, "the stream is deleted", {
    exception: "stream-deleted",
    "stream-name": encodeURIComponent(stream),
  });
}

export function conflictError(current: bigint): ServiceError {
  return serviceError(status.FAILED_PRECONDITION, "WrongExpectedVersion", {
    exception: "wrong-expected-version",
    "actual-version": String(current),
  });
}

export function readAnswer(event: Stored): ReadResp {
  const id = new sharedPb.UUID();
  id.setString(event.id);
  const stream = new sharedPb.StreamIdentifier();
  stream.setStreamName(Buffer.from(event.stream));
  const recorded = new streamsPb.ReadResp.ReadEvent.RecordedEvent();
  recorded.setId(id);
  recorded.setStreamIdentifier(stream);
  recorded.setStreamRevision(String(event.revision));
  recorded.setCommitPosition(String(event.position));
  recorded.setPreparePosition(String(event.position));
  const map = recorded.getMetadataMap();
  map.set("type", event.type);
  map.set("created", `${event.created}0000`);
  map.set("content-type", event.json ? "application/json" : "application/octet-stream");
  recorded.setData(event.data);
  recorded.setCustomMetadata(event.metadata);
  const read = new streamsPb.ReadResp.ReadEvent();
  read.setEvent(recorded);
  read.setCommitPosition(String(event.position));
  const answer = new streamsPb.ReadResp();
  answer.setEvent(read);
  return answer;
}

export function lastRevisionAnswer(revision: bigint): ReadResp {
  return new streamsPb.ReadResp().setLastStreamPosition(String(revision));
}

export function notFoundAnswer(stream: string): ReadResp {
  const identifier = new sharedPb.StreamIdentifier();
  identifier.setStreamName(Buffer.from(stream));
  const notFound = new streamsPb.ReadResp.StreamNotFound();
  notFound.setStreamIdentifier(identifier);
  return new streamsPb.ReadResp().setStreamNotFound(notFound);
}

export function confirmationAnswer(id: string): ReadResp {
  const confirmation = new streamsPb.ReadResp.SubscriptionConfirmation();
  confirmation.setSubscriptionId(id);
  return new streamsPb.ReadResp().setConfirmation(confirmation);
}

export function checkpointAnswer(position: bigint): ReadResp {
  const checkpoint = new streamsPb.ReadResp.Checkpoint();
  checkpoint.setCommitPosition(String(position));
  checkpoint.setPreparePosition(String(position));
  return new streamsPb.ReadResp().setCheckpoint(checkpoint);
}

export function caughtUpAnswer(): ReadResp {
  return new streamsPb.ReadResp().setCaughtUp(new streamsPb.ReadResp.CaughtUp());
}

export function offeredOf(message: BatchAppendReq.ProposedMessage): Offered {
  const map = message.getMetadataMap();
  return {
    id: message.getId()?.getString() ?? "",
    type: map.get("type") ?? "",
    json: map.get("content-type") === "application/json",
    data: Uint8Array.from(message.getData_asU8()),
    metadata: Uint8Array.from(message.getCustomMetadata_asU8()),
  };
}

export function expectedOfAppend(options: BatchAppendReq.Options): Expected {
  if (options.hasAny()) return "any";
  if (options.hasNoStream()) return "no-stream";
  if (options.hasStreamExists()) return "stream-exists";
  return BigInt(options.getStreamPosition());
}

export function expectedOfRemoval(options: DeleteReq.Options | TombstoneReq.Options): Expected {
  if (options.hasAny()) return "any";
  if (options.hasNoStream()) return "no-stream";
  if (options.hasStreamExists()) return "stream-exists";
  return BigInt(options.getRevision());
}

/** The answer to an append; `request` says which. */
export function appendAnswer(request: BatchAppendReq, written: Written): BatchAppendResp {
  switch (written.kind) {
    case "done": {
      const success = new streamsPb.BatchAppendResp.Success();
      success.setCurrentRevision(String(written.revision));
      if (written.position !== undefined) {
        const position = new sharedPb.AllStreamPosition();
        position.setCommitPosition(String(written.position));
        position.setPreparePosition(String(written.position));
        success.setPosition(position);
      }
      return answerTo(request).setSuccess(success);
    }
    case "conflict": {
      const conflict = new sharedPb.WrongExpectedVersion();
      if (written.current >= 0n) conflict.setCurrentStreamRevision(String(written.current));
      else conflict.setCurrentNoStream(new sharedPb.Empty());
      return refusal(request, "WrongExpectedVersion", conflict.serializeBinary());
    }
    case "ended":
      return refusal(request, "StreamDeleted", new sharedPb.StreamDeleted().serializeBinary());
  }
}

/** The name of what is packed into a refusal, or the text of one without. */
export type Refusal =
  | "Timeout"
  | "AccessDenied"
  | "MaximumAppendSizeExceeded"
  | "WrongExpectedVersion"
  | "StreamDeleted";

export function refusal(
  request: BatchAppendReq,
  name: Refusal,
  packed: Uint8Array = new Uint8Array(0),
): BatchAppendResp {
  const details = new anyPb.Any();
  details.pack(Uint8Array.from(packed), `event_store.client.${name}`);
  return answerTo(request).setError(statusOf(name, details));
}

export function notHandled(request: BatchAppendReq, message: string): BatchAppendResp {
  const details = new anyPb.Any();
  details.pack(new Uint8Array(0), "google.protobuf.Empty");
  return answerTo(request).setError(statusOf(message, details));
}

function statusOf(message: string, details: anyPb.Any): Status {
  const refused = new statusPb.Status();
  refused.setMessage(message);
  refused.setDetails(details);
  return refused;
}

function answerTo(request: BatchAppendReq): BatchAppendResp {
  const answer = new streamsPb.BatchAppendResp();
  answer.setCorrelationId(request.getCorrelationId());
  answer.setStreamIdentifier(request.getOptions()?.getStreamIdentifier());
  return answer;
}
