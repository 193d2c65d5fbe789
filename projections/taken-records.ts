import { type Cursors, type StepsRecorded, TAKEN_OF_GROUP, type TypedEvent } from "../src/core/events.ts";
import { besideStream } from "../src/core/streams.ts";
import { type AuditedEvent, type AuditItem, takerOf } from "./audit.ts";
import { type HandedOn, handedOn } from "./handed-on.ts";
import type { KeptStreams } from "./kept-streams.ts";
import { lostRecordsOf } from "./lost-rows.ts";
import { stepRowsOf } from "./step-rows.ts";
import { type Edge, type Reader, Topology } from "./topology.ts";

/** A record as the event says that handed it on. */
export interface TakenRecord {
  readonly upstream: TypedEvent;
  readonly from: HandedOn;
  readonly at: number;
}

/** Something about what an event takes that is not as it has to be. */
export interface TakingFault {
  /** The row among the event's inputs that it is about; `undefined`: none of them. */
  readonly row: number | undefined;
  /** The record that it is about, where it is none of the event's inputs. */
  readonly address: string | undefined;
  readonly code: string;
  readonly message: string;
}

/** What a step event takes of the streams upstream. */
export interface Taking {
  readonly reader: Reader;
  /** For each input where it comes from; `undefined` for what has no parent, or one that is not there. */
  readonly records: readonly (TakenRecord | undefined)[];
  /** Inputs whose parents were let go. */
  readonly unverifiable: number;
  readonly faults: readonly TakingFault[];
}

interface Held {
  readonly revision: number;
  readonly typed: TypedEvent;
  readonly end: number;
}

const takings = new WeakMap<AuditedEvent, Taking | undefined>();

/**
 * What has been handed on to each partition and sink and not been taken yet, as audits that follow records from stream
 * to stream have to know it. It holds those upstream events that a taker is in the middle of, and no others.
 */
export class TakenRecords {
  readonly #topology = new Topology();
  readonly #held = new Map<string, Map<string, Held[]>>();
  readonly #kept: KeptStreams;
  /** Takers that an event has come of. */
  readonly #begun = new Set<string>();
  /** Takers in the middle of a group that they parted, of which the events before were let go of. */
  readonly #amid = new Set<string>();

  constructor(kept: KeptStreams) {
    this.#kept = kept;
  }

  /** To be told of every item, before anything is asked about it. */
  see(item: AuditItem): void {
    if (item.kind === "event" && item.typed?.type === "PipelineDeployed") {
      this.#topology.deploy(item.stream, item.typed.data);
    }
    if (item.kind !== "upstream") return;
    const { data } = item.typed;
    if (!("count" in data)) return;
    let streams = this.#held.get(item.taker);
    if (streams === undefined) {
      streams = new Map();
      this.#held.set(item.taker, streams);
    }
    const held = streams.get(item.stream) ?? [];
    const { revision, typed } = item;
    const entry = { revision, typed, end: data.first + data.count };
    // Whoever goes back to where it was comes by the same events again.
    const before = held.findIndex((other) => other.revision >= revision);
    streams.set(item.stream, before < 0 ? [...held, entry] : [...held.slice(0, before), entry]);
  }

  /** The sink or partition as the deployment has it; `undefined` if the log does not say. */
  reader(stream: string, deployment: Uint8Array): Reader | undefined {
    return this.#topology.reader(stream, deployment);
  }

  /** Whether a source's records have ids of their sender's, so that it knows one that comes twice; also if it is not known. */
  hasIds(stream: string, deployment: Uint8Array): boolean {
    const source = stream.slice(stream.indexOf(".") + 1);
    const deployed = this.#topology.deployment(stream, deployment);
    return deployed?.sources.find(({ name }) => name === source)?.id ?? true;
  }

  /** Whether a deployment is of all records of a log: it is the first one, and no fork. */
  isFromTheBeginning(stream: string, deployment: Uint8Array): boolean {
    const deployed = this.#topology.deployment(stream, deployment);
    return deployed !== undefined && deployed.from <= 0 && deployed.fork === undefined;
  }

