import { describe } from "vitest";
import { appendTests } from "./event-log/appends.ts";
import type { Lacking, Make } from "./event-log/harness.ts";
import { lifecycleTests } from "./event-log/lifecycle.ts";
import { modelTests } from "./event-log/model.ts";
import { readTests } from "./event-log/reads.ts";
import { retentionTests } from "./event-log/retention.ts";
import { subscriptionTests } from "./event-log/subscriptions.ts";
import { timeIndexTests } from "./event-log/time-index.ts";

export type { Lacking, Make } from "./event-log/harness.ts";
export { TestClock } from "./event-log/harness.ts";

/**
 * Registers the tests that every adapter of the `EventLog` port has to pass.
 *
 * The log that `make` gives may hold events of other tests already: each test uses streams of its own.
 *
 * @param lacking what the adapter cannot do, each with the reason that the report shows beside the tests skipped
 */
export function describeEventLog(name: string, make: Make, lacking: Lacking = {}): void {
  describe(`${name} as an event log`, () => {
    appendTests(make, lacking);
    readTests(make, lacking);
    subscriptionTests(make, lacking);
    retentionTests(make, lacking);
    lifecycleTests(make, lacking);
    timeIndexTests(make);
    modelTests(make, lacking);
  });
}
