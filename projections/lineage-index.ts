import type { Term } from "../src/core/index-terms.ts";

/** What the projection is given: an event by its number in the view, and the terms that it is found by. */
export interface IndexedEvent {
  readonly number: number;
  readonly terms: Iterable<Term>;
}

/** Terms of many events, the low bits and the event of each, for one value of the high bits: sorted, 8 bytes an entry. */
export interface IndexPage {
  readonly bucket: number;
  readonly entries: Uint8Array;
}

/** The entries that are not in pages yet. */
export interface LineageIndexState {
  readonly terms: Float64Array;
  readonly events: Uint32Array;
  count: number;
}

/** Entries that make up a page of each bucket: at that size a page of a bucket fills a page of a B-tree, about. */
const ENTRIES_PER_CHUNK = 115_200;
export const BUCKETS = 256;
const BUCKET_SIZE = 2 ** 32;
const ENTRY_BYTES = 8;
/** Entries of pages that are merged, at most. */
const PLACES = 2 ** 21;
const OPEN_ENTRY_BYTES = 12;

/**
 * An index from terms to events, as a fold: entries are collected, and each time there are enough of them they become
 * one sorted page a bucket. So it grows by sequential writes, however the terms lie; pages are merged once, later, so that
 * there are few to look into.
 */
export const lineageIndex = {
  name: "lineage-index",
  version: 3,
  /** `entries`: how many make up a chunk. */
  init: (entries = ENTRIES_PER_CHUNK): LineageIndexState => ({
    terms: new Float64Array(entries),
    events: new Uint32Array(entries),
    count: 0,
  }),
  /** Takes an event's terms in; answers the pages that became full with it, often none. */
  apply: (state: LineageIndexState, { number, terms }: IndexedEvent): IndexPage[][] => {
    const full: IndexPage[][] = [];
    for (const term of terms) {
      state.terms[state.count] = term;
      state.events[state.count] = number;
      state.count++;
      if (state.count < state.terms.length) continue;
      full.push(pagesOf(state));
      state.count = 0;
    }
    return full;
  },
};

function pagesOf({ terms, events }: LineageIndexState): IndexPage[] {
  const members = Array.from({ length: BUCKETS }, (): number[] => []);
  for (const [index, term] of terms.entries()) members[bucketOf(term)]?.push(index);
  // Also where it is empty: each bucket has as many pages, so that one that is lost is missed.
  return members.map((indexes, bucket) => {
    // Those of one term stay in the order in which they came.
    indexes.sort((a, b) => (terms[a] as number) - (terms[b] as number));
    const entries = new Uint8Array(indexes.length * ENTRY_BYTES);
    const view = new DataView(entries.buffer);
    for (const [place, index] of indexes.entries()) {
      view.setUint32(place * ENTRY_BYTES, (terms[index] as number) - bucket * BUCKET_SIZE);
      view.setUint32(place * ENTRY_BYTES + 4, events[index] as number);
    }
    return { bucket, entries };
  });
}

/** One page of several of a bucket, which are given in the order in which they were made. */
export function mergePages(pages: readonly Uint8Array[]): Uint8Array {
  const all = Buffer.concat(pages);
  const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
  // Term and place in one number, which is below 2^53: numbers are sorted much faster than objects.
  const order = new Float64Array(all.length / ENTRY_BYTES);
  for (let at = 0; at < order.length; at++) order[at] = view.getUint32(at * ENTRY_BYTES) * PLACES + at;
  order.sort();
  const merged = new Uint8Array(all.length);
  for (const [at, key] of order.entries()) {
    const from = (key % PLACES) * ENTRY_BYTES;
    merged.set(all.subarray(from, from + ENTRY_BYTES), at * ENTRY_BYTES);
  }
  return merged;
}

/** The bucket of a term. */
export function bucketOf(term: Term): number {
  return Math.floor(term / BUCKET_SIZE);
}

/** The numbers of the events that a page has a term for, ascending as they came. */
export function* eventsInPage(entries: Uint8Array, term: Term): Generator<number> {
  const wanted = term - bucketOf(term) * BUCKET_SIZE;
  const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
  let low = 0;
  let high = entries.length / ENTRY_BYTES;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (view.getUint32(middle * ENTRY_BYTES) < wanted) low = middle + 1;
    else high = middle;
  }
  for (let at = low * ENTRY_BYTES; at < entries.length && view.getUint32(at) === wanted; at += ENTRY_BYTES) {
    yield view.getUint32(at + 4);
  }
}

/** The numbers of the events that the entries which are in no page yet have a term for. */
export function* eventsInState({ terms, events, count }: LineageIndexState, term: Term): Generator<number> {
  for (let at = terms.indexOf(term); at >= 0 && at < count; at = terms.indexOf(term, at + 1)) {
    yield events[at] as number;
  }
}

/** The state as bytes: of each entry the term (8 bytes, a double) and the event (4 bytes). */
export function encodeState({ terms, events, count }: LineageIndexState): Uint8Array {
  const bytes = new Uint8Array(count * OPEN_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < count; at++) {
    view.setFloat64(at * OPEN_ENTRY_BYTES, terms[at] as number);
    view.setUint32(at * OPEN_ENTRY_BYTES + 8, events[at] as number);
  }
  return bytes;
}

export function decodeState(bytes: Uint8Array, entries?: number): LineageIndexState {
  const state = lineageIndex.init(entries);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  state.count = Math.min(state.terms.length, Math.floor(bytes.length / OPEN_ENTRY_BYTES));
  for (let at = 0; at < state.count; at++) {
    state.terms[at] = view.getFloat64(at * OPEN_ENTRY_BYTES);
    state.events[at] = view.getUint32(at * OPEN_ENTRY_BYTES + 8);
  }
  return state;
}
