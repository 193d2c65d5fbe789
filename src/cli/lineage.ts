import { Command, Option } from "commander";
import type { Lineage } from "../app/lineage-types.ts";
import { LIMITS } from "../core/limits.ts";
import { EXIT } from "./errors.ts";
import { formatNumber, paint } from "./format.ts";
import { indexBar, viewOptions } from "./index-bar.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import {
  LINEAGE_FORMATS,
  type LineageFormat,
  lineageDot,
  lineageJson,
  lineageLines,
  lineageMermaid,
} from "./lineage-formats.ts";
import { type CommonOptions, commonOptions, wholeNumber } from "./options.ts";

/** Lines that are written together. */
const LINES_TOGETHER = 256;

interface LineageOptions {
  readonly forward?: boolean;
  readonly depth?: number;
  readonly limit: number;
  readonly format?: LineageFormat;
  readonly recompute: boolean;
  readonly views?: string;
  readonly wait: boolean;
  readonly rebuild?: boolean;
}

const HELP = `
RECORD is an address as runs, state and audit print it (source_orders.web@17, steps_orders.sums.0003@5.0, or
steps_orders.sums.0003@5.0/priced for what a stage made of that input), [PIPELINE/]SOURCE:ID with the sender's own id,
[PIPELINE/]SINK#N, the N-th output of a sink, from 0, or [PIPELINE/]SINK@KEY, the one that its receiver knows by KEY.
Records that were refused are named as "headwater quarantine list" shows them, those that were put back
retry_PIPELINE@I.

--forward needs an index of the log. It is kept beside the log, follows it when it is asked, and may be deleted.

What is not stored is made again by the deployed code, from the log, and shown only if it has the digest that was
noted when it was made: open only logs that you trust, or say --no-recompute. Where events have been let go of, a vertex
of kind "gone" says so; of a value that is not there the reason is told. Of either, complete is false: something that is
shown is not kept any more, and cannot be made again. Values that --no-recompute does not make again are not counted.
Where --depth or --limit keep something back, cut is true.

--json (or --format json) prints one object: record, value, recomputed, complete, cut, vertices [{address, kind, stage,
node, deployment, version, function, time, eventTime, ordinal, before, after, outputs, id, input, label, firing, members,
value, recomputed, reason}], edges [{from, to}]. before and after are the SHA-256 of the record's canonical bytes.

Examples:
  headwater lineage channels#41
  headwater lineage web:order-2017 --forward
  headwater lineage steps_wikipedia-edits.totals.0003@5.0 --format dot | dot -Tsvg > lineage.svg`;

/** The command `headwater lineage`. `done` is told the exit code. */
export function lineageCommand(io: Io, done: (code: number) => void): Command {
  return new Command("lineage")
    .summary("show where a record came from, or what it went into")
    .description(
      "Shows the way of a record back to what the sources accepted, step by step, with the function, deployment and digests of each. Only reads; another process may run the pipeline meanwhile.",
    )
    .argument("<record>", "an address, [PIPELINE/]SOURCE:ID, [PIPELINE/]SINK#N or [PIPELINE/]SINK@KEY")
    .option("--forward", "what it went into instead")
    .option("--depth <steps>", "go so many steps at most", wholeNumber(0, Number.MAX_SAFE_INTEGER))
    .option(
      "--limit <records>",
      "show so many records at most, nearest first",
      wholeNumber(1, LIMITS.lineageRecordsMost),
      LIMITS.lineageRecords,
    )
    .addOption(new Option("--format <format>", "how it is written").choices([...LINEAGE_FORMATS]))
    .option("--no-recompute", "run no code from the log: show only values that are stored")
    .option(
      "--views <folder>",
      "where the index for --forward is kept (or HEADWATER_VIEWS; default: beside the log)",
    )
    .option("--no-wait", "fail if the index has not come to the end of the log, and say how far it is")
    .option("--rebuild", "drop the index, and build it from the log again")
    .addHelpText("after", HELP)
    .action(async (record: string, own: LineageOptions, command: Command) => {
      await lineage(io, record, own, commonOptions(command.optsWithGlobals(), io));
      done(EXIT.ok);
    });
}

async function lineage(io: Io, record: string, own: LineageOptions, common: CommonOptions): Promise<void> {
  const app = await io.loadLineage();
  const interrupt = listenForInterrupt(io);
  const format = own.format ?? (common.json ? "json" : "text");
  const forward = own.forward ?? false;
  const bar = indexBar(io, common);
  try {
    const found = await app.lineage({
      log: common.log,
      record,
      ...(own.depth !== undefined && { depth: own.depth }),
      limit: own.limit,
      recompute: own.recompute,
      forward,
      ...viewOptions(io, own, bar, common),
      signal: interrupt.signal,
    });
    bar.stop();
    await write(io, linesOf(io, found, format, forward));
    if (!common.quiet && format !== "json") await say(io, found);
  } finally {
    bar.stop();
    interrupt.release();
  }
}

function linesOf(io: Io, found: Lineage, format: LineageFormat, forward: boolean): Iterable<string> {
  switch (format) {
    case "json":
      return [JSON.stringify(lineageJson(found))];
    case "dot":
      return lineageDot(found);
    case "mermaid":
      return lineageMermaid(found);
    case "text":
      return lineageLines(found, forward, {
        dim: (text) => paint(io, io.stdout, "dim", text),
        bold: (text) => paint(io, io.stdout, "bold", text),
      });
  }
}

async function write(io: Io, lines: Iterable<string>): Promise<void> {
  let part: string[] = [];
  for (const line of lines) {
    if (part.push(line) < LINES_TOGETHER) continue;
    await io.stdout.write(`${part.join("\n")}\n`);
    part = [];
  }
  if (part.length > 0) await io.stdout.write(`${part.join("\n")}\n`);
}

/** What a person should know of the answer. */
async function say(io: Io, { cut, vertices }: Lineage): Promise<void> {
  const gone = vertices.filter(({ kind }) => kind === "gone").length;
  const lost = vertices.filter((vertex) => vertex.lost).length - gone;
  if (gone > 0) {
    await io.stderr.write(
      `headwater: ${formatNumber(gone)} ${gone === 1 ? "record is" : "records are"} not kept any more; the way goes on behind ${gone === 1 ? "it" : "them"}.\n`,
    );
  }
  if (lost > 0) {
    await io.stderr.write(
      `headwater: of ${formatNumber(lost)} ${lost === 1 ? "record the value is" : "records the values are"} not kept any more, and cannot be made again.\n`,
    );
  }
  if (cut) {
    await io.stderr.write(
      `headwater: there is more: ${formatNumber(vertices.length)} records are shown. --limit and --depth show more.\n`,
    );
  }
}
