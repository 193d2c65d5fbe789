import { decodeCanonical } from "../core/canonical.ts";
import { equalBytes, sha256 } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { Value } from "../core/value.ts";
import { differingFields } from "../engine/field-differences.ts";
import { RETRIED_NAME } from "../engine/origins.ts";
import type { OutputRows } from "./recorded-outputs.ts";

/** An output that is another in the fork, or only on one side. */
export interface OutputDifference {
  readonly kind: "changed" | "added" | "gone";
  readonly ordinal: number;
  /** The address of the record's root, and its path: as a sink's receiver knows it. */
  readonly key: string;
  /**
   * The address of the recorded output; of one that was added `PIPELINE~ID/SINK@KEY`, as where it is in the fork's streams
   * depends on what was run. Either is a RECORD.
   */
  readonly from: string;
  readonly before?: Value;
  readonly after?: Value;
  /** Of a changed one: the fields in which it differs. What was let go of is known by its digest alone. */
  readonly fields?: readonly string[];
}

/** How many outputs there are of each kind. */
export interface DiffCounts {
  readonly same: number;
  readonly changed: number;
  readonly added: number;
  readonly gone: number;
  /** Such as cannot be compared, because they are made of records that were let go of; absent: none. */
  readonly unverifiable?: number;
}

/** What is compared: the outputs of two sides, each in logical order. */
export interface ComparedOutputs {
  readonly before: AsyncIterable<OutputRows>;
  readonly after: AsyncIterable<OutputRows>;
  /**
   * Those of `before` that are of records that were put back, where these would be if nothing had been refused: they
   * take the place of what `before` has of them. See {@link outputsAtHome}.
   */
  readonly putBack?: AsyncIterable<OutputRows> | undefined;
  /** The rank of each origin on both sides: see {@link ranksOf}. */
  rankOf(origin: string): number;
  /** What an output is named by that is only in `after`: the same wherever in the log it is. */
  nameOf(key: string): string;
}

/**
 * Compares outputs record by record: those at the same place (ordinal, origin and path) are the same, or changed; what is
 * on one side alone is gone or added. Those that neither side tells of are passed over. Each difference is handed to
 * `take`, if it is given, before the next is looked for. Memory is that of one batch of each side.
 */
