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
  /** The address of the recorded output; of one that was added, that of the fork's. */
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

/**
 * Compares outputs of two sides, each in logical order, record by record: those at the same place (ordinal, origin and
 * path) are the same, or changed; what is on one side alone is gone or added. Those that neither side tells of are passed
 * over. `origins` is the order of both sides'
 * origins: see {@link commonOrder}. Each difference is handed to `take`, if it is given, before the next is looked for.
 * Memory is that of one batch of each side.
 */
export async function diffOutputs(
  before: AsyncIterable<OutputRows>,
  after: AsyncIterable<OutputRows>,
  origins: readonly string[],
  take?: (difference: OutputDifference) => void | Promise<void>,
): Promise<DiffCounts> {
  const ranks = new Map(origins.map((name, rank) => [name, rank]));
  const [a, b] = [new Side(before, ranks), new Side(after, ranks)];
  const counts = { same: 0, changed: 0, added: 0, gone: 0 };
  let unverifiable = 0;
  try {
    for (;;) {
      if (a.spent) await a.load();
      if (b.spent) await b.load();
      if (a.ended && b.ended) return unverifiable === 0 ? counts : { ...counts, unverifiable };
      const order = a.ended ? 1 : b.ended ? -1 : a.compare(b);
      if (!((order <= 0 && a.told) || (order >= 0 && b.told))) {
        if (order <= 0) a.next();
        if (order >= 0) b.next();
        continue;
      }
      const same = order === 0 ? a.equals(b) : false;
      const doubtful = same === undefined || (order <= 0 && a.doubtful) || (order >= 0 && b.doubtful);
      if (same || doubtful) {
        if (doubtful) unverifiable++;
        else counts.same++;
        if (order <= 0) a.next();
        if (order >= 0) b.next();
        continue;
      }
      const kind = order === 0 ? "changed" : order < 0 ? "gone" : "added";
      counts[kind]++;
      const difference = take && describe(kind, a, b);
      if (order <= 0) a.next();
      if (order >= 0) b.next();
      if (difference !== undefined) await take?.(difference);
    }
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
}

function describe(kind: OutputDifference["kind"], a: Side, b: Side): OutputDifference {
  const at = kind === "added" ? b : a;
  const place = { kind, ordinal: at.ordinal, key: at.key, from: at.address };
  const before = kind === "added" || a.digested ? {} : { before: a.value };
  const after = kind === "gone" || b.digested ? {} : { after: b.value };
  if (!("before" in before && "after" in after)) return { ...place, ...before, ...after };
  return { ...place, ...before, ...after, fields: differingFields(before.before, after.after) };
}

/** Where one side has come to. */
class Side {
  readonly #batches: AsyncIterator<OutputRows>;
  readonly #ranks: ReadonlyMap<string, number>;
  #batch: OutputRows | undefined;
  #row = 0;
  ended = false;

  constructor(batches: AsyncIterable<OutputRows>, ranks: ReadonlyMap<string, number>) {
    this.#batches = batches[Symbol.asyncIterator]();
    this.#ranks = ranks;
  }

  get spent(): boolean {
    return !this.ended && this.#row >= (this.#batch?.rows.count ?? 0);
  }

  async load(): Promise<void> {
    const { done, value } = await this.#batches.next();
    this.#row = 0;
    this.#batch = done ? undefined : value;
    this.ended = done === true;
  }

  next(): void {
    this.#row++;
  }

  async close(): Promise<void> {
    await this.#batches.return?.();
  }

  /** Whether the row was asked for. */
  get told(): boolean {
    return this.#at.isTold(this.#row);
  }

  /** Which of both comes first in logical order; 0: they are at the same place. */
  compare(other: Side): number {
    if (this.ordinal !== other.ordinal) return this.ordinal - other.ordinal;
    const rank = this.#rank - other.#rank;
    if (rank !== 0) return rank;
    const [path, theirs] = [this.#path, other.#path];
    return path < theirs ? -1 : path > theirs ? 1 : 0;
  }

  /** Whether both have the same record; `undefined`: of one not even the digest is known. */
  equals(other: Side): boolean | undefined {
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

  get #rank(): number {
    const name = this.#at.originOf(this.#row);
    return name === RETRIED_NAME ? -1 : (this.#ranks.get(name) ?? this.#ranks.size);
  }

  get #path(): string {
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
