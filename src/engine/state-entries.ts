import { encodeCanonical, type Value } from "../core/canonical.ts";
import { ColumnReader, decodeByteTexts, decodeDeltas, decodePlain, decodeRuns } from "../core/columns.ts";
import type { Key } from "../pipeline/definition.ts";
import { readMembers } from "./members.ts";
import { type Frozen, freezeValues, thaw } from "./packed-values.ts";
import {
  CHANGED,
  FIRED,
  type JoinSide,
  type JoinSnapshot,
  type ReduceSnapshot,
  type StageSnapshot,
  type WindowSnapshot,
} from "./state-snapshot.ts";

/** What a reduce keeps of a key. */
export interface ReduceStateEntry {
  readonly key: Key;
  readonly total: Value;
  /** Address of the key's last step: the input of the segment, `steps_P.G.Q@N`. */
  readonly last: string;
}

/** What a window stage keeps of a key. */
export interface WindowStateEntry {
  readonly key: Key;
  /** The stream in which the N's of members are: `steps_P.G.Q`. */
  readonly stream: string;
  /** By their start. */
  readonly windows: readonly OpenWindow[];
}

/** A window that is open, or still kept for records that come late. */
export interface OpenWindow {
  /** Milliseconds since 1970; `null` of a global window. */
  readonly start: number | null;
  /** Exclusive; `null` of a global window. */
  readonly end: number | null;
  /** What its aggregate has come to, before it is made a result. */
  readonly total: Value;
  /** How many records are in it. */
  readonly records: number;
  /** Whether its end has passed, so that it is kept for late records only. */
  readonly fired: boolean;
  /** Whether something was added since it last gave a result. */
  readonly changed: boolean;
  /** Which records: runs of N's, ascending, as [first, how many]. */
  readonly members: readonly (readonly [first: number, count: number])[];
}

/** What a join keeps of a key: the records that may still meet others, each side by event time. */
export interface JoinStateEntry {
  readonly key: Key;
  readonly left: readonly KeptRecord[];
  readonly right: readonly KeptRecord[];
}

/** A record that a join keeps. */
export interface KeptRecord {
  /** Event time, milliseconds since 1970. */
  readonly time: number;
  readonly record: Value;
  /** The input of the segment that it was: `steps_P.G.Q@N`. */
  readonly address: string;
  /** Whether it has met a record of the other side. Known of the left records of a left join alone. */
  readonly matched?: boolean;
}

/** What a stage keeps of one key: which of them its `kind` says. */
export type StateEntry = ReduceStateEntry | WindowStateEntry | JoinStateEntry;

/** A stage's state in one partition. */
export interface PartitionState {
  /** The partition's stream, `steps_P.G.Q`: what addresses are in. */
  readonly stream: string;
  readonly snapshot: StageSnapshot;
}

/**
 * The keys of several partitions and what is kept of each, in the order of the keys' canonical bytes. Values are
 * decoded as they are asked for.
 */
export function* stateEntries(parts: readonly PartitionState[]): Generator<StateEntry, void, undefined> {
  const cursors = parts.map((part) => new KeyCursor(part));
  for (;;) {
    let least: KeyCursor | undefined;
    for (const cursor of cursors) {
      if (cursor.bytes === undefined) continue;
      if (least?.bytes === undefined || cursor.bytes.compare(least.bytes) < 0) least = cursor;
    }
    if (least === undefined) return;
    yield least.entry();
    least.advance();
  }
}

/** What is kept of one key, which is not −0: one entry, or none. */
export function entriesOfKey(parts: readonly PartitionState[], key: Key): readonly StateEntry[] {
  return parts.flatMap(({ stream, snapshot }) => {
    const index = snapshot.keys.findIndex((other) => Object.is(other, key));
    return index < 0 ? [] : [entriesOf(stream, snapshot)(index)];
  });
}

/** Goes through the keys of one partition. */
class KeyCursor {
  readonly #keys: readonly Key[];
  readonly #entryAt: (index: number) => StateEntry;
  #index = -1;
  /** Canonical bytes of the key that is next; `undefined` at the end. */
  bytes: Buffer | undefined;

  constructor({ stream, snapshot }: PartitionState) {
    this.#keys = snapshot.keys;
    this.#entryAt = entriesOf(stream, snapshot);
    this.advance();
  }

