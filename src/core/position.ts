import { HeadwaterError } from "./errors.ts";

/**
 * A place in the order of all events of a log. Opaque to everyone but the adapter that made it, except that
 * positions of one log compare. Never part of anything that is hashed: it belongs to a store, not to history.
 */
export interface Position {
  readonly commit: bigint;
  readonly prepare: bigint;
}

/** Before the first event of any log. */
export const START: Position = { commit: 0n, prepare: 0n };

/** After the last event of any log. */
export const END: Position = { commit: 2n ** 64n - 1n, prepare: 2n ** 64n - 1n };

/** Negative, zero or positive as `a` is before, at or after `b`. */
export function comparePositions(a: Position, b: Position): number {
  if (a.commit !== b.commit) return a.commit < b.commit ? -1 : 1;
  if (a.prepare !== b.prepare) return a.prepare < b.prepare ? -1 : 1;
  return 0;
}

/** `C:1234/P:1234`, the form that EventStoreDB's own tools show. */
export function formatPosition(position: Position): string {
  return `C:${position.commit}/P:${position.prepare}`;
}

/** Reads what {@link formatPosition} wrote. Throws `InvalidPosition` for anything else. */
export function parsePosition(text: string): Position {
  const match = /^C:(\d{1,20})\/P:(\d{1,20})$/.exec(text);
  const commit = BigInt(match?.[1] ?? -1);
  const prepare = BigInt(match?.[2] ?? -1);
  if (match === null || commit > END.commit || prepare > END.prepare) {
    throw new HeadwaterError("InvalidPosition", `not a position of a log: ${JSON.stringify(text)}`, {
      hint: "A position looks like C:1234/P:1234.",
    });
  }
  return { commit, prepare };
}
