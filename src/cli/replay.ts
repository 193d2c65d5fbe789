import { Command, Option } from "commander";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { badUsage, EXIT } from "./errors.ts";
import { asLines, jsonable } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io, Out } from "./io.ts";
import { type CommonOptions, collect, commonOptions, mustGoWith, parameterTexts } from "./options.ts";
import {
  type ForkOptions,
  forkCommands,
  forkRequest,
  rateOf,
  reportOut,
  withForkOptions,
} from "./replays.ts";
import {
  SELECTION_HELP,
  type SelectionOptions,
  selectionRequest,
  withSelectionOptions,
} from "./selection.ts";
import { VerifyProgress, verifyExit, verifyLines } from "./verify-lines.ts";
import { ReplayProgress, whatIfLines } from "./what-if.ts";

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
that there was then; what each stage makes of it has to have the digest that was recorded. No sink is reached, and
nothing is written; with --id only how far it is, so that it can be paused, and gone on with after it was stopped or
killed: until it is through or "replay stop" ends it, for three days after its last word, retention lets go of none of
its pipeline's history, which replays with --what-if or --set hold, too. Another process may run the pipeline meanwhile.
Exit code 1: something came out differently.

--from and --to take an ordinal, an ISO 8601 time or a relative time (-2h), and belong to the window. Times are event
times of records; with --log-time, those at which they were accepted. A window of event times has all records of these
times, however late they came, and what came between them.

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
  headwater replay earthquakes --set strong.least=6 --output strong=strong-6.jsonl
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
      new Option(
        "--new-effects <what>",
        "what-if: an effect whose result was not recorded (default: refuse)",
      ).choices(["refuse", "call"]),
    )
    .option("--full", "what-if: run everything, also stages that would give what was recorded")
    .option(
      "--id <id>",
      "the id of the replay, by which it can be paused and gone on with (what-if: made up if absent)",
    );
  withForkOptions(command, "what-if: ")
    .addHelpText("after", HELP)
    .action(async (pipeline: string, own: ReplayOptions, command: Command) => {
      done(await replay(io, pipeline, own, commonOptions(command.optsWithGlobals(), io)));
    });
  for (const below of forkCommands(io, done)) command.addCommand(below);
  return command;
}

async function replay(io: Io, pipeline: string, own: ReplayOptions, common: CommonOptions): Promise<number> {
  mustGoWith("--log-time", own.logTime, { "--from": own.from, "--to": own.to });
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
        ...(own.id !== undefined && { id: own.id }),
        ...(own.rate !== undefined && { rate: rateOf(own.rate) }),
        signal,
        onProgress: (now) => verifying.update(now),
      });
      verifying.stop();
      await print(io.stdout, common, report, verifyLines);
      return verifyExit(report);
    }
    const request = forkRequest(own);
    const report = await app.whatIf({
      ...window,
      ...(own.whatIf !== undefined && { whatIf: own.whatIf }),
      ...(own.set !== undefined && { parameters: parameterTexts("--set", own.set) }),
      ...(own.id !== undefined && { id: own.id }),
      full: own.full ?? false,
      ...request,
      newEffects: own.newEffects === "call" ? "called" : "refused",
      signal,
      onProgress: (now) => progress.update(now),
    });
    await print(reportOut(io, request), common, report, whatIfLines);
    return EXIT.ok;
  } catch (error) {
    throw ofOldRecords(error, own);
  } finally {
    progress.stop();
    verifying.stop();
    interrupt.release();
  }
}

/** Nothing is there of the last hours, by event time: perhaps it was accepted then, and happened long ago. */
function ofOldRecords(error: unknown, { from, to, logTime }: ReplayOptions): unknown {
  const relative = [from, to].some((text) => text?.startsWith("-"));
  if (!relative || logTime || !isHeadwaterError(error, "BadUsage")) return error;
  if (error.where?.includes("event time ") !== true) return error;
  return new HeadwaterError("BadUsage", error.message, {
    where: error.where,
    hint: `${error.hint} Times are those of the records themselves; with --log-time, those at which they were accepted.`,
    cause: error,
  });
}

async function print<T>(
  out: Out,
  common: CommonOptions,
  report: T,
  people: (report: T) => string[],
): Promise<void> {
  if (common.json) await out.write(`${JSON.stringify(jsonable(report as never, false))}\n`);
  else if (!common.quiet) await out.write(asLines(people(report)));
}

/** Throws `BadUsage` for an option that says how another version is run, where none is. */
function mustBeWhatIf({ full, diff, output, rotate, newEffects }: ReplayOptions): void {
  for (const [option, value] of [
    ["--full", full],
    ["--diff", diff],
    ["--output", output],
    ["--rotate", rotate],
    ["--new-effects", newEffects],
  ] as const) {
    if (value === undefined) continue;
    throw badUsage("there is nothing to compare with", option, "Add --what-if or --set, or leave it out.");
  }
}
