import sharedPb, { type StreamIdentifier } from "@eventstore/db-client/generated/shared_pb.js";
import streamsPb, {
  type BatchAppendReq,
  type DeleteReq,
  type ReadReq,
  type TombstoneReq,
} from "@eventstore/db-client/generated/streams_pb.js";
import { comparePositions, END, type Position, START } from "../../core/position.ts";
import type { Direction, ExpectedRevision, NewEvent } from "../../ports/event-log.ts";
import { BOUNDS } from "./bounds.ts";

/** Which streams, in the server's terms: names that begin with one of these, or all that are not its own. */
export type NameFilter = { readonly prefixes: readonly string[] } | { readonly everything: true };

export interface StreamRead {
  /** As the server has it. */
  readonly stream: string;
  readonly direction: Direction;
  /** Forwards the start if absent, backwards the end. */
  readonly from?: number | undefined;
  readonly count: number;
}

/** A read of a stream. At its end the server also says which the stream's last revision is. */
export function streamRead({ stream, direction, from, count }: StreamRead): ReadReq {
  const place = new streamsPb.ReadReq.Options.StreamOptions();
  place.setStreamIdentifier(identifier(stream));
  if (from !== undefined) place.setRevision(String(from));
  else if (direction === "forwards") place.setStart(new sharedPb.Empty());
  else place.setEnd(new sharedPb.Empty());
  const control = new streamsPb.ReadReq.Options.ControlOption();
  control.setCompatibility(1);
  const options = readOptions(direction);
  options.setStream(place);
  options.setCount(countText(count));
  options.setNoFilter(new sharedPb.Empty());
  options.setControlOption(control);
  return withOptions(options);
}

export interface AllRead {
  readonly direction: Direction;
  /** Forwards inclusive, backwards exclusive. */
  readonly from: Position;
  readonly filter: NameFilter | undefined;
  readonly count: number;
}

export function allRead({ direction, from, filter, count }: AllRead): ReadReq {
  const options = readOptions(direction);
  options.setAll(place(from));
  options.setCount(countText(count));
  setFilter(options, filter);
  return withOptions(options);
}

/** A subscription to what comes from now on. */
export function allSubscription(filter: NameFilter): ReadReq {
  const options = readOptions("forwards");
  options.setAll(place(END));
  options.setSubscription(new streamsPb.ReadReq.Options.SubscriptionOptions());
  setFilter(options, filter);
  return withOptions(options);
}

/**
 * One append, to be repeated as it is. Has no deadline in it: the server would measure that by its own clock, and
 * refuse everything that comes from a machine whose clock is behind. Its own time-out applies.
 */
export function batchAppend(
  correlation: string,
  stream: string,
  expected: number | "no-stream",
  events: readonly NewEvent[],
): BatchAppendReq {
  const options = new streamsPb.BatchAppendReq.Options();
  options.setStreamIdentifier(identifier(stream));
  if (expected === "no-stream") options.setNoStream(new sharedPb.Empty());
  else options.setStreamPosition(String(expected));
  const request = new streamsPb.BatchAppendReq();
  request.setCorrelationId(uuid(correlation));
  request.setOptions(options);
  for (const event of events) request.addProposedMessages(proposedMessage(event));
  request.setIsFinal(true);
  return request;
}

export function deleteRequest(stream: string, expected: ExpectedRevision): DeleteReq {
  const options = new streamsPb.DeleteReq.Options();
  setExpected(options, stream, expected);
  const request = new streamsPb.DeleteReq();
  request.setOptions(options);
  return request;
}

export function tombstoneRequest(stream: string, expected: ExpectedRevision): TombstoneReq {
  const options = new streamsPb.TombstoneReq.Options();
  setExpected(options, stream, expected);
  const request = new streamsPb.TombstoneReq();
  request.setOptions(options);
  return request;
}

function setExpected(
  options: DeleteReq.Options | TombstoneReq.Options,
  stream: string,
  expected: ExpectedRevision,
): void {
  options.setStreamIdentifier(identifier(stream));
  if (expected === "any") options.setAny(new sharedPb.Empty());
  else if (expected === "no-stream") options.setNoStream(new sharedPb.Empty());
  else if (expected === "stream-exists") options.setStreamExists(new sharedPb.Empty());
  else options.setRevision(String(expected));
}

/** Events whose data is not JSON for the server: it would parse it, and show numbers that are not the ones meant. */
const CONTENT_TYPE = "application/octet-stream";

/** The type of the events that hold a stream's settings. Only these are JSON for the server, too: it acts on them. */
export const SETTINGS_TYPE = "$metadata";

function proposedMessage({ id, type, data, metadata }: NewEvent): BatchAppendReq.ProposedMessage {
  const message = new streamsPb.BatchAppendReq.ProposedMessage();
  message.setId(uuid(id));
  const map = message.getMetadataMap();
  map.set("type", type);
  map.set("content-type", type === SETTINGS_TYPE ? "application/json" : CONTENT_TYPE);
  message.setData(data);
  message.setCustomMetadata(metadata);
  return message;
}

function readOptions(direction: Direction): ReadReq.Options {
  const { FORWARDS, BACKWARDS } = streamsPb.ReadReq.Options.ReadDirection;
  const ids = new streamsPb.ReadReq.Options.UUIDOption();
  ids.setString(new sharedPb.Empty());
  const options = new streamsPb.ReadReq.Options();
  options.setReadDirection(direction === "forwards" ? FORWARDS : BACKWARDS);
  options.setResolveLinks(false);
  options.setUuidOption(ids);
  return options;
}

function place(position: Position): ReadReq.Options.AllOptions {
  const all = new streamsPb.ReadReq.Options.AllOptions();
  if (comparePositions(position, START) === 0) all.setStart(new sharedPb.Empty());
  else if (comparePositions(position, END) === 0) all.setEnd(new sharedPb.Empty());
  else {
    const at = new streamsPb.ReadReq.Options.Position();
    at.setCommitPosition(String(position.commit));
    at.setPreparePosition(String(position.prepare));
    all.setPosition(at);
  }
  return all;
}

/** The server's own streams begin with a dollar sign. */
const NOT_SYSTEM = "^[^$]";

function setFilter(options: ReadReq.Options, filter: NameFilter | undefined): void {
  if (filter === undefined) {
    options.setNoFilter(new sharedPb.Empty());
    return;
  }
  const names = new streamsPb.ReadReq.Options.FilterOptions.Expression();
  if ("everything" in filter) names.setRegex(NOT_SYSTEM);
  else names.setPrefixList([...filter.prefixes]);
  const expression = new streamsPb.ReadReq.Options.FilterOptions();
  expression.setStreamIdentifier(names);
  expression.setMax(BOUNDS.searchWindow);
  expression.setCheckpointintervalmultiplier(Math.ceil(BOUNDS.progressEvents / BOUNDS.searchWindow));
  options.setFilter(expression);
}

function withOptions(options: ReadReq.Options): ReadReq {
  const request = new streamsPb.ReadReq();
  request.setOptions(options);
  return request;
}

function identifier(stream: string): StreamIdentifier {
  const named = new sharedPb.StreamIdentifier();
  named.setStreamName(Buffer.from(stream));
  return named;
}

function uuid(text: string) {
  const id = new sharedPb.UUID();
  id.setString(text);
  return id;
}

function countText(count: number): string {
  return String(Number.isFinite(count) ? count : Number.MAX_SAFE_INTEGER);
}
