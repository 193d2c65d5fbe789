import { decodePlain } from "../src/core/columns.ts";
import { equalBytes, sha256 } from "../src/core/digest.ts";
import {
  type OutputsDelivered,
  type OutputsPrepared,
  type SinkOpened,
  TAKEN_OF_GROUP,
} from "../src/core/events.ts";
import { isForkStream } from "../src/core/streams.ts";
import { type AuditedEvent, fail, isFilled, sinkTaker } from "./audit.ts";
import {
  addTo,
  beginsBehind,
  beginsWhere,
  type ConservationState,
  eventAddress,
  goOn,
  neverFalls,
  type TargetState,
  type Unit,
} from "./conservation-state.ts";

const EMPTY: TargetState = { bytes: 0, part: undefined, prepared: undefined };
const NOTHING = sha256(new Uint8Array(0));
/** The shortest line: one digit, and its end. */
const LINE_BYTES_LEAST = 2;

export function applySinkClaim(state: ConservationState, stream: string, deployment: Uint8Array): void {
  state.sinks.set(stream, { taker: stream, ...state.sinks.get(stream), deployment });
}

/** A target is begun, or begun anew because what was in it is gone. */
export function applyOpened(
  state: ConservationState,
  item: AuditedEvent,
  { target, cursors }: SinkOpened,
): void {
  const { stream } = item;
  const taker = sinkTaker(stream, target);
  const deployment = state.sinks.get(stream)?.deployment;
  state.taken.forget(taker);
  state.sinks.set(stream, { taker, deployment });
  state.units.set(taker, { next: 0, through: -1, cursors, deployment });
  state.targets.delete(targetOf(stream, target));
  // A replay's output begins where the replay does.
  if (!isFilled(target) || isForkStream(stream)) return;
  for (const [upstream, n] of Object.entries(cursors)) {
    if (n === 0) continue;
    const message = `the output begins at ${upstream}@${n}, and not at the beginning of history`;
    fail(state, eventAddress(item), "BadCursor", message);
    return;
  }
}

/** A batch is about to be handed over: the records that are next. */
export function applyPrepared(state: ConservationState, item: AuditedEvent, event: OutputsPrepared): void {
  const { stream } = item;
  const name = targetOf(stream, event.target);
  const known = state.targets.get(name);
  const before = known?.prepared;
  const unit = state.units.get(sinkTaker(stream, event.target));
  if (unit !== undefined) {
    goOn(state, item, { ...unit, through: isFilled(event.target) ? unit.through : -1 }, event);
    beginsBehind(state, item, unit.cursors, event.from);
  }
  if (before !== undefined && before.first === event.first && (unit?.next ?? event.first) === event.first) {
    const message = `another batch was prepared before, of which it is not known whether it was handed over`;
    if (before.count !== event.count) fail(state, eventAddress(item), "PreparedTwice", message);
  }
  state.targets.set(name, { ...(known ?? EMPTY), prepared: event });
}

/** What is delivered is all that is handed on between the cursors; outputs are counted without a gap. */
export function applyDelivered(state: ConservationState, item: AuditedEvent, event: OutputsDelivered): void {
  const { stream } = item;
  const taker = sinkTaker(stream, event.target);
  const deployment = state.sinks.get(stream)?.deployment;
  state.sinks.set(stream, { taker, deployment });
  const known = state.units.get(taker);
  const own = taker !== stream;
  const unit: Unit = known ?? { next: event.first, through: -1, cursors: undefined, deployment };
  goOn(state, item, own ? unit : { ...unit, through: -1 }, event);
  beginsWhere(state, item, unit.cursors, event.from);
  neverFalls(state, item, event.from, event.to);
  countHandedOn(state, item, event, taker, deployment);
  checkContent(state, item, event);
  addTo(state, stream, "delivered", event.count);
  const next = event.first + event.count;
  const through = Math.max(unit.through, event.through);
  state.units.set(taker, { next, through, cursors: event.to, deployment });
  // A target without content of its own goes on after whatever was delivered last.
  if (own) state.units.set(stream, { next, through, cursors: event.to, deployment });
}