  /** What the events held for `taker` hand on over an edge, from the record N = `from` on. */
  handed(taker: string, edge: Edge, from: number, { gaps }: Pick<Reader, "gaps"> = {}): Head {
    const held = this.#held.get(taker)?.get(edge.stream) ?? [];
    return new Head(edge, held, from, gaps && ((typed) => this.#lostOf(edge.stream, typed)));
  }

  /** Which records of a source's event were let go of; `undefined`: it is none. */
  #lostOf(stream: string, { type, data }: TypedEvent): ((n: number) => boolean) | undefined {
    if (type !== "RecordsAccepted") return undefined;
    const payload = this.#kept.firstOf(besideStream(stream, "payload"));
    return lostRecordsOf(data, { payload, transit: this.#kept.firstOf(besideStream(stream, "transit")) });
  }

  /** Whether a record that is held for a taker was let go of. */
  #isLost(taker: string, stream: string, n: number): boolean {
    for (const { typed, end } of this.#held.get(taker)?.get(stream) ?? []) {
      if (end > n) return this.#lostOf(stream, typed)?.(n) === true;
    }
    return false;
  }

  /** How many records they hand on from N = `from` up to, without, `to`. */
  count(taker: string, edge: Edge, from: number, to: number): number {
    let count = 0;
    for (const { typed, end } of this.#held.get(taker)?.get(edge.stream) ?? []) {
      const rows = end <= from ? undefined : readable(typed, edge);
      if (rows === undefined) continue;
      if (rows.first >= from && rows.end <= to) count += rows.count;
      else for (let at = 0; at < rows.count; at++) if (rows.n(at) >= from && rows.n(at) < to) count++;
    }
    return count;
  }

  /** Whether the record N = `n` of a stream may have been let go. */
  isGone(stream: string, n: number): boolean {
    return this.#kept.isRecordGone(stream, n);
  }

  /** What a step event takes. `undefined` if its deployment is not known. The same event gives the same answer. */
  taking(item: AuditedEvent, event: StepsRecorded): Taking | undefined {
    if (takings.has(item)) return takings.get(item);
    const taking = this.#take(item, event);
    takings.set(item, taking);
    return taking;
  }

  /** Lets go of what comes before the cursors at which an event ends. */
  release(item: AuditedEvent): void {
    const taker = item.typed && takerOf(item.stream, item.typed);
    const streams = taker && this.#held.get(taker.name);
    if (taker === undefined || streams === undefined) return;
    for (const [stream, held] of streams) {
      const cursor = taker.to[stream];
      if (cursor === undefined) streams.delete(stream);
      else if ((held[0]?.end ?? cursor) < cursor + 1)
        streams.set(
          stream,
          held.filter(({ end }) => end > cursor),
        );
    }
  }

  /** Lets go of all that is held for a taker, or of what is held of one stream. */
  forget(taker: string, stream?: string): void {
    if (stream === undefined) this.#held.delete(taker);
    else this.#held.get(taker)?.delete(stream);
  }

  /** Whether an event goes on with a group of which nobody can tell any more what was taken before. */
  #isAmid(item: AuditedEvent, { from }: StepsRecorded): boolean {
    const { stream } = item;
    if (from[TAKEN_OF_GROUP] === undefined) this.#amid.delete(stream);
    else if (this.#kept.isAfterGap(item) || (!this.#begun.has(stream) && this.#kept.isCut(stream)))
      this.#amid.add(stream);
    this.#begun.add(stream);
    return this.#amid.has(stream);
  }

  #take(item: AuditedEvent, event: StepsRecorded): Taking | undefined {
    const { stream } = item;
    const isAmid = this.#isAmid(item, event);
    const reader = this.reader(stream, event.deployment);
    if (reader === undefined) return undefined;
    // What was put back comes from no stream upstream: see PutBackRecords.
    if (event.entry !== undefined) {
      return {
        reader,
        records: new Array<undefined>(event.count).fill(undefined),
        unverifiable: 0,
        faults: [],
      };
    }
    const heads = reader.edges.map((edge) => this.handed(stream, edge, event.from[edge.stream] ?? 0, reader));
    const order = recordOrder(event.sources ?? []);
    const faults: TakingFault[] = [];
    const isGone = ({ edge, next }: Head) =>
      next !== undefined && this.isGone(edge.stream, next.from.n(next.at));
    // What may be there or not, as the store has tidied up by now, tells nothing.
    for (const head of heads) while (isGone(head)) head.advance();
    const cut = isAmid || heads.some(({ edge }) => this.isGone(edge.stream, event.from[edge.stream] ?? 0));
    let ahead = cut ? 0 : skip(heads, event.from[TAKEN_OF_GROUP] ?? 0, order, event.to);
    let unverifiable = 0;
    const records: (TakenRecord | undefined)[] = [];
    if (event.count > 0) {
      const { inputs } = stepRowsOf(event);
      const { streams = [] } = event;
      for (let row = 0; row < event.count; row++) {
        if (inputs.firings.has(row)) {
          records.push(undefined);
          continue;
        }
        const name = streams[inputs.upstream?.[row] ?? 0] ?? "";
        const n = inputs.parents[row] as number;
        const k = inputs.parentKs?.[row] ?? 0;
        const path = inputs.paths?.[row] ?? "";
        const found = take(heads, name, n, k, path);
        const record = found?.record;
        records.push(record);
        if (record === undefined) {
          // A fork may have taken what was let go of later.
          const lost = reader.gaps && this.#isLost(stream, name, n);
          if (lost || this.isGone(name, n)) unverifiable++;
          else
            faults.push(
              notHandedOn(
                row,
                `${name}@${n}`,
                heads.filter(({ edge }) => edge.stream === name),
                n,
                k,
              ),
            );
        } else {
          if (n >= (event.to[name] ?? 0)) ahead++;
          // Of a group that was parted, those that were taken before cannot be told where others are gone.
          for (const skipped of cut ? [] : (found?.skipped ?? []))
            faults.push(skippedFault(name, skipped, row));
        }
      }
    }
    if (!cut) faults.push(...leftBehind(heads, event.to));
    if (ahead !== (event.to[TAKEN_OF_GROUP] ?? 0)) {
      const message = `${ahead} records are taken from after the cursors on, and ${event.to[TAKEN_OF_GROUP] ?? 0} are said to be`;
      if (!cut) faults.push({ row: undefined, address: undefined, code: "BadCursor", message });
    }
    return { reader, records, unverifiable, faults };
  }
}

/** What cannot be made sense of hands on nothing: what is wrong with it is told when it has its turn. */
function readable(typed: TypedEvent, edge: Edge): HandedOn | undefined {
  try {
    return handedOn(typed, edge);
  } catch {
    return undefined;
  }
}

type LostOf = (event: TypedEvent) => ((n: number) => boolean) | undefined;

/** The records of an edge that are held, one after the other. */
export class Head {
  readonly edge: Edge;
  #held: readonly Held[];
  readonly #from: number;
  readonly #lostOf: LostOf | undefined;
  #lost: ((n: number) => boolean) | undefined;
  #event = -1;
  #rows: HandedOn | undefined;
  #at = 0;
  /** `undefined`: there is none held. */
  next: TakenRecord | undefined;

