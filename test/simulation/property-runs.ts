import { afterAll, beforeAll } from "vitest";

/** How many runs each property gets: `HEADWATER_SIM_RUNS=5000 npx vitest run test/simulation` for a long search. */
const RUNS = Number(process.env["HEADWATER_SIM_RUNS"] ?? 0);

/** So many runs, unless a long search asks for more. */
export const runs = (short: number) => ({ numRuns: RUNS > 0 ? RUNS : short });

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
