import fc from "fast-check";
import { afterAll, beforeAll, expect } from "vitest";

/** How many runs each property gets: `HEADWATER_SIM_RUNS=5000 npx vitest run test/simulation` for a long search. */
const RUNS = Number(process.env["HEADWATER_SIM_RUNS"] ?? 0);

/** So many runs, unless a long search asks for more. */
export const runs = (short: number) => ({ numRuns: RUNS > 0 ? RUNS : short });

/** A property with rare cases is tried so many times as often as usual before they count as not being there. */
const TIMES_MOST = 10;

/**
 * Checks a property, and that its cases have really been met: `met` says of each whether it has. Which ones come is
 * chance, so it goes on with others until all have come.
 */
export async function assertMet<Cases>(
  property: fc.IAsyncProperty<Cases>,
  parameters: fc.Parameters<Cases>,
  met: () => Readonly<Record<string, boolean>>,
): Promise<void> {
  const all = () => Object.values(met()).every(Boolean);
  const { seed } = fc.readConfigureGlobal();
  for (let times = 0; times === 0 || (times < TIMES_MOST && !all()); times++)
    await fc.assert(property, { ...(seed !== undefined && { seed: seed + times }), ...parameters });
  expect(Object.entries(met()).filter(([, came]) => !came)).toEqual([]);
}

/** So long may a test take, in milliseconds, unless it is a long search. */
export const timeLimit = (short: number) => (RUNS > 0 ? 24 * 3_600_000 : short);

/**
 * XState's development build tells of messages to actors that have stopped. A mock would keep all of that, which is
 * gigabytes in a long search.
 */
export function withoutWarnings(): void {
  const { warn } = console;
  beforeAll(() => {
    console.warn = () => {};
  });
  afterAll(() => {
    console.warn = warn;
  });
}
