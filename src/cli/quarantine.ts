import { Command } from "commander";
import type {
  QuarantineList,
  RefusedDetails,
  RefusedRecord,
  RefusedSelection,
  RetryReport,
} from "../app/quarantine-types.ts";
import type { Value } from "../core/canonical.ts";
import { LIMITS } from "../core/limits.ts";
import { badUsage, EXIT } from "./errors.ts";
import { addExecutorOptions, type ExecutorOptions, executorOf } from "./executor-options.ts";
import {
  asLines,
  formatNumber,
  jsonable,
  onOneLine,
  paint,
  prettyJson,
  stackLines,
  table,
} from "./format.ts";
import { listenForInterrupt, refuseExit } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { Notices } from "./notices.ts";
import {
  type CommonOptions,
  collect,
  commonOptions,
  namedFiles,
  parameterTexts,
  rotations,
  wholeNumber,
} from "./options.ts";
import { reportLines } from "./run.ts";

/** Records that may be listed at once. */
const LISTED_MOST = 1_000_000;

const HELP = `
RECORD is the address of a refused record, as list or lineage shows it: steps_P.G.Q@N.K/STAGE, or in lineage
quarantine_P.G.Q@N.K/STAGE, was quarantined in a stage, quarantine_P.S@I was rejected at a source. It waits until it is
put back (retry) or given up (discard), each once. What was asked for can be given up by its address until it has come
back.

Give retry the --output of every sink, and the --rotate, with which the pipeline is run. A file that is left out
goes on when it is named again, as far as history is kept; a receiver is never sent what came meanwhile.

Examples:
  headwater quarantine list orders --stage parse
  headwater quarantine show steps_orders.parse.0003@17.0/parse
  headwater quarantine retry pipelines/orders.ts --stage parse --output parsed=parsed.jsonl
  headwater quarantine retry pipelines/orders.ts --all --output parsed=parsed.jsonl --rotate parsed=64MB
  headwater quarantine retry pipelines/orders.ts --stage match --executor threads --hang-after 30s
  headwater quarantine discard orders --source in --reason "sent twice"`;

interface ChoiceOptions {
  readonly stage?: string;
  readonly source?: string;
  readonly all?: boolean;
}

interface RetryOptions extends ChoiceOptions, ExecutorOptions {
  readonly output?: readonly string[];
  readonly rotate?: readonly string[];
  readonly set?: readonly string[];
  readonly later?: boolean;
}

/** The command `headwater quarantine`. `done` is told the exit code. */
export function quarantineCommand(io: Io, done: (code: number) => void): Command {
  const quarantine = new Command("quarantine")
    .summary("look at refused records, and put them back after a fix")
    .description(
      "Shows records that were quarantined in a stage or rejected at a source, and puts them back.",
    )
    .addHelpText("after", HELP);
  const ok = (work: Promise<void>) => work.then(() => done(EXIT.ok));
  quarantine
    .command("list")
    .description("the refused records of a pipeline, and what became of them")
    .argument("<pipeline>", "the name of a pipeline deployed in the log, or its module")
    .option("--stage <name>", "those that were quarantined in this stage")
    .option("--source <name>", "those that this source rejected")
    .option(
      "--limit <n>",
      `records that are shown (default: ${LIMITS.quarantineListed})`,
      wholeNumber(0, LISTED_MOST),
    )
    .action((pipeline: string, own: ChoiceOptions & { readonly limit?: number }, command: Command) =>
      ok(list(io, pipeline, own, commonOptions(command.optsWithGlobals(), io))),
    );
  quarantine
    .command("show")
    .description("everything that is kept of a refused record")
    .argument("<record>", "its address")
    .action((record: string, _own: object, command: Command) =>
      ok(show(io, record, commonOptions(command.optsWithGlobals(), io))),
    );
  const back = chosen(quarantine.command("retry"))
    .description("put records back where they failed, each once, and run the pipeline")
    .option(
      "-o, --output <SINK=FILE>",
      "where a sink writes, as JSON lines: a file, http://…, or - for stdout, as for run",
      collect,
    )
    .option("--rotate <[SINK=]WHEN>", "as run has it, for output files that are rotated", collect)
    .option("--set <STAGE.PARAM=VALUE>", "the value of a stage's parameter, as for run", collect);
  addExecutorOptions(back)
    .option("--later", "leave it to the next run to put them back")
    .action((pipeline: string, records: readonly string[], own: RetryOptions, command: Command) =>
      retry(io, pipeline, records, own, commonOptions(command.optsWithGlobals(), io)).then(done),
    );
  chosen(quarantine.command("discard"))
    .description("give records up: nobody is to put them back")
    .requiredOption("--reason <text>", "why; it is kept")
    .action(
      (
        pipeline: string,
        records: readonly string[],
        own: ChoiceOptions & { readonly reason: string },
        command: Command,
      ) => ok(discard(io, pipeline, records, own, commonOptions(command.optsWithGlobals(), io))),
    );
  return quarantine;
}

