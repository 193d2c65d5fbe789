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
