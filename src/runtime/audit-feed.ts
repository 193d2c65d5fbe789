import type { AuditedEvent, AuditItem } from "../../projections/audit.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { decodeLeaves } from "../core/leaves.ts";
import { comparePositions } from "../core/position.ts";
import { AUDIT_STREAM, COVERED_PREFIXES } from "../core/streams.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { AuditRefused } from "./audit-refused.ts";
import { AuditUpstreams } from "./audit-upstreams.ts";

/** The streams of a log that are audited; what other programs keep in it is none of our business. */
const AUDITED = { prefixes: [...COVERED_PREFIXES, "audit_"] } as const;

type LeafItem = Extract<AuditItem, { readonly kind: "leaf" }>;

/**
 * What audits see of the log as it is now, in the order that {@link AuditItem} says. Two readers go through the log
 * side by side, one over its events and one over the leaves of the Merkle tree, so that neither has to be remembered;
 * and for each partition and sink one over each stream that it takes records from.
 */
export async function* auditItems(log: EventLog, signal?: AbortSignal): AsyncGenerator<AuditItem> {
  const signed = signal === undefined ? {} : { signal };
  const lastOfTree = (await log.streamInfo(AUDIT_STREAM))?.lastRevision ?? -1;
  const first = new Map<string, number>();
  for await (const { stream, firstRevision, lastRevision } of log.streams(AUDITED)) {
    if (!isAudited(stream)) continue;
    if (firstRevision > 0) first.set(stream, firstRevision);
    const next = firstRevision > 0 ? await nextAt(log, stream, firstRevision) : undefined;
    yield {
      kind: "stream",
      stream,
      first: firstRevision,
      last: lastRevision,
      ...(next !== undefined && { next }),
    };
  }
  const { position: end } = await log.size();
  const tree = treeItems(log, lastOfTree);
  const upstreams = new AuditUpstreams(log);
  const refused = new AuditRefused(log);
  // A leaf has an event after it unless that was let go.
  const isGone = ({ leaf }: LeafItem) => leaf.revision < (first.get(leaf.stream) ?? 0);
  try {
    for await (const event of log.readAll({ filter: AUDITED, ...signed })) {
      if (comparePositions(event.position, end) > 0) break;
      if (!isAudited(event.stream)) continue;
      if (event.stream !== AUDIT_STREAM) {
        for (let ended = false; !ended; ) {
          const { value: item } = await tree.next();
          ended = item === undefined || (item.kind === "leaf" && (isOf(item, event) || !isGone(item)));
          if (item !== undefined) yield item;
        }
      }
      const item = audited(event);
      yield* upstreams.before(item);
      yield* refused.before(item);
      yield item;
    }
    if (!signal?.aborted) yield* upstreams.rest();
  } catch (error) {
    yield damage(error, "log", "the log");
  }
  if (signal?.aborted) return;
  yield* tree;
  yield { kind: "end" };
}

/** The N that a source or partition has come to at its first event that is there. */
async function nextAt(log: EventLog, stream: string, revision: number): Promise<number | undefined> {
  if (!stream.startsWith("source_") && !stream.startsWith("steps_")) return undefined;
  try {
    for await (const recorded of log.read(stream, { from: revision, limit: 1 })) {
      const { data } = decodeEvent(recorded);
      return "first" in data ? data.first : undefined;
    }
  } catch (error) {
    // What is wrong with an event is told when it has its turn.
    if (!(error instanceof HeadwaterError)) throw error;
  }
  return undefined;
}

/** The leaves of the tree, and where it was signed. */
async function* treeItems(log: EventLog, last: number): AsyncGenerator<AuditItem, undefined> {
  if (last < 0) return;
  try {
    for await (const recorded of log.read(AUDIT_STREAM)) {
      if (recorded.revision > last) return;
      yield* itemsOf(recorded);
    }
  } catch (error) {
    yield damage(error, "tree", AUDIT_STREAM);
  }
}

function itemsOf(recorded: RecordedEvent): AuditItem[] {
  const address = `${recorded.stream}@${recorded.revision}`;
  try {
    const { type, data: event } = decodeEvent(recorded);
    if (type === "CheckpointSigned") {
      if (event.root instanceof Uint8Array) return [{ kind: "signed", address, event }];
    } else if (type === "LeavesSequenced") {
      const leaves = decodeLeaves(event);
      return leaves.map((leaf, row) =>
        row === leaves.length - 1 ? { kind: "leaf", leaf, ends: { address, event } } : { kind: "leaf", leaf },
      );
    }
  } catch {
    // Whatever it was: what was written can be read.
  }
  return [
    { kind: "damage", of: "tree", address, message: "an event of the Merkle tree cannot be made sense of" },
  ];
}

function audited(event: RecordedEvent): AuditedEvent {
  const { stream, revision, id, type, data, metadata } = event;
  const said = { kind: "event", stream, revision, id, type, data, metadata } as const;
  try {
    return { ...said, typed: decodeEvent(event) };
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error;
    const tooNew = error.code === "LogTooNew" ? { tooNew: error.message } : {};
    return { ...said, typed: undefined, ...tooNew };
  }
}

function damage(error: unknown, of: "log" | "tree", address: string): AuditItem {
  const told = isHeadwaterError(error, "LogDamaged") || isHeadwaterError(error, "LogTooNew");
  if (!told) throw error;
  return { kind: "damage", of, address: error.where ?? address, message: error.message };
}

function isAudited(stream: string): boolean {
  return stream === AUDIT_STREAM || COVERED_PREFIXES.some((prefix) => stream.startsWith(prefix));
}

function isOf({ leaf }: LeafItem, event: RecordedEvent): boolean {
  return leaf.stream === event.stream && leaf.revision === event.revision;
}
