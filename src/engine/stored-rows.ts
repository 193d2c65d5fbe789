import { decodeDeltas } from "../core/columns.ts";
import type { CapturedRows } from "../core/events.ts";

/** `inner` of `outer`, where `undefined` is the identity. */
export function composeRows(
  outer: readonly number[] | undefined,
  inner: readonly number[] | undefined,
): readonly number[] | undefined {
  if (outer === undefined) return inner;
  if (inner === undefined) return outer;
  return outer.map((row) => inner[row] as number);
}

/**
 * The rows of a stored stage that reach one of its outlets, ascending; `undefined`: all of them. `parentOf`
 * answers the parent column of a stage, `inputOf` its input stage, `countOf` its number of rows. Shared with the
 * decoder, which has to number the records of a block in the same way.
 */
export function storedRows(
  outlets: readonly { readonly stage: number; readonly stored: number }[],
  parentOf: (stage: number) => readonly number[] | undefined,
  inputOf: (stage: number) => number,
  countOf: (stage: number) => number,
): number[] | undefined {
  const reaching = new Set<number>();
  for (const outlet of outlets) {
    const rows = rowsInStored(outlet, parentOf, inputOf);
    if (rows === undefined) return undefined;
    if (outlets.length === 1) return rows.length === countOf(outlet.stored) ? undefined : [...rows];
    for (const row of rows) reaching.add(row);
  }
  return [...reaching].sort((a, b) => a - b);
}

/** For each row of a stage its row in the stage `stored` above it; `undefined`: the same. */
export function rowsInStored(
  outlet: { readonly stage: number; readonly stored: number },
  parentOf: (stage: number) => readonly number[] | undefined,
  inputOf: (stage: number) => number,
): readonly number[] | undefined {
  let rows: readonly number[] | undefined;
  for (let stage = outlet.stage; stage !== outlet.stored; stage = inputOf(stage)) {
    rows = composeRows(rows, parentOf(stage));
  }
  return rows;
}

/** The rows of a stage whose records are in its blocks, ascending. */
export interface StoredRows {
  /** `undefined`: all of them. */
  readonly payload: readonly number[] | undefined;
  readonly transit: readonly number[];
}

/** The place of a record in the blocks of its stage. */
export interface StoredAt {
  readonly beside: "payload" | "transit";
  readonly index: number;
}

/** What an event says of where records are, given the rows that leave (`undefined`: all). */
export function partedRows(
  captured: readonly CapturedRows[] | undefined,
  stage: number,
  leaving: readonly number[] | undefined,
  count: number,
): StoredRows {
  const said = captured?.find((one) => one.stage === stage);
  if (said === undefined) return { payload: leaving, transit: [] };
  if (said.rows === undefined) return { payload: undefined, transit: [] };
  const payload = decodeDeltas(said.rows);
  const kept = new Set(payload);
  const all = leaving ?? Array.from({ length: count }, (_, row) => row);
  return { payload, transit: all.filter((row) => !kept.has(row)) };
}

export function placeAmong({ payload, transit }: StoredRows, row: number): StoredAt | undefined {
  const index = payload === undefined ? row : payload.indexOf(row);
  if (index >= 0) return { beside: "payload", index };
  const other = transit.indexOf(row);
  return other < 0 ? undefined : { beside: "transit", index: other };
}
