import { LIMITS } from "../core/limits.ts";
import { reasonOf } from "../engine/thrown.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { ReexecutedPiece } from "./reexecution.ts";
import type { RefusedRow } from "./selection.ts";

/** Why a stage refused a record. */
export interface RefusalReason {
  readonly code: string;
  readonly message: string;
}

/**
 * What becomes now of a record that a stage had refused: it fails with the same error (code and message), or with another
 * one; it passes; it does not come to the stage any more; or that cannot be told, as what is needed was let go of.
 */
export type RefusedFate = "same-error" | "other-error" | "passed" | "absent" | "unverifiable";

/** A record that a stage had refused, and what becomes of it now. */
export interface RefusedAgain {
  /** `steps_P.G.Q@N.K/stage` in the pipeline. */
  readonly address: string;
  readonly stage: string;
  readonly ordinal: number;
  readonly fate: RefusedFate;
  readonly before: RefusalReason;
  /** Why it is refused now, where it is. */
  readonly now?: RefusalReason;
}

/** How many refused records have come to what, with the first ones of each fate. */
export interface RefusedReport {
  readonly records: number;
  readonly sameError: number;
  readonly otherError: number;
  readonly passed: number;
  readonly absent: number;
  readonly unverifiable: number;
  readonly examples: readonly RefusedAgain[];
}

/** What it is now, or why it is refused. */
export type RefusedNow =
  | { readonly fate: "passed" | "absent" | "unverifiable" }
  | { readonly failed: RefusalReason };

export function refusedAgain({ refused, stage, ordinal }: RefusedRow, now: RefusedNow): RefusedAgain {
  const { code = "", message = "" } = refused.record.kind === "quarantined" ? refused.record.quarantined : {};
  const before = { code, message };
  const known = { address: refused.address, stage, ordinal, before };
  if ("fate" in now) return { ...known, fate: now.fate };
  const same = now.failed.code === code && now.failed.message === message;
  return { ...known, fate: same ? "same-error" : "other-error", now: now.failed };
}

export function reportRefused(all: readonly RefusedAgain[]): RefusedReport {
  const counts = new Map<RefusedFate, number>();
  const examples: RefusedAgain[] = [];
  for (const one of all) {
    const before = counts.get(one.fate) ?? 0;
    counts.set(one.fate, before + 1);
    if (before < LIMITS.diffExamples) examples.push(one);
  }
  const of = (fate: RefusedFate) => counts.get(fate) ?? 0;
  return {
    records: all.length,
    sameError: of("same-error"),
    otherError: of("other-error"),
    passed: of("passed"),
    absent: of("absent"),
    unverifiable: of("unverifiable"),
    examples,
  };
}

/** Watches history being run again for what becomes of refused records. */
export class RefusedWatch {
  readonly #waiting = new Map<string, RefusedRow[]>();
  readonly #told = new Map<RefusedRow, RefusedNow>();
  readonly #all: readonly RefusedRow[];

  constructor(all: readonly RefusedRow[]) {
    this.#all = all;
    for (const row of all) {
      const key = keyOf(row.refused.unit, row.refused.place.n);
      this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), row]);
    }
  }

  /** Sees inputs that were run again, from N = `first` on. */
  see({ stream, segment, rows, result }: ReexecutedPiece, first: number): void {
    for (let input = 0; input < rows.count; input++) {
      for (const row of this.#waiting.get(keyOf(stream, first + input)) ?? []) {
        const at = segment.stages.findIndex(({ definition }) => definition.name === row.stage);
        const given = segment.stages[at]?.input;
        if (given === undefined) continue;
        const ahead = given === SEGMENT_INPUT ? undefined : result.stages[given];
        const start = ahead?.origin?.indexOf(input) ?? input;
        const wanted = start + (ahead?.origin === undefined ? 0 : (row.refused.place.k ?? 0));
        const came = start >= 0 && (ahead?.origin === undefined || ahead.origin[wanted] === input);
        const failure = came ? result.stages[at]?.failures.find((one) => one.row === wanted) : undefined;
        const fate = came ? "passed" : "absent";
        this.#told.set(row, failure === undefined ? { fate } : { failed: shortOf(failure.error) });
      }
    }
  }

  /** What has become of all of them; of those that were not run it cannot be told. */
  end(): RefusedAgain[] {
    return this.#all.map((row) => refusedAgain(row, this.#told.get(row) ?? { fate: "unverifiable" }));
  }
}

function keyOf(stream: string, n: number): string {
  return `${stream}@${n}`;
}

function shortOf(error: unknown): RefusalReason {
  const { code, message } = reasonOf(error);
  return { code, message };
}
