import { Command } from "commander";
import type { ReplayDetails, ReplaySummary } from "../app/forks-types.ts";
import type { ForkRequest } from "../app/what-if-types.ts";
import { badUsage, EXIT } from "./errors.ts";
import { asLines, formatNumber, jsonable, table } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io, Out } from "./io.ts";
import { type CommonOptions, collect, commonOptions, namedFiles, rotations } from "./options.ts";
import { VerifyProgress, verifyExit, verifyLines } from "./verify-lines.ts";
import { ReplayProgress, whatIfLines } from "./what-if.ts";

/** Options of whoever runs a replay with a fork. */
export interface ForkOptions {
  readonly diff?: string;
  readonly output?: readonly string[];
  readonly rotate?: readonly string[];
  readonly rate?: string;
}

/** Adds the options of whoever runs a replay with a fork. */
export function withForkOptions(command: Command, prefix = ""): Command {
  return withRate(command)
    .option(
      "--diff <file>",
      `${prefix}all differences as JSON lines, in the place of older ones; - is standard output, and moves the report to standard error`,
    )
    .option(
      "-o, --output <SINK=FILE|URL>",
      `${prefix}where what the sink would get is written, or POSTed to; - is standard output, and moves the report to standard error`,
      collect,
    )
    .option(
      "--rotate <[SINK=]WHEN>",
      `${prefix}begin the next output file at a size (64MB) or time (1h); the files get numbers or times`,
      collect,
    );
}

function withRate(command: Command): Command {
  return command.option("--rate <rate>", "records a second, or 2x: so many times as fast as it was");
}

/** {@link ForkOptions} as the application wants them. Throws `BadUsage`. */
export function forkRequest(own: ForkOptions): Pick<ForkRequest, "diff" | "rate" | "rotations"> & {
  readonly outputs: ReadonlyMap<string, string>;
} {
  return {
    ...(own.diff !== undefined && { diff: own.diff }),
    ...(own.rate !== undefined && { rate: rateOf(own.rate) }),
    ...(own.rotate !== undefined && { rotations: rotations(own.rotate) }),
    outputs: namedFiles("--output", "SINK", own.output),
  };
}

/** Where the report goes: records on standard output must not be mixed with it. */
export function reportOut(io: Io, { outputs, diff }: Pick<ForkRequest, "outputs" | "diff">): Out {
  return [...(outputs?.values() ?? []), diff].includes("-") ? io.stderr : io.stdout;
}

export function rateOf(text: string): NonNullable<ForkRequest["rate"]> {
  const [, digits = "", times] = /^(\d+(?:\.\d+)?)(x)?$/.exec(text) ?? [];
  const value = Number(digits);
  if (digits === "" || !(value > 0)) {
    throw badUsage(
      `not a rate: ${JSON.stringify(text)}`,
      "--rate",
      "Write it like --rate 1000, or --rate 2x.",
    );
  }
  return times === undefined ? { recordsPerSecond: value } : { timesRealTime: value };
}

/** The commands below `headwater replay` that are about a replay of an id. */
export function forkCommands(io: Io, done: (code: number) => void): Command[] {
  const common = (command: Command) => commonOptions(command.optsWithGlobals(), io);
  const list = new Command("list")
    .description(
      "Lists the replays that the log has, and how they are: of other versions, and those that were given an id.",
    )
    .action(async (_own: unknown, command: Command) => {
      const options = common(command);
      const app = await io.loadReplay();
      await print(io.stdout, options, await app.listReplays({ log: options.log }), listLines);
      done(EXIT.ok);
    });
  const show = new Command("show")
    .description("Shows how a replay is, and what came of it.")
    .argument("<id>", "its id, or PIPELINE~ID")
    .action(async (id: string, _own: unknown, command: Command) => {
      const options = common(command);
      const app = await io.loadReplay();
      await print(io.stdout, options, await app.showReplay({ log: options.log, id }), showLines);
      done(EXIT.ok);
    });
  const resume = withForkOptions(new Command("resume"))
    .description(
      "Goes on with a replay where it is, and compares. Of one that is done it tells once more what came of it.",
    )
    .argument("<id>", "its id, or PIPELINE~ID")
    .action(async (id: string, _own: unknown, command: Command) => {
      const options = common(command);
      // The command above takes these for its own.
      const request = { log: options.log, id, ...forkRequest(command.optsWithGlobals()) };
      const app = await io.loadReplay();
      await io.lowerPriority("writing");
      const interrupt = listenForInterrupt(io);
      const progress = new ReplayProgress(io, options.quiet);
      const verifying = new VerifyProgress(io, options.quiet);
      try {
        const { signal } = interrupt;
        const report = await app.resumeReplay({
          ...request,
          signal,
          onProgress: (now) => progress.update(now),
          onVerifyProgress: (now) => verifying.update(now),
        });
        progress.stop();
        verifying.stop();
        if (report.mode === "verify") {
          await print(reportOut(io, request), options, report, verifyLines);
          done(verifyExit(report));
        } else {
          await print(reportOut(io, request), options, report, whatIfLines);
          done(EXIT.ok);
        }
      } finally {
        progress.stop();
        verifying.stop();
        interrupt.release();
      }
    });
  const asking = (name: "pause" | "stop", description: string) =>
    new Command(name)
      .description(description)
      .argument("<id>", "its id, or PIPELINE~ID")
      .action(async (id: string, _own: unknown, command: Command) => {
        const options = common(command);
        const app = await io.loadReplay();
        await print(io.stdout, options, await app.askReplay({ log: options.log, id, ask: name }), (summary) =>
          listLines([summary]),
        );
        done(EXIT.ok);
      });
  return [
    list,
    show,
    resume,
    asking("pause", "Asks whoever is at a replay to stand still; resume goes on with it."),
    asking("stop", "Asks whoever is at a replay to end it for good."),
  ];
}

async function print<T>(
  out: Out,
  { json, quiet }: CommonOptions,
  found: T,
  people: (found: T) => string[],
): Promise<void> {
  if (json) await out.write(`${JSON.stringify(jsonable(found as never, false))}\n`);
  else if (!quiet) await out.write(asLines(people(found)));
}

function listLines(found: readonly ReplaySummary[]): string[] {
  if (found.length === 0) return ["no replays"];
  return table(
    ["id", "mode", "pipeline", "status", "records", "of", "begun", "history kept until"],
    found.map(({ id, mode, pipeline, status, records, of, begun, heldUntil }) => [
      id,
      mode,
      pipeline,
      status,
      formatNumber(records),
      formatNumber(of),
      new Date(begun).toISOString(),
      heldUntil === undefined ? "" : new Date(heldUntil).toISOString(),
    ]),
    new Set([4, 5]),
  );
}

function showLines(details: ReplayDetails): string[] {
  const lines = listLines([details]);
  if (details.report === undefined) return lines;
  const report = details.mode === "verify" ? verifyLines(details.report) : whatIfLines(details.report);
  return [...lines, "", ...report];
}
