import { Command, Option } from "commander";
import type { Divergence, ExplainedDivergence, ReplayReport } from "../app/replay-types.ts";
import type { Value } from "../core/canonical.ts";
import { badUsage, EXIT } from "./errors.ts";
import { formatNumber, formatSeconds, jsonable } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { type CommonOptions, collect, commonOptions, parameterTexts } from "./options.ts";
import { type ForkOptions, forkCommands, forkRequest, withForkOptions } from "./replays.ts";
import {
  refusedLines,
  SELECTION_HELP,
  type SelectionOptions,
  selectionLines,
  selectionRequest,
  unknownKeyLines,
  withSelectionOptions,
} from "./selection.ts";
import { ReplayProgress, VerifyProgress, whatIfLines } from "./what-if.ts";

interface ReplayOptions extends ForkOptions, SelectionOptions {
  readonly from?: string;
  readonly to?: string;
  readonly logTime?: boolean;
  readonly whatIf?: string;
  readonly set?: readonly string[];
  readonly newEffects?: "refuse" | "call";
  readonly id?: string;
  readonly full?: boolean;
}

const HELP = `
Every record of the window is run through the stages again, by the code of the version that ran then, from the state
that there was then; what each stage makes of it has to have the digest that was recorded. Nothing is written and no
sink is reached; another process may run the pipeline meanwhile. Exit code 1: something came out differently.

--from and --to take an ordinal, an ISO 8601 time or a relative time (-2h), and belong to the window. Times are event
times of records; with --log-time, those at which they were accepted.

${SELECTION_HELP}

With --what-if or --set another version runs over the window, from the same state, into streams of its own:
PIPELINE~ID. What comes of it is compared with what was recorded, record by record: same, changed, added, gone. Sinks
get nothing but by --output; what effects gave is served from the log. The pipeline's own streams are only read.

The code that runs comes from the log: replay only logs that you trust.

Examples:
  headwater replay wikipedia-edits
  headwater replay wikipedia-edits --from 2015-09-12T12:00:00Z --to 2015-09-12T13:00:00Z --json
  headwater replay wikipedia-edits --key "#en.wikipedia" --stage totals
  headwater replay apache-log --quarantined --what-if apache-fixed.ts
  headwater replay wikipedia-edits --what-if pipelines/edits-fixed.ts --diff differences.jsonl
  headwater replay wikipedia-edits --set large.least=100 --output channels=channels-100.jsonl
  headwater replay wikipedia-edits --what-if 3          (version 3, as it is in the log)`;

/** The command `headwater replay`. `done` is told the exit code. */
export function replayCommand(io: Io, done: (code: number) => void): Command {
  const command = new Command("replay")
    .summary("run recorded history again and compare every step with what was recorded")
    .description("Runs a part of a pipeline's history again and compares every step with what was recorded.")
    .argument("<pipeline>", "the name of a pipeline deployed in the log, or its module")
    .option("--from <point>", "records from here on (default: the beginning)")
    .option("--to <point>", "records up to here (default: the end of the log)")
    .option("--log-time", "times are those at which records were accepted");
  withSelectionOptions(command)
    .option("--what-if <module|version>", "run another module, or another version in the log, and compare")
    .option(
      "--set <STAGE.PARAM=VALUE>",
      "run with another value of a stage's parameter, and compare; repeat it for several",
      collect,
    )
    .addOption(
      new Option("--new-effects <what>", "what-if: an effect whose result was not recorded")
        .choices(["refuse", "call"])
        .default("refuse"),
    )
    .option("--full", "what-if: run everything, also stages that would give what was recorded")
    .option("--id <id>", "what-if: the id of the replay (default: made up)");
  withForkOptions(command, "what-if: ")
    .addHelpText("after", HELP)
    .action(async (pipeline: string, own: ReplayOptions, command: Command) => {
      done(await replay(io, pipeline, own, commonOptions(command.optsWithGlobals(), io)));
    });
  for (const below of forkCommands(io, done)) command.addCommand(below);
  return command;
}

