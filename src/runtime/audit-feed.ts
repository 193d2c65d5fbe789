import type { AuditedEvent, AuditItem } from "../../projections/audit.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { decodeLeaves } from "../core/leaves.ts";
import { LIMITS } from "../core/limits.ts";
import { comparePositions } from "../core/position.ts";
import { AUDIT_STREAM, COVERED_PREFIXES } from "../core/streams.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { AuditRefused } from "./audit-refused.ts";
import { AuditUpstreams } from "./audit-upstreams.ts";
import { isStreamGone, KeptNow } from "./kept-now.ts";

/** The streams of a log that are audited; what other programs keep in it is none of our business. */
const AUDITED = { prefixes: [...COVERED_PREFIXES, "audit_"] } as const;

type LeafItem = Extract<AuditItem, { readonly kind: "leaf" }>;

/**
 * What audits see of the log as it is now, in the order that {@link AuditItem} says. History may be let go of meanwhile:
 * items are held back, a few at a time, until it was looked whether that has happened, so that whoever misses something
 * knows by then that it was let go of.
 */
export async function* auditItems(log: EventLog, signal?: AbortSignal): AsyncGenerator<AuditItem> {
  const lastOfTree = (await log.streamInfo(AUDIT_STREAM))?.lastRevision ?? -1;
  const kept = await KeptNow.of(log, AUDITED, isAudited);
  yield* kept.streams();
  let held: AuditItem[] = [];
  let bytes = 0;
  for await (const item of readItems(log, kept, lastOfTree, signal)) {
    held.push(item);
    bytes += item.kind === "event" ? item.data.length : 0;
    if (held.length < LIMITS.auditHeldItems && bytes < LIMITS.auditHeldBytes) continue;
    await kept.look();
    yield* kept.takeNews();
    yield* held;
    held = [];
    bytes = 0;
  }
  await kept.look();
  yield* kept.takeNews();
  yield* held;
}

/**
 * The items after the streams. Two readers go through the log side by side, one over its events and one over the leaves
 * of the Merkle tree, so that neither has to be remembered; and for each partition and sink one over each stream that it
 * takes records from.
 */
async function* readItems(
  log: EventLog,
  kept: KeptNow,
  lastOfTree: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<AuditItem> {
  const signed = signal === undefined ? {} : { signal };
  const { position: end } = await log.size();
  const tree = treeItems(log, lastOfTree);
  const upstreams = new AuditUpstreams(log);
  const refused = new AuditRefused(log);
  let leaves = 0;
  const nextOfTree = async () => {
    const { value } = await tree.next();
    if (value?.kind === "leaf") leaves++;
    return value;
  };
  // A leaf has an event after it unless that was let go.
  const isGone = async ({ leaf }: LeafItem) => {
    if (leaf.revision < kept.firstOf(leaf.stream)) return true;
    await kept.look();
    return leaf.revision < kept.firstOf(leaf.stream);
  };
  try {
    for await (const event of log.readAll({ filter: AUDITED, ...signed })) {
      if (comparePositions(event.position, end) > 0) break;
      if (!isAudited(event.stream)) continue;
      const item = audited(event);
      if (event.stream !== AUDIT_STREAM) {
        for (let ended = false; !ended; ) {
          const next = await nextOfTree();
          ended =
            next === undefined || (next.kind === "leaf" && (isOf(next, event) || !(await isGone(next))));
          if (next !== undefined) yield next;
        }
      } else if (item.typed?.type === "LeavesSequenced" && event.revision <= lastOfTree) {
        // What has leaves comes after the events that they are of: of these the ones are left that were let go of.
        const { first, count } = item.typed.data;
        const comesAfter = `${event.stream}@${event.revision}`;
        while (leaves < first + count) {
          const next = await nextOfTree();
          if (next === undefined) break;
          yield next.kind === "leaf" ? { ...next, comesAfter } : next;
        }
      }
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

/** The leaves of the tree, and where it was signed. */
async function* treeItems(log: EventLog, last: number): AsyncGenerator<AuditItem, undefined> {
  if (last < 0) return;
  try {
    for await (const recorded of log.read(AUDIT_STREAM)) {
      if (recorded.revision > last) return;
      yield* itemsOf(recorded);
    }
  } catch (error) {
    // That it is missing is seen by its chain, and by what was signed.
    if (!isStreamGone(error)) yield damage(error, "tree", AUDIT_STREAM);
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