  /** `lostOf` tells which records of an event it passes over, if it does. */
  constructor(edge: Edge, held: readonly Held[], from: number, lostOf?: LostOf) {
    this.edge = edge;
    this.#lostOf = lostOf;
    this.#held = held;
    this.#from = from;
    this.advance();
  }

  /** Another one at the same place, which goes on by itself. */
  copy(): Head {
    const copy = new Head(this.edge, [], this.#from, this.#lostOf);
    copy.#held = this.#held;
    copy.#lost = this.#lost;
    copy.#event = this.#event;
    copy.#rows = this.#rows;
    copy.#at = this.#at;
    copy.next = this.next;
    return copy;
  }

  advance(): void {
    for (;;) {
      const rows = this.#rows;
      while (rows !== undefined && this.#at < rows.count) {
        const at = this.#at++;
        if (rows.n(at) < this.#from || this.#lost?.(rows.n(at))) continue;
        this.next = { upstream: (this.#held[this.#event] as Held).typed, from: rows, at };
        return;
      }
      const held = this.#held[++this.#event];
      if (held === undefined) {
        this.next = undefined;
        return;
      }
      this.#rows = held.end <= this.#from ? undefined : readable(held.typed, this.edge);
      this.#lost = this.#lostOf?.(held.typed);
      this.#at = 0;
    }
  }
}

/** Takes the record N = `n`, K = `k` of a stream; `skipped` are those before it that were not taken. */
function take(
  heads: readonly Head[],
  stream: string,
  n: number,
  k: number,
  path: string,
): { readonly record: TakenRecord; readonly skipped: readonly TakenRecord[] } | undefined {
  const isOf = ({ edge }: Head) => edge.stream === stream;
  const at = heads.find((head) => isOf(head) && head.next !== undefined && isRecord(head.next, n, k, path));
  // Records before it are passed over on that edge alone that holds it.
  const head = at ?? heads.find((other) => isOf(other) && holds(other, n, k, path));
  if (head === undefined) return undefined;
  const skipped: TakenRecord[] = [];
  for (; head.next !== undefined; head.advance()) {
    const { next: record } = head;
    if (isRecord(record, n, k, path)) {
      head.advance();
      return { record, skipped };
    }
    skipped.push(record);
  }
  return undefined;
}

function holds(head: Head, n: number, k: number, path: string): boolean {
  const ahead = head.copy();
  while (ahead.next !== undefined && comesBefore(ahead.next, n, k)) ahead.advance();
  return ahead.next !== undefined && isRecord(ahead.next, n, k, path);
}

function isRecord({ from, at }: TakenRecord, n: number, k: number, path: string): boolean {
  return from.n(at) === n && from.k(at) === k && from.path(at) === path;
}

function comesBefore({ from, at }: TakenRecord, n: number, k: number): boolean {
  return from.n(at) < n || (from.n(at) === n && from.k(at) < k);
}

/**
 * Passes over the records, in logical order, that an event before has taken of a group that it parted. Answers how many
 * of them come after the cursors at which this one ends.
 */
function skip(
  heads: readonly Head[],
  taken: number,
  order: (a: TakenRecord, b: TakenRecord) => number,
  to: Cursors,
): number {
  let ahead = 0;
  for (let left = taken; left > 0; left--) {
    let first: Head | undefined;
    for (const head of heads) {
      if (head.next === undefined) continue;
      if (first?.next === undefined || order(head.next, first.next) < 0) first = head;
    }
    if (first?.next === undefined) break;
    if (first.next.from.n(first.next.at) >= (to[first.edge.stream] ?? 0)) ahead++;
    first.advance();
  }
  return ahead;
}

/** Logical order: by ordinal, origin and path. `origins` are in their order. */
export function recordOrder(origins: readonly string[]): (a: TakenRecord, b: TakenRecord) => number {
  return (a, b) => {
    const byOrdinal = a.from.ordinal(a.at) - b.from.ordinal(b.at);
    if (byOrdinal !== 0) return byOrdinal;
    const byOrigin = origins.indexOf(a.from.origin(a.at)) - origins.indexOf(b.from.origin(b.at));
    if (byOrigin !== 0) return byOrigin;
    const [one, other] = [a.from.path(a.at), b.from.path(b.at)];
    return one < other ? -1 : one > other ? 1 : 0;
  };
}

function notHandedOn(row: number, parent: string, heads: readonly Head[], n: number, k: number): TakingFault {
  const passed = heads.some(({ next }) => next === undefined || !comesBefore(next, n, k));
  const message = passed
    ? `the input's parent ${parent}.${k} is not handed on to it, or was taken before`
    : `the input's parent ${parent}.${k} is not there`;
  return { row, address: undefined, code: "NotHandedOn", message };
}

function skippedFault(stream: string, { from, at }: TakenRecord, row: number): TakingFault {
  const message = "the record is passed over: others that come after it are taken";
  return { row, address: addressOf(stream, from, at), code: "PassedOver", message };
}

/** Records before the cursors at which an event ends that it has not taken. */
function leftBehind(heads: readonly Head[], to: Cursors): TakingFault[] {
  const faults: TakingFault[] = [];
  for (const { edge, next } of heads) {
    const cursor = to[edge.stream] ?? 0;
    if (next === undefined || next.from.n(next.at) >= cursor) continue;
    const message = "the record is not taken by the partition that it was handed on to";
    const address = addressOf(edge.stream, next.from, next.at);
    faults.push({ row: undefined, address, code: "NotTaken", message });
  }
  return faults;
}

/** The address of a record as its stream has it. */
export function addressOf(stream: string, from: HandedOn, at: number): string {
  const n = `${stream}@${from.n(at)}`;
  return stream.startsWith("source_") ? n : `${n}.${from.k(at)}`;
}
