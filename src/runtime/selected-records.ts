import { NumberSet } from "../core/number-set.ts";

/**
 * Of which rows of a stream something is said: its inputs (of a source: what it has accepted), its outputs (which count
 * over all outlets), or else the results of the stage of this name.
 */
export type Part = string;

/** Of no stage's name. */
export const INPUTS: Part = "";
export const OUTPUTS: Part = "#";

/** Where a fork's streams go on from those of its pipeline. */
export interface SelectedBefore {
  readonly selected: SelectedRecords;
  /** The stream that has the N of a stream there; `undefined`: it is not of then. */
  streamOf(stream: string, n: number): string | undefined;
}

/** The rows of one part of a stream. */
class Rows {
  /** N's of which all rows are chosen, or some. */
  readonly any = new NumberSet();
  /** The K's of those of which some are. */
  readonly some = new Map<number, Set<number>>();
}

/**
 * Records that were chosen, by their addresses. It has a bit for each input of a partition where all that comes of it is
 * chosen, or nothing, and more only where some of it is.
 */
export class SelectedRecords {
  readonly #rows = new Map<string, Map<Part, Rows>>();
  readonly #before: SelectedBefore | undefined;

  constructor(before?: SelectedBefore) {
    this.#before = before;
  }

  /** Adds the K-th row of an N, or all of them. */
  add(stream: string, part: Part, n: number, k?: number): void {
    let parts = this.#rows.get(stream);
    if (parts === undefined) {
      parts = new Map();
      this.#rows.set(stream, parts);
    }
    let rows = parts.get(part);
    if (rows === undefined) {
      rows = new Rows();
      parts.set(part, rows);
    }
    const ks = rows.some.get(n);
    if (k === undefined) rows.some.delete(n);
    else if (ks !== undefined) ks.add(k);
    else if (!rows.any.has(n)) rows.some.set(n, new Set([k]));
    rows.any.add(n);
  }

  has(stream: string, part: Part, n: number, k: number): boolean {
    const rows = this.#rows.get(stream)?.get(part);
    if (rows?.any.has(n) && (rows.some.get(n)?.has(k) ?? true)) return true;
    const before = this.#before?.streamOf(stream, n);
    return before !== undefined && this.#before?.selected.has(before, part, n, k) === true;
  }

  /** Whether some row of an N is chosen. */
  hasSome(stream: string, part: Part, n: number): boolean {
    if (this.#rows.get(stream)?.get(part)?.any.has(n)) return true;
    const before = this.#before?.streamOf(stream, n);
    return before !== undefined && this.#before?.selected.hasSome(before, part, n) === true;
  }

  /** Whether some row of the N's from `from` up to, and without, `to` is. */
  hasBetween(stream: string, part: Part, from: number, to: number): boolean {
    if (this.#rows.get(stream)?.get(part)?.any.hasBetween(from, to)) return true;
    const before = this.#before?.streamOf(stream, from);
    return before !== undefined && this.#before?.selected.hasBetween(before, part, from, to) === true;
  }

  /** Whether there is anything of a part, or of a stream, that was chosen here (and not before it). */
  hasAny(stream: string, part?: Part): boolean {
    const parts = this.#rows.get(stream);
    return part === undefined ? parts !== undefined : parts?.has(part) === true;
  }

  /** Whether anything of the N's of a stream was chosen here. */
  touches(stream: string, from: number, to: number): boolean {
    for (const { any } of this.#rows.get(stream)?.values() ?? []) if (any.hasBetween(from, to)) return true;
    return false;
  }

  /** The highest N below `n` of which something was chosen here. */
  below(stream: string, n: number): number | undefined {
    let highest: number | undefined;
    for (const { any } of this.#rows.get(stream)?.values() ?? []) {
      const found = any.below(n);
      if (found !== undefined && (highest === undefined || found > highest)) highest = found;
    }
    return highest;
  }

  /** The lowest N of a stream of which something was chosen here. */
  lowest(stream: string): number | undefined {
    let lowest: number | undefined;
    for (const { any } of this.#rows.get(stream)?.values() ?? []) {
      const found = any.lowest;
      if (found !== undefined && (lowest === undefined || found < lowest)) lowest = found;
    }
    return lowest;
  }

  /** How many N's of a part, from `from` up to, and without, `to`, were chosen here. */
  count(stream: string, part: Part, from: number, to: number): number {
    return this.#rows.get(stream)?.get(part)?.any.countBetween(from, to) ?? 0;
  }
}
