import { Command } from "commander";
import type { Divergence, ReplayReport } from "../app/replay-types.ts";
import type { Value } from "../core/canonical.ts";
import { EXIT } from "./errors.ts";
import { formatNumber, formatSeconds, jsonable } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { type CommonOptions, commonOptions } from "./options.ts";

interface ReplayOptions {
  readonly from?: string;
  readonly to?: string;
  readonly logTime?: boolean;
}

const HELP = `
Every record of the window is run through the stages again, by the code of the version that ran then, from the state
that there was then; what each stage makes of it has to have the digest that was recorded. Nothing is written and no
sink is reached; another process may run the pipeline meanwhile. Exit code 1: something came out differently.

--from and --to take an ordinal, an ISO 8601 time or a relative time (-2h), and belong to the window. Times are event
times of records; with --log-time, those at which they were accepted.

The code that runs comes from the log: replay only logs that you trust.

Examples:
  headwater replay wikipedia-edits
  headwater replay wikipedia-edits --from 2015-09-12T12:00:00Z --to 2015-09-12T13:00:00Z --json`;

/** The command `headwater replay`. `done` is told the exit code. */
export function replayCommand(io: Io, done: (code: number) => void): Command {
  return new Command("replay")
    .summary("run recorded history again and compare every step with what was recorded")
    .description("Runs a part of a pipeline's history again and compares every step with what was recorded.")
    .argument("<pipeline>", "the name of a pipeline deployed in the log, or its module")
    .option("--from <point>", "records from here on (default: the beginning)")
    .option("--to <point>", "records up to here (default: the end of the log)")
    .option("--log-time", "times are those at which records were accepted")
    .addHelpText("after", HELP)
    .action(async (pipeline: string, own: ReplayOptions, command: Command) => {
      done(await replay(io, pipeline, own, commonOptions(command.optsWithGlobals(), io)));
    });
}

async function replay(io: Io, pipeline: string, own: ReplayOptions, common: CommonOptions): Promise<number> {
  const app = await io.loadReplay();
  const point = (option: string, text: string) =>
    app.parsePoint(option, text, { logTime: own.logTime ?? false });
  const interrupt = listenForInterrupt(io);
  let report: ReplayReport;
  try {
    report = await app.replay({
      log: common.log,
      pipeline,
      signal: interrupt.signal,
      ...(own.from !== undefined && { from: point("--from", own.from) }),
      ...(own.to !== undefined && { to: point("--to", own.to) }),
    });
  } finally {
    interrupt.release();
  }
  if (common.json) await io.stdout.write(`${JSON.stringify(jsonable(report as never, false))}\n`);
  else if (!common.quiet) await io.stdout.write(`${lines(report).join("\n")}\n`);
  return report.diverged > 0 ? EXIT.problem : EXIT.ok;
}

function lines(report: ReplayReport): string[] {
  const { firstDivergence: first, firstGone: gone } = report;
  return [
    `pipeline   ${report.pipeline}  verify  ordinals ${report.from} to ${report.to}`,
    `records    ${formatNumber(report.records)}`,
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

function divergenceLines(first: Divergence): string[] {
  return [
    `first      ${first.address}${first.stage === undefined ? "" : ` at stage ${first.stage}`} (version ${first.version}, ordinal ${first.ordinal}): ${WHAT[first.kind]}`,
    ...(first.expected === undefined ? [] : [`  recorded ${first.expected}`]),
    ...(first.actual === undefined
      ? []
      : [`  now      ${first.actual}  ${JSON.stringify(jsonable(first.value as Value, true))}`]),
  ];
}
