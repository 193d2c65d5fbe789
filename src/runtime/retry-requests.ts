import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { RetryItem, StepsRecorded } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { besideStream, retryStream } from "../core/streams.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Processes } from "../ports/processes.ts";
import { refusedKey } from "./quarantine.ts";
import { readOne, seekLast } from "./seek.ts";
import { type Draft, StreamTail } from "./stream-tail.ts";

/** What was decided about a refused record. */
export type Decision =
  /** It is to be put back, as the I-th; or is not after all, if its unit has not taken it: `withdrawn` says why. */
  | { readonly kind: "asked"; readonly item: number; readonly withdrawn?: string }
  | { readonly kind: "discarded"; readonly reason: string };

/** What has been decided about refused records of a pipeline, up to the end of its stream of retries. */
export interface Decisions {
  /** By {@link refusedKey}; those that nothing was decided about are not there. */
  readonly of: ReadonlyMap<string, Decision>;
  /** The I that the next one gets. */
  readonly next: number;
  /** Revision of the last event, −1 if there is none. */
  readonly revision: number;
}

export async function readDecisions(log: EventLog, pipeline: string): Promise<Decisions> {
  const stream = retryStream(pipeline);
  const of = new Map<string, Decision>();
  const asked = new Map<number, string>();
  let next = 0;
  let revision = -1;
  if ((await log.streamInfo(stream)) === undefined) return { of, next, revision };
  for await (const recorded of log.read(stream)) {
    const { type, data } = decodeEvent(recorded);
    revision = recorded.revision;
    if (type === "RetryAsked") {
      for (const [at, item] of data.items.entries()) {
        const key = refusedKey(data.unit, item);
        of.set(key, { kind: "asked", item: data.first + at });
        asked.set(data.first + at, key);
      }
      next = data.first + data.count;
    } else if (type === "RecordsDiscarded") {
      const { reason } = data;
      for (const item of data.items) of.set(refusedKey(data.unit, item), { kind: "discarded", reason });
    } else if (type === "RetriesWithdrawn") {
      const withdrawn = data.reason;
      for (const item of data.items) {
        const key = asked.get(item);
        if (key !== undefined) of.set(key, { kind: "asked", item, withdrawn });
      }
    }
  }
  return { of, next, revision };
}

/** A refused record that is decided about. */
export interface Chosen {
  readonly unit: string;
  readonly place: RetryItem;
  /** It was asked for, as the I-th, and is given up now. */
  readonly asked?: number;
}

export interface DecisionContext {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly processes: Processes;
  readonly pipeline: string;
}

/**
 * Decides about refused records: that they are put back or, with a reason, that nobody is to put them back. `choose` is
 * given what was decided before, and is asked again where another process came first; what it throws ends it. Up to
 * LIMITS.retryItems × LIMITS.retryEvents records are decided about together or not at all. Answers how many were.
 */
export async function decide(
  context: DecisionContext,
  choose: (before: Decisions) => Promise<readonly Chosen[]>,
  reason?: string,
): Promise<number> {
  const { log, pipeline } = context;
  for (let attempt = 1; ; attempt++) {
    const before = await readDecisions(log, pipeline);
    const chosen = await choose(before);
    const tail = await StreamTail.open(log, retryStream(pipeline));
    // The end that was read is the one that is appended to: whatever comes between is met by `choose`.
    if (tail.revision === before.revision) {
      try {
        await append(context, tail, before.next, chosen, reason);
        return chosen.length;
      } catch (error) {
        if (!isHeadwaterError(error, "WrongExpectedRevision")) throw error;
      }
    }
    if (attempt === LIMITS.retryAttempts) {
      throw new HeadwaterError("Overloaded", "other processes keep asking for records of this pipeline", {
        where: retryStream(pipeline),
        hint: "Try again in a while.",
      });
    }
  }
}

