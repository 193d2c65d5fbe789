import { Command } from "commander";
import type { RunReport, RunRequest } from "../app/run-types.ts";
import { LIMITS } from "../core/limits.ts";
import { withoutCredentials } from "../core/log-spec.ts";
import { badUsage, EXIT } from "./errors.ts";
import { addExecutorOptions, type ExecutorOptions, executorOf } from "./executor-options.ts";
import { asLines, formatBytes, formatNumber, formatSeconds, paint } from "./format.ts";
import { listenForInterrupt, refuseExit } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { Notices } from "./notices.ts";
import {
  type CommonOptions,
  collect,
  commonOptions,
  DEFAULT_LOG,
  inputFormats,
  namedFiles,
  parameterTexts,
  rotations,
  timeMs,
  wholeNumber,
} from "./options.ts";
import { Progress } from "./progress.ts";

interface RunOptions extends ExecutorOptions {
  readonly input?: readonly string[];
  readonly format?: readonly string[];
  readonly rotate?: readonly string[];
  readonly drainTimeout?: number;
  readonly output?: readonly string[];
  readonly set?: readonly string[];
  readonly batch?: number;
  readonly tick?: number;
  readonly follow?: boolean;
  readonly keepOpen?: boolean;
  readonly again?: boolean;
  readonly strict?: boolean;
  readonly tour?: boolean;
  readonly checkpointKey?: string;
  readonly checkpointEvery?: string;
  readonly checkpointOut?: string;
  readonly checkpointCommand?: string;
}

const MS_PER_SECOND = 1_000;
/** Who held back less of a run's time is not named to people. */
const SHOWN_SHARE = 0.1;

const EXAMPLES = `
Examples:
  headwater run pipelines/edits.ts --input edits=edits.jsonl.gz --output channels=channels.jsonl
  zcat edits.gz | headwater run pipelines/edits.ts --input edits=- --output channels=-
  headwater run pipelines/edits.ts --input edits=edits.jsonl --set large.least=100
  headwater run pipelines/web.ts --input lines=/var/log/web/access.log --output requests=http://localhost:8080/requests --follow
  headwater run wikipedia-edits --input edits=more.jsonl      (a pipeline that is deployed in the log)`;

/** The command `headwater run`. `done` is told the exit code. */
export function runCommand(io: Io, done: (code: number) => void): Command {
  const command = new Command("run")
    .summary("run a pipeline from files to files")
    .description(
      "Reads the inputs, runs until every record has come to its end, and exits. A sink without --output only counts: a file that it wrote to before goes on when it is named again, as far as history is kept; a receiver is never sent what came meanwhile.",
    )
    .argument("<pipeline>", "a module (.ts, .js, .mjs), or the name of a pipeline deployed in the log")
    .option(
      "-i, --input <SOURCE=FILE>",
      "what a source reads: .jsonl, .ndjson, .json, .csv, other files as lines of text, all also .gz; a folder is all files in it; - is stdin",
      collect,
    )
    .option(
      "--format <SOURCE=FORMAT>",
      "what its input holds, whatever its name says: jsonl, json, csv or lines",
      collect,
    )
    .option(
      "-o, --output <SINK=FILE>",
      "where a sink writes, as JSON lines: a file, http://… to POST batches to, or - for stdout",
      collect,
    )
    .option(
      "--rotate <[SINK=]WHEN>",
      "begin the next output file at a size (64MB) or time (1h); the files get numbers or times",
      collect,
    )
    .option(
      "--set <STAGE.PARAM=VALUE>",
      "the value of a stage's parameter, as JSON or text; repeat it for several",
      collect,
    );
  return addExecutorOptions(command)
    .option("--batch <records>", "records of a batch", wholeNumber(1, LIMITS.batchRecordsMost))
    .option(
      "--tick <time>",
      "how long a batch waits for more (a number alone: milliseconds)",
      timeMs(1, 1, LIMITS.tickMsMost),
    )
    .option("--follow", "stay, and take in what is added to the inputs, until Ctrl-C")
    .option("--keep-open", "leave open windows to the next run at the end of the inputs")
    .option("--again", "take in inputs again that were taken in before")
    .option(
      "--drain-timeout <time>",
      `how long what was accepted may take to its end after Ctrl-C (default: ${LIMITS.drainMs / MS_PER_SECOND}s; a number alone: seconds)`,
      timeMs(MS_PER_SECOND, 0, LIMITS.drainMsMost),
    )
    .option("--strict", "exit with 1 if records were rejected or quarantined")
    .option("--checkpoint-key <file>", "sign the log while it runs, and at its end, with this private key")
    .option("--checkpoint-every <time>", 'how often, such as "30s" (default: "1m")')
    .option("--checkpoint-out <file>", "the file that holds the latest checkpoint")
    .option("--checkpoint-command <command>", "a command that gets each checkpoint on its standard input")
    .option("--tour", "say afterwards what to try next")
    .addHelpText("after", EXAMPLES)
    .action(async (pipeline: string, own: RunOptions, command: Command) => {
      done(await run(io, pipeline, own, commonOptions(command.optsWithGlobals(), io)));
    });
}