export async function diffOutputs(
  { before, after, putBack, rankOf, nameOf }: ComparedOutputs,
  take?: (difference: OutputDifference) => void | Promise<void>,
): Promise<DiffCounts> {
  const then =
    putBack === undefined
      ? [new Batches(before, rankOf, false)]
      : [new Batches(before, rankOf, true), new Batches(putBack, rankOf, false)];
  const [a, b] = [new Side(then), new Side([new Batches(after, rankOf, false)])];
  const counts = { same: 0, changed: 0, added: 0, gone: 0 };
  let unverifiable = 0;
  try {
    for (;;) {
      if (a.spent) await a.load();
      if (b.spent) await b.load();
      if (a.ended && b.ended) return unverifiable === 0 ? counts : { ...counts, unverifiable };
      const order = a.ended ? 1 : b.ended ? -1 : comparePlaces(a.head, b.head);
      if (!((order <= 0 && a.head.told) || (order >= 0 && b.head.told))) {
        if (order <= 0) a.next();
        if (order >= 0) b.next();
        continue;
      }
      const same = order === 0 ? a.head.equals(b.head) : false;
      const doubtful =
        same === undefined || (order <= 0 && a.head.doubtful) || (order >= 0 && b.head.doubtful);
      if (same || doubtful) {
        if (doubtful) unverifiable++;
        else counts.same++;
        if (order <= 0) a.next();
        if (order >= 0) b.next();
        continue;
      }
      const kind = order === 0 ? "changed" : order < 0 ? "gone" : "added";
      counts[kind]++;
      const difference = take && describe(kind, a, b, nameOf);
      if (order <= 0) a.next();
      if (order >= 0) b.next();
      if (difference !== undefined) await take?.(difference);
    }
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
}

function describe(
  kind: OutputDifference["kind"],
  a: Side,
  b: Side,
  nameOf: ComparedOutputs["nameOf"],
): OutputDifference {
  const at = kind === "added" ? b.head : a.head;
  const { ordinal, key } = at;
  const place = { kind, ordinal, key, from: kind === "added" ? nameOf(key) : at.address };
  const before = kind === "added" || a.head.digested ? {} : { before: a.head.value };
  const after = kind === "gone" || b.head.digested ? {} : { after: b.head.value };
  if (!("before" in before && "after" in after)) return { ...place, ...before, ...after };
  return { ...place, ...before, ...after, fields: differingFields(before.before, after.after) };
}

/** Which of two comes first in logical order; 0: they are at the same place. */
function comparePlaces(a: Batches, b: Batches): number {
  if (a.ordinal !== b.ordinal) return a.ordinal - b.ordinal;
  const rank = a.rank - b.rank;
  if (rank !== 0) return rank;
  const [path, theirs] = [a.path, b.path];
  return path < theirs ? -1 : path > theirs ? 1 : 0;
}

/** Where one side has come to, of which each part is in logical order. */
class Side {
  readonly #parts: readonly Batches[];
  #head: Batches | undefined;

  constructor(parts: readonly Batches[]) {
    this.#parts = parts;
  }

  /** Whether something has to be loaded before there is a head, or it has ended. */
  get spent(): boolean {
    return this.#parts.some(({ spent }) => spent);
  }

  async load(): Promise<void> {
    for (const part of this.#parts) while (part.spent) await part.load();
    this.#head = undefined;
  }

  get ended(): boolean {
    return this.#parts.every(({ ended }) => ended);
  }

  /** The next output. */
  get head(): Batches {
    if (this.#head === undefined) {
      for (const part of this.#parts) {
        if (part.ended) continue;
        if (this.#head === undefined || comparePlaces(part, this.#head) < 0) this.#head = part;
      }
    }
    if (this.#head === undefined) throw new HeadwaterError("Internal", "a side of a diff has ended");
    return this.#head;
  }

  next(): void {
    this.head.next();
    if (this.#parts.length > 1) this.#head = undefined;
  }

  async close(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.close()));
  }
}

/** Where batches in logical order have come to. */
class Batches {
  readonly #batches: AsyncIterator<OutputRows>;
  readonly #rankOf: (origin: string) => number;
  readonly #withoutPutBack: boolean;
  #batch: OutputRows | undefined;
  #row = 0;
  ended = false;

  constructor(
    batches: AsyncIterable<OutputRows>,
    rankOf: (origin: string) => number,
    withoutPutBack: boolean,
  ) {
    this.#batches = batches[Symbol.asyncIterator]();
    this.#rankOf = rankOf;
    this.#withoutPutBack = withoutPutBack;
  }

  get spent(): boolean {
    return !this.ended && this.#row >= (this.#batch?.rows.count ?? 0);
  }

  async load(): Promise<void> {
    const { done, value } = await this.#batches.next();
    this.#batch = done ? undefined : value;
    this.ended = done === true;
    this.#row = -1;
    this.next();
  }

  next(): void {
    this.#row++;
    const batch = this.#batch;
    if (!this.#withoutPutBack || batch === undefined) return;
    while (this.#row < batch.rows.count && batch.originOf(this.#row) === RETRIED_NAME) this.#row++;
  }

  async close(): Promise<void> {
    await this.#batches.return?.();
  }

  /** Whether the row was asked for. */
  get told(): boolean {
    return this.#at.isTold(this.#row);
  }

  /** Whether both have the same record; `undefined`: of one not even the digest is known. */
  equals(other: Batches): boolean | undefined {
    const [a, b] = [this.#bytes, other.#bytes];
    if (this.digested === other.digested) {
      return this.digested && a.length === 0 ? undefined : equalBytes(a, b);
    }
    const [digest, record] = this.digested ? [a, b] : [b, a];
    return digest.length === 0 ? undefined : equalBytes(digest, sha256(record));
  }

  /** Whether the row has a digest in the place of a record. */
  get digested(): boolean {
    return this.#at.rows.digested?.has(this.#row) === true;
  }

  get doubtful(): boolean {
    return this.#at.isDoubtful(this.#row);
  }

  get ordinal(): number {
    return this.#at.rows.ordinals[this.#row] as number;
  }

  get key(): string {
    return this.#at.keyOf(this.#row);
  }

  get address(): string {
    return this.#at.addressOf(this.#row);
  }

  get value(): Value {
    return decodeCanonical(this.#bytes);
  }

  get rank(): number {
    return this.#rankOf(this.#at.originOf(this.#row));
  }

  get path(): string {
    return this.#at.rows.paths?.[this.#row] ?? "";
  }

  get #bytes(): Uint8Array {
    const { buffers, starts, ends } = this.#at.rows;
    const buffer = buffers[this.#row] as Uint8Array;
    return buffer.subarray(starts[this.#row], ends[this.#row]);
  }

  get #at(): OutputRows {
    if (this.#batch === undefined) throw new HeadwaterError("Internal", "a side of a diff was not loaded");
    return this.#batch;
  }
}

/** The ranks of origins in an order: what was put back comes first, what the order does not have last. */
export function ranksOf(order: readonly string[]): (origin: string) => number {
  const ranks = new Map(order.map((name, rank) => [name, rank]));
  return (origin) => (origin === RETRIED_NAME ? -1 : (ranks.get(origin) ?? ranks.size));
}

/**
 * One order in which all of several orders hold: for each name, those that come before it in one of them come before it
 * in this one. `undefined`: two of them contradict each other.
 */
export function commonOrder(orders: readonly (readonly string[])[]): string[] | undefined {
  const left = new Set(orders.flat());
  const order: string[] = [];
  while (left.size > 0) {
    const free = [...left].find((name) =>
      orders.every((one) => {
        const at = one.indexOf(name);
        return at < 0 || one.slice(0, at).every((before) => !left.has(before));
      }),
    );
    if (free === undefined) return undefined;
    left.delete(free);
    order.push(free);
  }
  return order;
}
