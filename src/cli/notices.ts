import type { RunNotice } from "../app/run-types.ts";
import { formatNumber, jsonable } from "./format.ts";

/** Notices of one kind that are printed; the rest is counted. */
const MOST_OF_A_KIND = 10;

/** Characters of a parameter's value that are shown. */
const SHOWN_CHARS = 60;

/** What is said of many notices of a kind: "and 5 more rejected records". */
const MORE: Readonly<Record<RunNotice["kind"], string>> = {
  rejected: "rejected records",
  quarantined: "quarantined records",
  deployed: "deployments",
  resumed: "inputs gone on with",
  "standing-by": "times of standing by",
  "begun-again": "new beginnings",
  checkpoint: "messages about checkpoints",
  log: "messages of the log",
  restarted: "restarts",
  "no-input": "sources without input",
  "time-ahead": "records whose time is far ahead",
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

type Deployed = Extract<RunNotice, { readonly kind: "deployed" }>;

/** `, big.least=5 (its default)`, for each. */
function inForce(parameters: Deployed["parameters"]): string {
  return parameters
    .map(({ stage, name, value, isDefault }) => {
      const text = JSON.stringify(jsonable(value, true));
      const shown = text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
      return `, ${stage}.${name}=${shown}${isDefault ? " (its default)" : ""}`;
    })
    .join("");
}

function describe(notice: RunNotice): string {
  switch (notice.kind) {
    case "deployed":
      return `deployed ${notice.pipeline} version ${notice.version} (${notice.deployment.slice(0, 12)})${inForce(notice.parameters)}`;
    case "rejected":
      return `${notice.where}: ${notice.error.message}`;
    case "quarantined":
      return `quarantined in ${notice.stage}: ${notice.message}: ${notice.address}`;
    case "resumed":
      return `${notice.input}: ${formatNumber(notice.records)} records were taken in before; going on after them`;
    case "standing-by":
    case "begun-again":
    case "checkpoint":
    case "log":
      return notice.message;
    case "no-input":
      return `the source ${notice.source} has no input: name one with --input ${notice.source}=FILE`;
    case "time-ahead":
      return `${notice.source}: the event time ${new Date(notice.time).toISOString()} is far ahead of all before it (by more than the watermark's maxAhead), and moves no window: ${notice.where}`;
    case "restarted":
      return `${notice.node} was started again: ${notice.message}`;
  }
}
