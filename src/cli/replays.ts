import { Command } from "commander";
import type { ForkDetails, ForkSummary } from "../app/forks-types.ts";
import type { ForkRequest } from "../app/what-if-types.ts";
import { badUsage, EXIT } from "./errors.ts";
import { formatNumber, jsonable, table } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { type CommonOptions, collect, commonOptions, namedFiles } from "./options.ts";
import { ReplayProgress, whatIfLines } from "./what-if.ts";

/** Options of whoever runs a replay with a fork. */
export interface ForkOptions {
  readonly diff?: string;
  readonly output?: readonly string[];
  readonly rate?: string;
}

/** Adds the options of whoever runs a replay with a fork. */
export function withForkOptions(command: Command, prefix = ""): Command {
  return command
    .option("--diff <file>", `${prefix}all differences as JSON lines; the file is replaced`)
    .option(
      "-o, --output <SINK=FILE|URL>",
      `${prefix}where what the sink would get is written, or POSTed to`,
      collect,
    )
    .option("--rate <rate>", `${prefix}records a second, or 2x: so many times as fast as it was`);
}

/** {@link ForkOptions} as the application wants them. Throws `BadUsage`. */
export function forkRequest(own: ForkOptions): Pick<ForkRequest, "diff" | "outputs" | "rate"> {
  return {
    ...(own.diff !== undefined && { diff: own.diff }),
    ...(own.rate !== undefined && { rate: rateOf(own.rate) }),
    outputs: namedFiles("--output", "SINK", own.output),
  };
}

function rateOf(text: string): NonNullable<ForkRequest["rate"]> {
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
    .description("Lists the replays of other versions that the log has, and how they are.")
    .action(async (_own: unknown, command: Command) => {
      const options = common(command);
      const app = await io.loadReplay();
      await print(io, options, await app.listForks({ log: options.log }), listLines);
      done(EXIT.ok);
    });
  const show = new Command("show")
    .description("Shows how a replay is, and what came of it.")
    .argument("<id>", "its id, or PIPELINE~ID")
    .action(async (id: string, _own: unknown, command: Command) => {
      const options = common(command);
      const app = await io.loadReplay();
      await print(io, options, await app.showFork({ log: options.log, id }), showLines);
      done(EXIT.ok);
    });
  const resume = withForkOptions(new Command("resume"))
    .description("Goes on with a replay where it is, and compares. One that is done is compared once more.")
    .argument("<id>", "its id, or PIPELINE~ID")
    .action(async (id: string, _own: unknown, command: Command) => {
      const options = common(command);
      // The command above takes these for its own.
      const request = { log: options.log, id, ...forkRequest(command.optsWithGlobals()) };
      const app = await io.loadReplay();
      await io.lowerPriority("writing");
      const interrupt = listenForInterrupt(io);
      const progress = new ReplayProgress(io, options.quiet);
      try {
        const { signal } = interrupt;
        const report = await app.resumeFork({
          ...request,
          signal,
          onProgress: (now) => progress.update(now),
        });
        progress.stop();
        await print(io, options, report, whatIfLines);
      } finally {
        progress.stop();
        interrupt.release();
      }
      done(EXIT.ok);
    });
  const asking = (name: "pause" | "stop", description: string) =>
    new Command(name)
      .description(description)
      .argument("<id>", "its id, or PIPELINE~ID")
      .action(async (id: string, _own: unknown, command: Command) => {
        const options = common(command);
        const app = await io.loadReplay();
        await print(io, options, await app.askFork({ log: options.log, id, ask: name }), (summary) =>
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
  io: Io,
  { json, quiet }: CommonOptions,
  found: T,
  people: (found: T) => string[],
): Promise<void> {
  if (json) await io.stdout.write(`${JSON.stringify(jsonable(found as never, false))}\n`);
  else if (!quiet) await io.stdout.write(`${people(found).join("\n")}\n`);
}

function listLines(found: readonly ForkSummary[]): string[] {
  if (found.length === 0) return ["no replays"];
  return table(
    ["id", "pipeline", "status", "records", "of", "begun"],
    found.map(({ id, pipeline, status, records, of, begun }) => [
      id,
      pipeline,
      status,
      formatNumber(records),
      formatNumber(of),
      new Date(begun).toISOString(),
    ]),
    new Set([3, 4]),
  );
}

function showLines({ report, ...summary }: ForkDetails): string[] {
  return [...listLines([summary]), ...(report === undefined ? [] : ["", ...whatIfLines(report)])];
}