function countHandedOn(
  state: ConservationState,
  item: AuditedEvent,
  event: OutputsDelivered,
  taker: string,
  deployment: Uint8Array | undefined,
): void {
  const reader = deployment && state.taken.reader(item.stream, deployment);
  if (reader === undefined) {
    state.unverifiable += event.count;
    return;
  }
  const gone = reader.edges.some((edge) => state.taken.isGone(edge.stream, event.from[edge.stream] ?? 0));
  let handed = (event.to[TAKEN_OF_GROUP] ?? 0) - (event.from[TAKEN_OF_GROUP] ?? 0);
  const counts = new Map<string, number>();
  for (const edge of reader.edges) {
    const { [edge.stream]: from = 0 } = event.from;
    const { [edge.stream]: to = 0 } = event.to;
    const count = state.taken.count(taker, edge, from, to);
    counts.set(edge.stream, count);
    handed += count;
  }
  if (handed === event.count) {
    state.checked += event.count;
    checkOrigins(state, item, event, counts);
  } else if (gone) state.unverifiable += event.count;
  else {
    const message = `${event.count} records are delivered of ${handed} that are handed on between its cursors`;
    fail(state, eventAddress(item), "BadCount", message);
  }
}

/** Of each stream as many records are delivered as it hands on. Where records of one ordinal are parted it is not known. */
function checkOrigins(
  state: ConservationState,
  item: AuditedEvent,
  { from, to, count, order }: OutputsDelivered,
  handed: ReadonlyMap<string, number>,
): void {
  if (order === undefined || TAKEN_OF_GROUP in from || TAKEN_OF_GROUP in to) return;
  const streams = Object.keys(to).sort();
  const said = new Array<number>(streams.length).fill(0);
  const origins = decodePlain(order);
  for (const origin of origins) if (origin < said.length) said[origin] = (said[origin] as number) + 1;
  const as =
    origins.length === count && streams.every((stream, at) => said[at] === (handed.get(stream) ?? 0));
  if (as) return;
  const message = "of its records not as many are said to come from each stream as that hands on";
  fail(state, eventAddress(item), "BadOrder", message);
}

/** What was prepared is what is delivered, and a target's content grows with it. */
function checkContent(state: ConservationState, item: AuditedEvent, event: OutputsDelivered): void {
  const { target, first, count, bytes, part, digest } = event;
  const name = targetOf(item.stream, target);
  const known = state.targets.get(name);
  const { prepared, ...before } = known ?? EMPTY;
  state.targets.set(name, { bytes, part, prepared: undefined });
  // What was said of it before may be gone.
  if (known === undefined && state.kept.isCut(item.stream)) return;
  const pending = prepared?.first === first ? prepared : undefined;
  const files = target.startsWith("files:");
  const begins = part !== before.part;
  if (pending !== undefined && pending.count !== count) {
    const message = `${count} records are delivered, and ${pending.count} were prepared`;
    fail(state, eventAddress(item), "NotAsPrepared", message);
  } else if (pending === undefined && count > 0 && (isSent(target) || (files && begins))) {
    const message = "nothing says that it was about to be handed over, so that a crash would have doubled it";
    fail(state, eventAddress(item), "NotPrepared", message);
  } else if (files && begins && part !== undefined && !pending?.parts?.includes(part)) {
    fail(state, eventAddress(item), "NotAsPrepared", `its file ${part} was not prepared`);
  }
  if (isFilled(target)) {
    const grown = begins ? bytes : bytes - before.bytes;
    // Of what was begun meanwhile only the last file's bytes are said.
    const least = begins ? Math.min(count, 1) * LINE_BYTES_LEAST : count * LINE_BYTES_LEAST;
    const isEmpty = digest !== undefined && equalBytes(digest, NOTHING);
    if (grown < least || (count === 0 && grown > 0)) {
      const message = `the output has ${bytes} bytes after ${count} more records, and had ${before.bytes} before`;
      fail(state, eventAddress(item), "BadContent", message);
    } else if (count > 0 && (digest === undefined || isEmpty)) {
      fail(state, eventAddress(item), "BadContent", "it does not have the digest of what was written");
    } else if (count === 0 && digest !== undefined && !isEmpty) {
      fail(state, eventAddress(item), "BadContent", "nothing was written, and its digest is of something");
    }
  }
}

/** Whether each batch of the target is prepared. */
function isSent(target: string): boolean {
  return target.startsWith("http:") || target === "callback:batches";
}

function targetOf(stream: string, target: string): string {
  return `${stream} ${target}`;
}