async function replay(io: Io, pipeline: string, own: ReplayOptions, common: CommonOptions): Promise<number> {
  const app = await io.loadReplay();
  await io.lowerPriority(own.whatIf === undefined && own.set === undefined ? "reading" : "writing");
  const point = (option: string, text: string) =>
    app.parsePoint(option, text, { logTime: own.logTime ?? false });
  const window = {
    log: common.log,
    pipeline,
    ...(own.from !== undefined && { from: point("--from", own.from) }),
    ...(own.to !== undefined && { to: point("--to", own.to) }),
    ...selectionRequest(own),
  };
  const changes = own.whatIf !== undefined || own.set !== undefined;
  if (!changes) mustBeWhatIf(own);
  const interrupt = listenForInterrupt(io);
  const { signal } = interrupt;
  const progress = new ReplayProgress(io, common.quiet);
  const verifying = new VerifyProgress(io, common.quiet);
  try {
    if (!changes) {
      const report = await app.replay({
        ...window,
        signal,
        onProgress: (now) => verifying.update(now),
      });
      verifying.stop();
      await print(io, common, report, lines);
      const { otherError = 0 } = report.quarantined ?? {};
      return report.diverged + otherError > 0 ? EXIT.problem : EXIT.ok;
    }
    const report = await app.whatIf({
      ...window,
      ...(own.whatIf !== undefined && { whatIf: own.whatIf }),
      ...(own.set !== undefined && { parameters: parameterTexts("--set", own.set) }),
      ...(own.id !== undefined && { id: own.id }),
      full: own.full ?? false,
      ...forkRequest(own),
      newEffects: own.newEffects === "call" ? "called" : "refused",
      signal,
      onProgress: (now) => progress.update(now),
    });
    await print(io, common, report, whatIfLines);
    return EXIT.ok;
  } finally {
    progress.stop();
    verifying.stop();
    interrupt.release();
  }
}

async function print<T>(
  io: Io,
  common: CommonOptions,
  report: T,
  people: (report: T) => string[],
): Promise<void> {
  if (common.json) await io.stdout.write(`${JSON.stringify(jsonable(report as never, false))}\n`);
  else if (!common.quiet) await io.stdout.write(`${people(report).join("\n")}\n`);
}

/** Throws `BadUsage` for an option that says how another version is run, where none is. */
function mustBeWhatIf({ id, full, diff, output, rate }: ReplayOptions): void {
  for (const [option, value] of [
    ["--id", id],
    ["--full", full],
    ["--diff", diff],
    ["--output", output],
    ["--rate", rate],
  ] as const) {
    if (value === undefined) continue;
    throw badUsage("there is nothing to compare with", option, "Add --what-if or --set, or leave it out.");
  }
}

function lines(report: ReplayReport): string[] {
  const { firstDivergence: first, firstGone: gone } = report;
  return [
    `pipeline   ${report.pipeline}  verify  ordinals ${report.from} to ${report.to}`,
    ...selectionLines(report.only),
    `records    ${formatNumber(report.records)}`,
    ...unknownKeyLines(report),
    ...refusedLines(report.quarantined),
    `steps      ${formatNumber(report.steps)}: ${formatNumber(report.matched)} as recorded, ${formatNumber(report.diverged)} not`,
    ...(first === undefined ? [] : divergenceLines(first)),
    ...(gone === undefined
      ? []
      : [
          `gone       ${formatNumber(report.unverifiable)} inputs cannot be run again, the first is ${gone.address}`,
          `  ${gone.reason}`,
        ]),
    `time       ${formatSeconds(report.seconds)}`,
  ];
}

const WHAT: Readonly<Record<Divergence["kind"], string>> = {
  input: "the input is another record",
  failed: "it fails and had not, or did and does not",
  results: "it gives another number of results",
  digest: "a result is another record",
  label: "a result goes to another output",
  previous: "it goes on from another step of its key",
  timed: "a result is of another kind or made of other records, or another record is late",
};

function divergenceLines(first: ExplainedDivergence): string[] {
  const shown = (value: unknown) => JSON.stringify(jsonable(value as Value, true));
  const recorded = first.expectedValue === undefined ? "" : `  ${shown(first.expectedValue)}`;
  const named = first.fields?.map((field) => (field === "" ? "(the record)" : field));
  return [
    `first      ${first.address}${first.stage === undefined ? "" : ` at stage ${first.stage}`} (version ${first.version}, ordinal ${first.ordinal}): ${WHAT[first.kind]}`,
    ...(first.expected === undefined ? [] : [`  recorded ${first.expected}${recorded}`]),
    ...(first.actual === undefined ? [] : [`  now      ${first.actual}  ${shown(first.value)}`]),
    ...(named === undefined || named.length === 0 ? [] : [`  in       ${named.join(", ")}`]),
    ...first.causes.map(
      ({ kind, where }) => `  why      ${WHY[kind]}${where === undefined ? "" : ` (${where})`}`,
    ),
  ];
}

const WHY: Readonly<Record<ExplainedDivergence["causes"][number]["kind"], string>> = {
  clock: "the pipeline's code reads the clock; ctx.now() is the same in every run",
  random: "the pipeline's code draws random numbers; ctx.random() and ctx.uuid() are the same in every run",
  "module-state": "it gives something else each time: its module keeps something between calls",
  elsewhere: "it gives the same each time now: it depends on something that is another than it was then",
};
