import type { Command } from "commander";
import type { ReplayReport } from "../app/replay-types.ts";
import type { ReplaySelection } from "../app/selection-types.ts";
import { formatNumber } from "./format.ts";
import { readingsOfKey } from "./key-text.ts";

/** Options that say which records a replay tells of. */
export interface SelectionOptions {
  readonly source?: string;
  readonly key?: string;
  readonly record?: string;
  readonly quarantined?: boolean;
  readonly stage?: string;
}

export const SELECTION_HELP = `--source, --key, --record and --quarantined say what is told of, not what is run: windows, joins and totals need all
that went into them, so partitions with state are run from where their state is known (with --what-if all of the window
is run). --key is read as JSON if it is a number, true, false, null or a quoted text, else as text: the records that
their source gave this key, or that a keyed stage took by it, and all that comes of them. --record: all that it was made
of, and all that comes of it. --quarantined: what stages refused; whether it fails again, with the same error, or passes.`;

/** Adds the options of {@link SelectionOptions}. */
export function withSelectionOptions(command: Command): Command {
  return command
    .option("--source <name>", "only what descends from this source")
    .option("--key <key>", "only records with this key, and what comes of them")
    .option("--record <record>", "only this record: what it came from, and what it went into")
    .option("--quarantined", "only records that stages refused")
    .option("--stage <name>", "with --key or --quarantined: at this stage alone");
}

/** {@link SelectionOptions} as the application wants them. */
export function selectionRequest({
  source,
  key: text,
  record,
  quarantined,
  stage,
}: SelectionOptions): ReplaySelection {
  const [key] = text === undefined ? [] : readingsOfKey(text);
  return {
    ...(source !== undefined && { source }),
    ...(key !== undefined && { key }),
    ...(record !== undefined && { record }),
    ...(quarantined !== undefined && { quarantined }),
    ...(stage !== undefined && { stage }),
  };
}

/** What is told of, for people; nothing where it is everything. */
export function selectionLines(only: ReplayReport["only"]): string[] {
  if (only === undefined) return [];
  const { source, key, record, quarantined, stage } = only;
  const parts = [
    ...(key === undefined ? [] : [`key ${typeof key === "bigint" ? key : JSON.stringify(key)}`]),
    ...(record === undefined ? [] : [`record ${record}`]),
    ...(quarantined ? ["quarantined"] : []),
    ...(stage === undefined ? [] : [`stage ${stage}`]),
    ...(source === undefined ? [] : [`source ${source}`]),
  ];
  return [`only       ${parts.join(", ")}`];
}

/** Of how many records the key cannot be told, for people. */
export function unknownKeyLines({ keysUnknown }: Pick<ReplayReport, "keysUnknown">): string[] {
  if (keysUnknown === undefined) return [];
  return [
    `  of ${formatNumber(keysUnknown)} more it cannot be told whether they have the key: they are not kept`,
  ];
}

/** What becomes of refused records, for people. */
export function refusedLines(report: ReplayReport["quarantined"]): string[] {
  if (report === undefined) return [];
  const { records, sameError, otherError, passed, absent, unverifiable, examples } = report;
  const counts = [
    [sameError, "fail with the same error"],
    [otherError, "fail with another error"],
    [passed, "pass"],
    [absent, "do not come to the stage any more"],
    [unverifiable, "cannot be run again"],
  ] as const;
  const told = counts.filter(([count]) => count > 0).map(([count, what]) => `${formatNumber(count)} ${what}`);
  return [
    `refused    ${formatNumber(records)}: ${told.join(", ")}`,
    ...examples.flatMap(({ address, fate, before, now }) =>
      fate === "same-error"
        ? []
        : [`  ${address}: ${before.message}${now === undefined ? ` (${FATES[fate]})` : ` → ${now.message}`}`],
    ),
  ];
}

const FATES = {
  "same-error": "fails again",
  "other-error": "fails otherwise",
  passed: "passes",
  absent: "does not come to the stage",
  unverifiable: "cannot be run again",
} as const;