function chosen(command: Command): Command {
  return command
    .argument("<pipeline>", "the name of a pipeline deployed in the log, or its module")
    .argument("[record...]", "addresses of records")
    .option("--stage <name>", "all that wait and were quarantined in this stage")
    .option("--source <name>", "all that wait and were rejected by this source")
    .option("--all", "all that wait");
}

function selectionOf(records: readonly string[], { stage, source, all }: ChoiceOptions): RefusedSelection {
  const ways = [records.length > 0, stage !== undefined, source !== undefined, all === true];
  if (ways.filter((way) => way).length !== 1) {
    throw badUsage(
      "which records are meant is not said, or said twice",
      "command line",
      "Name records, or give one of --stage, --source and --all.",
    );
  }
  if (records.length > 0) return { records };
  if (stage !== undefined) return { stage };
  return source === undefined ? { all: true } : { source };
}

async function list(
  io: Io,
  pipeline: string,
  own: ChoiceOptions & { readonly limit?: number },
  common: CommonOptions,
): Promise<void> {
  const app = await io.loadQuarantine();
  const found = await app.listQuarantine({
    log: common.log,
    pipeline,
    ...(own.stage !== undefined && { stage: own.stage }),
    ...(own.source !== undefined && { source: own.source }),
    ...(own.limit !== undefined && { limit: own.limit }),
  });
  if (common.json) await io.stdout.write(`${JSON.stringify(found)}\n`);
  else await io.stdout.write(`${listLines(io, found).join("\n")}\n`);
}

function listLines(io: Io, { counts, records, complete }: QuarantineList): string[] {
  const kinds = Object.entries(counts).filter(([, count]) => count > 0);
  if (kinds.length === 0) return ["Nothing is in quarantine."];
  const rows = records.map((record) => [record.address, record.at, stateText(record), whatText(record)]);
  const [head = "", ...lines] = table(["record", "at", "state", "why"], rows, new Set());
  return [
    ...(rows.length === 0 ? [] : [paint(io, io.stdout, "dim", head), ...lines]),
    `${kinds.map(([state, count]) => `${formatNumber(count)} ${state}`).join(", ")}${complete ? "" : "; --limit shows more"}`,
  ];
}

/** Characters of a reason that are shown in a table. */
const REASON_CHARS = 100;

function whatText({ message, where }: RefusedRecord): string {
  const text = onOneLine(where === null ? message : `${where}: ${message}`);
  return text.length > REASON_CHARS ? `${text.slice(0, REASON_CHARS)}…` : text;
}

function stateText(record: RefusedRecord): string {
  if (record.state !== "retried") return record.state;
  if (record.as === null) return `retried, ${record.fate}`;
  return record.fate === "went on" ? `retried as ${record.as}` : `retried as ${record.as}, ${record.fate}`;
}

async function show(io: Io, record: string, common: CommonOptions): Promise<void> {
  const app = await io.loadQuarantine();
  const found = await app.showRefused({ log: common.log, record });
  if (common.json) await io.stdout.write(`${JSON.stringify(jsonable(found as unknown as Value, false))}\n`);
  else await io.stdout.write(`${showLines(found).join("\n")}\n`);
}

