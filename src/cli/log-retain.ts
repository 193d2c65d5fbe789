import type { Command } from "commander";
import type { RetentionChange, RetentionReport } from "../app/log.ts";
import { RETENTION_TIERS, type RetentionRule, type RetentionTier } from "../core/events.ts";
import { badUsage } from "./errors.ts";
import { formatBytes, formatNumber } from "./format.ts";
import type { Io } from "./io.ts";
import type { Call } from "./log-call.ts";

/** What `headwater log retain` is given. */
export interface RetainOptions extends Partial<Record<RetentionTier, string>> {
  readonly forever?: boolean;
  readonly asDefined?: boolean;
}

const WHAT: Readonly<Record<RetentionTier, string>> = {
  payload: "the records that are kept",
  steps: "what happened to them, and all that it refers to",
  effects: "results of effects",
  state: "snapshots of state",
};

const EXAMPLES = `
BOUNDS are age=7d, size=1GB, events=100000, or several of them with commas between: what is beyond any of them is let
go of, as soon as no partition, sink or replay needs it. They stand above what the pipeline's definition says.

Examples:
  headwater log retain orders                                   # what is in force
  headwater log retain orders --payload age=7d,size=50GB --state age=1d
  headwater log retain orders --forever                         # let go of nothing
  headwater log retain orders --as-defined                      # as the pipeline's definition says again`;

/** Adds the options of `headwater log retain` to a command. */
export function withBounds(command: Command): Command {
  for (const tier of RETENTION_TIERS) command.option(`--${tier} <bounds>`, `how long to keep ${WHAT[tier]}`);
  return command
    .option("--forever", "let go of nothing")
    .option("--as-defined", "what the pipeline's definition says counts again")
    .addHelpText("after", EXAMPLES);
}

export async function retain(
  io: Io,
  { app, common }: Call,
  pipeline: string,
  own: RetainOptions,
): Promise<void> {
  const change = changeOf(own);
  const report = await app.withLog(common.log, change === undefined ? "look" : "change", (log) =>
    app.retainLog(log, pipeline, change),
  );
  if (common.json) await io.stdout.write(`${JSON.stringify(report)}\n`);
  else if (!common.quiet) await io.stdout.write(`${linesOf(report).join("\n")}\n`);
}

function changeOf(own: RetainOptions): RetentionChange | undefined {
  const bounds = new Map<RetentionTier, string>();
  for (const tier of RETENTION_TIERS) {
    const text = own[tier];
    if (text !== undefined) bounds.set(tier, text);
  }
  const ways = Number(bounds.size > 0) + Number(own.forever ?? false) + Number(own.asDefined ?? false);
  if (ways > 1) {
    const hint = "Give bounds, or --forever, or --as-defined.";
    throw badUsage("two things are asked for at once", "--forever, --as-defined", hint);
  }
  if (own.forever) return { kind: "forever" };
  if (own.asDefined) return { kind: "as-defined" };
  return bounds.size > 0 ? { kind: "bounds", bounds } : undefined;
}

function linesOf({ pipeline, inForce, by, held }: RetentionReport): string[] {
  const says = by === "command" ? "a command" : "its definition";
  const tiers = RETENTION_TIERS.map((tier) => {
    const rule = inForce[tier];
    return `  ${tier.padEnd(8)} ${rule === undefined ? "kept for ever" : ruleText(rule)}`;
  });
  return [
    by === null ? `${pipeline}: nobody has said how long` : `${pipeline}, as ${says} says:`,
    ...tiers,
    ...held.map(heldLine),
  ];
}

function heldLine({ replay, until }: RetentionReport["held"][number]): string {
  return `  nothing is let go of until ${until}, as replay ${replay} can go on: "headwater replay stop ${replay}" ends it`;
}

function ruleText({ ageMs, bytes, events }: RetentionRule): string {
  return [
    ...(ageMs === undefined ? [] : [ageText(ageMs)]),
    ...(bytes === undefined ? [] : [formatBytes(bytes)]),
    ...(events === undefined ? [] : [`${formatNumber(events)} events`]),
  ].join(", or ");
}

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
] as const;

/** As it is written: in the largest unit of which it is a whole number. */
function ageText(ms: number): string {
  const [unit, length] = UNITS.find(([, of]) => ms % of === 0) ?? ["ms", 1];
  return `${formatNumber(ms / length)}${unit}`;
}