  entry(): StateEntry {
    return this.#entryAt(this.#index);
  }

  advance(): void {
    this.#index++;
    const done = this.#index >= this.#keys.length;
    this.bytes = done ? undefined : Buffer.from(encodeCanonical(this.#keys[this.#index]));
  }
}

/** Answers what is kept of the key with an index. */
function entriesOf(stream: string, snapshot: StageSnapshot): (index: number) => StateEntry {
  switch (snapshot.kind) {
    case "reduce":
      return reduceEntries(stream, snapshot);
    case "window":
      return windowEntries(stream, snapshot);
    case "join":
    case "tableJoin":
      return joinEntries(stream, snapshot);
  }
}

function reduceEntries(stream: string, { keys, ...columns }: ReduceSnapshot) {
  const last = decodePlain(columns.last, keys.length);
  const totals = freezeValues(columns.totals, keys.length);
  return (index: number): ReduceStateEntry => ({
    key: keys[index] as Key,
    total: decoded(totals[index]),
    last: `${stream}@${last[index]}`,
  });
}

function windowEntries(stream: string, { keys, ...columns }: WindowSnapshot) {
  const firsts = firstsOf(columns.windows, keys.length);
  const starts = decodeDeltas(columns.starts);
  const ends = decodeDeltas(columns.ends, starts.length);
  const flagsOf = decodeRuns(columns.flags, starts.length);
  const totals = freezeValues(columns.totals, starts.length);
  const reader = new ColumnReader(columns.members);
  const membersOf = starts.map(() => readMembers(reader));
  const windowAt = (at: number): OpenWindow => {
    const flags = flagsOf[at] as number;
    const runs = membersOf[at] as number[];
    const members = Array.from(
      { length: runs.length / 2 },
      (_, run) => [runs[2 * run] as number, runs[2 * run + 1] as number] as const,
    );
    // A window has a length; one without an end has both kept as 0.
    const endless = starts[at] === 0 && ends[at] === 0;
    return {
      start: endless ? null : (starts[at] as number),
      end: endless ? null : (ends[at] as number),
      total: decoded(totals[at]),
      records: members.reduce((sum, [, count]) => sum + count, 0),
      fired: (flags & FIRED) !== 0,
      changed: (flags & CHANGED) !== 0,
      members,
    };
  };
  return (index: number): WindowStateEntry => ({
    key: keys[index] as Key,
    stream,
    windows: range(firsts, index).map(windowAt),
  });
}

function joinEntries(stream: string, { kind, keys, ...sides }: JoinSnapshot) {
  const left = keptRecords(stream, sides.left, keys.length, kind === "join");
  const right = keptRecords(stream, sides.right, keys.length, false);
  return (index: number): JoinStateEntry => ({
    key: keys[index] as Key,
    left: left(index),
    right: right(index),
  });
}

function keptRecords(stream: string, side: JoinSide, keys: number, tellsMatched: boolean) {
  const firsts = firstsOf(side.counts, keys);
  const times = decodeDeltas(side.times);
  const ns = decodeDeltas(side.ns, times.length);
  const flags = decodeRuns(side.flags, times.length);
  const places = decodeByteTexts(side.places, times.length);
  const records = freezeValues(side.records, times.length);
  return (index: number): KeptRecord[] =>
    range(firsts, index).map((at) => ({
      time: times[at] as number,
      record: decoded(records[at]),
      address: `${stream}@${ns[at]}`,
      // An inner join does not note it; its records have no place among those that may come out alone.
      ...(tellsMatched && places[at] !== "" && { matched: flags[at] === 1 }),
    }));
}

/** Where the items of each key begin, and where the last ones end. */
function firstsOf(counts: Uint8Array, keys: number): number[] {
  let end = 0;
  const firsts = [0];
  for (const count of decodeRuns(counts, keys)) {
    end += count;
    firsts.push(end);
  }
  return firsts;
}

function range(firsts: readonly number[], index: number): number[] {
  const first = firsts[index] as number;
  return Array.from({ length: (firsts[index + 1] as number) - first }, (_, at) => first + at);
}

function decoded(frozen: Frozen | undefined): Value {
  return thaw(frozen) as Value;
}