function showLines(found: RefusedDetails): string[] {
  const text = (value: Value) => prettyJson(jsonable(value, true), "           ");
  const { firing } = found;
  const plain = (value: string | null) => (value === null ? null : onOneLine(value));
  const lines: (readonly [string, string | null])[] = [
    ["record", plain(found.address)],
    ["state", plain(found.state === "discarded" ? `discarded: ${found.reason}` : stateText(found))],
    [found.kind === "rejected" ? "source" : "stage", plain(found.at)],
    ["when", found.time],
    ["why", plain(`${found.where === null ? "" : `${found.where}: `}${found.message} (${found.code})`)],
    ["made of", plain(found.parent)],
    ["key", found.key === null ? null : text(found.key)],
    ["time", found.eventTime],
    [
      "value",
      firing === null ? (found.frame === null || found.value !== null ? text(found.value) : null) : null,
    ],
    ["as it came", found.frame === null || found.frame === "" ? null : plain(found.frame)],
    ["window", firing?.start == null ? null : `${isoTime(firing.start)} to ${isoTime(firing.end ?? 0)}`],
    ["total", firing === null || firing.total === null ? null : text(firing.total)],
    ["left", firing === null || firing.left === null ? null : text(firing.left)],
    ["members", firing === null || firing.members.length === 0 ? null : firing.members.join(", ")],
    ["cannot be put back", plain(found.obstacle)],
    ["stack", found.stack === null ? null : stackLines(found.stack).join("\n")],
  ];
  return lines.flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(10)} ${value}`]));
}

function isoTime(time: number): string {
  return new Date(time).toISOString();
}

async function retry(
  io: Io,
  pipeline: string,
  records: readonly string[],
  own: RetryOptions,
  common: CommonOptions,
): Promise<number> {
  const outputs = namedFiles("--output", "SINK", own.output);
  const selection = selectionOf(records, own);
  const executor = executorOf(own);
  const app = await io.loadQuarantine();
  const notices = new Notices();
  const say = (line: string) => {
    if (!common.quiet) io.stderr.write(`${line}\n`).catch(() => {});
  };
  const interrupt = listenForInterrupt(io, {
    first: () =>
      say("headwater: taking no more in, and finishing what was accepted; Ctrl-C again stops at once"),
  });
  const acceptExit = refuseExit(io, common);
  let report: RetryReport;
  try {
    report = await app.retryRefused({
      log: common.log,
      pipeline,
      ...selection,
      later: own.later ?? false,
      run: {
        outputs,
        ...(own.rotate === undefined ? {} : { rotations: rotations(own.rotate) }),
        ...(own.set === undefined ? {} : { parameterTexts: parameterTexts("--set", own.set) }),
        ...executor,
        signal: interrupt.signal,
        tellsStalls: !common.quiet,
        onNotice: (notice) => {
          const line = notice.kind === "no-input" ? undefined : notices.line(notice);
          if (line !== undefined) say(line);
        },
      },
    });
  } finally {
    acceptExit();
    interrupt.release();
    for (const line of notices.rest()) say(line);
  }
  const out = [...outputs.values()].includes("-") ? io.stderr : io.stdout;
  if (common.json) await out.write(`${JSON.stringify(report)}\n`);
  else if (!common.quiet) await out.write(asLines(retryLines(report)));
  if (interrupt.signal.aborted) return EXIT.stopped;
  return report.asked === 0 && report.impossible > 0 ? EXIT.problem : EXIT.ok;
}

function retryLines({ asked, impossible, by, process, run }: RetryReport): string[] {
  const many = (count: number) => `${formatNumber(count)} ${count === 1 ? "record" : "records"}`;
  const next = {
    "this run": "",
    "another process": `; process ${process?.pid} on ${process?.host} runs the pipeline, and puts them back as it is there`,
    "the next run": "; the next run puts them back",
  }[by];
  // Those of a command before that did not come to put them back.
  const retried = run?.records.retried ?? 0;
  const nothing = retried > 0 ? "Nothing else waits in quarantine." : "Nothing waits in quarantine.";
  return [
    asked === 0 && impossible === 0 ? nothing : `asked for   ${many(asked)}${asked === 0 ? "" : next}`,
    ...(impossible === 0 ? [] : [`impossible ${many(impossible)}: "headwater quarantine show" says why`]),
    ...(run === null ? [] : reportLines(run)),
  ];
}

async function discard(
  io: Io,
  pipeline: string,
  records: readonly string[],
  own: ChoiceOptions & { readonly reason: string },
  common: CommonOptions,
): Promise<void> {
  const selection = selectionOf(records, own);
  const app = await io.loadQuarantine();
  const report = await app.discardRefused({ log: common.log, pipeline, ...selection, reason: own.reason });
  if (common.json) await io.stdout.write(`${JSON.stringify(report)}\n`);
  else if (!common.quiet) {
    const { discarded } = report;
    const many = `${formatNumber(discarded)} ${discarded === 1 ? "record" : "records"}`;
    await io.stdout.write(
      discarded === 0
        ? "Nothing waits in quarantine.\n"
        : `discarded   ${many}: not to be put back any more\n`,
    );
  }
}
