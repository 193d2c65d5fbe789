import { afterAll, beforeAll, vi } from "vitest";

/** How many runs each property gets: `HEADWATER_SIM_RUNS=5000 npx vitest run test/simulation` for a long search. */
const RUNS = Number(process.env["HEADWATER_SIM_RUNS"] ?? 0);

/** So many runs, unless a long search asks for more. */
export const runs = (short: number) => ({ numRuns: RUNS > 0 ? RUNS : short });

/** So long may a test take, in milliseconds, unless it is a long search. */
export const timeLimit = (short: number) => (RUNS > 0 ? 24 * 3_600_000 : short);

/** XState's development build tells of messages to actors that have stopped. */
export function withoutWarnings(): void {
  beforeAll(() => {
    vi.spyOn(console, "warn").mockImplementation(() => {});
  });
  afterAll(() => {
    vi.restoreAllMocks();
  });
}