async function run(io: Io, pipeline: string, own: RunOptions, common: CommonOptions): Promise<number> {
  const request = requestOf(pipeline, own, common);
  const app = await io.loadRun();
  const progress = new Progress(io, common.quiet);
  const notices = new Notices();
  const say = (line: string) => {
    if (!common.quiet) progress.note(line).catch(() => {});
  };
  const interrupt = listenForInterrupt(io, {
    first: () =>
      say("headwater: taking no more in, and finishing what was accepted; Ctrl-C again stops at once"),
    // Gives the cursor back.
    second: () => progress.stop(),
  });
  const acceptExit = refuseExit(io, common);
  let report: RunReport;
  try {
    report = await app.run({
      ...request,
      signal: interrupt.signal,
      tellsStalls: !common.quiet,
      onProgress: (now) => progress.update(now),
      onNotice: (notice) => {
        const line = notices.line(notice);
        if (line !== undefined) say(line);
      },
    });
  } finally {
    acceptExit();
    interrupt.release();
    progress.stop();
    for (const line of notices.rest()) say(line);
  }
  // Records on standard output must not be mixed with the report about them.
  const out = [...request.outputs.values()].includes("-") ? io.stderr : io.stdout;
  if (common.json) await out.write(`${JSON.stringify(report)}\n`);
  else if (!common.quiet) {
    await out.write(asLines(reportLines(report)));
    if (own.tour) await out.write(tourLines(io, report, request).join("\n").concat("\n"));
  }
  // Who waits for the end of a run has to see that it was cut short; following ends in no other way.
  if (interrupt.signal.aborted && !own.follow) return EXIT.stopped;
  const { rejected, quarantined } = report.records;
  return own.strict && rejected + quarantined > 0 ? EXIT.problem : EXIT.ok;
}

function requestOf(pipeline: string, own: RunOptions, common: CommonOptions): RunRequest {
  return {
    pipeline,
    ...checkpointsOf(own),
    log: common.log,
    inputs: namedFiles("--input", "SOURCE", own.input),
    ...(own.format === undefined ? {} : { formats: inputFormats(own.format) }),
    outputs: namedFiles("--output", "SINK", own.output),
    ...(own.rotate === undefined ? {} : { rotations: rotations(own.rotate) }),
    ...(own.drainTimeout === undefined ? {} : { drainMs: own.drainTimeout }),
    ...(own.set === undefined ? {} : { parameterTexts: parameterTexts("--set", own.set) }),
    ...executorOf(own),
    ...(own.batch === undefined ? {} : { batchRecords: own.batch }),
    ...(own.tick === undefined ? {} : { tickMs: own.tick }),
    follow: own.follow ?? false,
    keepOpen: own.keepOpen ?? false,
    again: own.again ?? false,
  };
}

function checkpointsOf(own: RunOptions): Pick<RunRequest, "checkpoints"> {
  const { checkpointKey: key, checkpointEvery: every, checkpointOut: out, checkpointCommand: command } = own;
  if (key === undefined) {
    if (every === undefined && out === undefined && command === undefined) return {};
    throw badUsage(
      "checkpoints need the key that signs them",
      "--checkpoint-key",
      "headwater keygen makes one.",
    );
  }
  const to = { ...(out !== undefined && { out }), ...(command !== undefined && { command }) };
  return { checkpoints: { key, every: every ?? "1m", ...to } };
}

/** What a run did, for people. */
export function reportLines(report: RunReport): string[] {
  const { records } = report;
  const counts = (["accepted", "duplicate", "rejected", "quarantined", "late", "retried", "pending"] as const)
    .filter((kind) => kind === "accepted" || records[kind] > 0)
    .map((kind) => `${formatNumber(records[kind])} ${kind}`);
  const outputs = Object.entries(report.outputs).map(([sink, count]) => `${sink} ${formatNumber(count)}`);
  const late = Object.entries(report.late).map(([stage, count]) => `${stage} ${formatNumber(count)}`);
  const nodes = report.nodes === 1 ? "1 node" : `${formatNumber(report.nodes)} nodes`;
  return [
    `pipeline   ${report.pipeline}  deployment ${report.deployment.slice(0, 12)}  ${nodes}`,
    `records    ${formatNumber(records.read)} read: ${counts.join(", ")}`,
    ...(records.rejected + records.quarantined === 0
      ? []
      : [`refused    headwater quarantine list ${report.pipeline} shows them`]),
    ...(late.length === 0 ? [] : [`late       for ${late.join(", ")}`]),
    `steps      ${formatNumber(report.steps)}`,
    `outputs    ${outputs.length === 0 ? "none" : outputs.join(", ")}`,
    ...heldBack(report),
    `time       ${formatSeconds(report.seconds)}  ${formatNumber(report.recordsPerSecond)} records/s`,
    `log        ${report.log.position}  ${formatBytes(report.log.bytes)}`,
  ];
}

function heldBack({ backpressure }: RunReport): string[] {
  return backpressure
    .filter(({ share }) => share >= SHOWN_SHARE)
    .map(({ by, reason, chain, seconds, share }, index) => {
      const why = reason === undefined ? "" : ` (${reason})`;
      const whom = chain.length < 2 ? "" : `: ${chain.slice(1).join(", ")}`;
      const much = `${formatSeconds(seconds)}, ${Math.round(share * 100)}% of the time`;
      return `${index === 0 ? "held back  " : "           "}by ${by}${why} for ${much}${whom}`;
    });
}

function tourLines(io: Io, report: RunReport, request: RunRequest): string[] {
  const shown = withoutCredentials(request.log);
  const log = request.log === DEFAULT_LOG ? "" : ` --log ${/[?&*]/.test(shown) ? `'${shown}'` : shown}`;
  const source = [...request.inputs.keys()][0];
  const command = (text: string) => `  npx headwater ${text}${log}`;
  return [
    "",
    paint(io, io.stdout, "bold", "What to try next:"),
    "  the same command again        takes in nothing twice: the log knows what it has",
    command("log streams"),
    ...(source === undefined ? [] : [command(`log show source_${report.pipeline}.${source} --limit 1`)]),
    command("log tail"),
    "  npx headwater run --help",
  ];
}
