import type { RunNotice } from "../app/run-types.ts";
import { formatNumber } from "./format.ts";

/** Notices of one kind that are printed; the rest is counted. */
const MOST_OF_A_KIND = 10;

/** What is said of many notices of a kind: "and 5 more rejected records". */
const MORE: Readonly<Record<RunNotice["kind"], string>> = {
  rejected: "rejected records",
  quarantined: "quarantined records",
  deployed: "deployments",
  resumed: "inputs gone on with",
  "standing-by": "times of standing by",
  "begun-again": "new beginnings",
  log: "messages of the log",
  restarted: "restarts",
  "no-input": "sources without input",
};

/** Turns a run's notices into lines, at most ten of a kind. */
export class Notices {
  private readonly counts = new Map<RunNotice["kind"], number>();

  /** The line to print now; `undefined` when there have been enough of its kind. */
  line(notice: RunNotice): string | undefined {
    const count = (this.counts.get(notice.kind) ?? 0) + 1;
    this.counts.set(notice.kind, count);
    return count <= MOST_OF_A_KIND ? `headwater: ${describe(notice)}` : undefined;
  }

  /** What was left out, one line a kind. */
  rest(): string[] {
    return [...this.counts]
      .filter(([, count]) => count > MOST_OF_A_KIND)
      .map(([kind, count]) => `headwater: and ${formatNumber(count - MOST_OF_A_KIND)} more ${MORE[kind]}`);
  }
}

function describe(notice: RunNotice): string {
  switch (notice.kind) {
    case "deployed":
      return `deployed ${notice.pipeline} version ${notice.version} (${notice.deployment.slice(0, 12)})`;
    case "rejected":
      return `${notice.where}: ${notice.error.message}`;
    case "quarantined":
      return `quarantined in ${notice.stage}: ${notice.message}: ${notice.address}`;
    case "resumed":
      return `${notice.input}: ${formatNumber(notice.records)} records were taken in before; going on after them`;
    case "standing-by":
    case "begun-again":
    case "log":
      return notice.message;
    case "no-input":
      return `the source ${notice.source} has no input: name one with --input ${notice.source}=FILE`;
    case "restarted":
      return `${notice.node} was started again: ${notice.message}`;
  }
}