async function append(
  { clock, processes }: DecisionContext,
  tail: StreamTail,
  next: number,
  chosen: readonly Chosen[],
  reason: string | undefined,
): Promise<void> {
  const { host, pid } = processes;
  const mark = { v: 1, wall: clock.now(), host, pid } as const;
  const drafts: Draft[] = [];
  let first = next;
  const withdrawn = new Map<string, number[]>();
  for (const { unit, asked } of chosen) {
    if (asked !== undefined) withdrawn.set(unit, [...(withdrawn.get(unit) ?? []), asked]);
  }
  for (const [unit, items] of withdrawn) {
    const event = { ...mark, first, count: 0, unit, items, reason: reason ?? "" } as const;
    drafts.push({ type: "RetriesWithdrawn", event });
  }
  for (const { unit, items } of inGroups(chosen.filter(({ asked }) => asked === undefined))) {
    const count = items.length;
    if (reason === undefined) {
      drafts.push({ type: "RetryAsked", event: { ...mark, first, count, unit, items } });
      first += count;
    } else {
      drafts.push({ type: "RecordsDiscarded", event: { ...mark, first, count: 0, unit, items, reason } });
    }
  }
  for (let at = 0; at < drafts.length; at += LIMITS.retryEvents) {
    await tail.append(drafts.slice(at, at + LIMITS.retryEvents));
  }
}

/** Records of one unit together, in the order in which they are given. */
function inGroups(chosen: readonly Chosen[]): { readonly unit: string; readonly items: RetryItem[] }[] {
  const groups: { readonly unit: string; readonly items: RetryItem[] }[] = [];
  const open = new Map<string, RetryItem[]>();
  for (const { unit, place } of chosen) {
    let items = open.get(unit);
    if (items === undefined || items.length === LIMITS.retryItems) {
      items = [];
      open.set(unit, items);
      groups.push({ unit, items });
    }
    items.push(place);
  }
  return groups;
}

/** What became of a record that was asked for. */
export interface Retried {
  readonly fate: "went on" | "withdrawn" | "quarantined again" | "rejected again" | "duplicate";
  /** `steps_P.G.Q@N` or `source_P.S@N`, and its N; `undefined`: it was not taken in. */
  readonly address: string | undefined;
  readonly n: number | undefined;
}

const NOT_TAKEN = { address: undefined, n: undefined };

/** What became of the I-th record that was asked for; `undefined` while its unit has not taken it. */
export async function retriedAs(
  log: EventLog,
  pipeline: string,
  unit: string,
  item: number,
): Promise<Retried | undefined> {
  const retries = retryStream(pipeline);
  const info = await log.streamInfo(unit);
  if (info === undefined) return undefined;
  const taken = (data: object): number => {
    if ("to" in data) return (data as StepsRecorded).to[retries] ?? 0;
    if ("cursors" in data) return (data.cursors as Readonly<Record<string, number>>)[retries] ?? 0;
    return "retry" in data ? (data.retry as number) : 0;
  };
  const before = (await seekLast(log, unit, ({ data }) => taken(data) <= item)) ?? 0;
  if (before >= info.lastRevision) return undefined;
  const { type, data } = decodeEvent(await readOne(log, unit, before + 1));
  if (type === "StepsRecorded") {
    const row = decodeDeltas(data.parents ?? new Uint8Array(), data.count).indexOf(item);
    const n = data.first + row;
    const again = await quarantinedAs(log, unit, data, n);
    const fate = again === undefined ? "went on" : again === "Withdrawn" ? "withdrawn" : "quarantined again";
    return { fate, address: `${unit}@${n}`, n };
  }
  if (type !== "RecordsAccepted") return undefined;
  const { retried, first } = data;
  const at = retried === undefined ? -1 : decodeDeltas(retried.items).indexOf(item);
  if (retried !== undefined && at >= 0) {
    const n = first + (decodeDeltas(retried.rows)[at] ?? 0);
    return { fate: "went on", address: `${unit}@${n}`, n };
  }
  const { rejected } = data;
  for (let event = 0; event < (rejected?.events ?? 0); event++) {
    const stream = besideStream(unit, "quarantine");
    const recorded = await readOne(log, stream, (rejected?.revision ?? 0) + event);
    const { records } = decodeEventAs(recorded, "RecordsRejected");
    if (records.some((record) => record.item === item)) return { fate: "rejected again", ...NOT_TAKEN };
  }
  return { fate: "duplicate", ...NOT_TAKEN };
}

/** With which code an input is in quarantine; `undefined`: it is not. */
async function quarantinedAs(
  log: EventLog,
  unit: string,
  { quarantine }: StepsRecorded,
  n: number,
): Promise<string | undefined> {
  for (let event = 0; event < (quarantine?.events ?? 0); event++) {
    const recorded = await readOne(
      log,
      besideStream(unit, "quarantine"),
      (quarantine?.revision ?? 0) + event,
    );
    const { records } = decodeEventAs(recorded, "RecordsQuarantined");
    const found = records.find((record) => record.n === n);
    if (found !== undefined) return found.code;
  }
  return undefined;
}
