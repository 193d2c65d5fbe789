import { Command } from "commander";
import type { FoundRecord, SearchRequest } from "../app/search-types.ts";
import { LIMITS } from "../core/limits.ts";
import { badUsage, EXIT } from "./errors.ts";
import { formatNumber, onOneLine, paint } from "./format.ts";
import { indexBar, viewOptions } from "./index-bar.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { readingsOfKey } from "./key-text.ts";
import { type CommonOptions, commonOptions, mustGoWith, wholeNumber } from "./options.ts";

/** Digits of a digest that are shown in a line. */
const DIGEST_DIGITS = 12;

interface SearchOptions {
  readonly id?: string;
  readonly key?: string;
  readonly digest?: string;
  readonly from?: string;
  readonly to?: string;
  readonly logTime?: boolean;
  readonly node?: string;
  readonly deployment?: string;
  readonly stage?: string;
  readonly limit: number;
  readonly views?: string;
  readonly wait: boolean;
  readonly rebuild?: boolean;
}

const HELP = `
Of several conditions all have to hold. Without --stage, a time, node or deployment finds what sources have accepted;
with it, what that stage made. --id and --digest go by an index, which is kept beside the log and follows it when it is
asked; the others go through the streams, from --from on. --key asks the source's key function, which is run from the
log: open only logs that you trust. A key is read as JSON if it is a number, true, false, null or a quoted text, else as
text.

--json prints one JSON line for each record: address, kind, stage, node, version, time, eventTime, digest, id. Where
records are not kept of which it cannot be told whether they have the key, a last line says how many: keysUnknown.

Examples:
  headwater search orders --id 2017-04
  headwater search orders --digest 9b74c989…  (64 digits)
  headwater search wikipedia-edits --key "#en.wikipedia" --from 2015-09-12T12:00:00Z --to 2015-09-12T13:00:00Z
  headwater search orders --stage priced --deployment 3 --log-time --from -1h`;

/** The command `headwater search`. `done` is told the exit code. */
export function searchCommand(io: Io, done: (code: number) => void): Command {
  return new Command("search")
    .summary("find records by id, key, digest, time, node or deployment")
    .description(
      "Prints the addresses of records, which lineage takes. Only reads; another process may run the pipeline meanwhile.",
    )
    .argument("<pipeline>", "the name of a pipeline deployed in the log")
    .option("--id <id>", "the sender's own id")
    .option("--key <key>", "the key at their source")
    .option("--digest <hex>", "SHA-256 of the record, accepted or made by a stage")
    .option("--from <point>", "an ordinal, an ISO 8601 time, or a relative time (-2h): from there on")
    .option("--to <point>", "up to there, and without it")
    .option("--log-time", "times are those at which records were accepted")
    .option("--node <node>", "the node that took the step")
    .option(
      "--deployment <version>",
      "the version of the pipeline, or the beginning of its deployment's digest",
    )
    .option("--stage <name>", "only what this source accepted, or this stage made")
    .option(
      "--limit <records>",
      "print so many at most",
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
      LIMITS.searchRecords,
    )
    .option("--views <folder>", "where the index is kept (or HEADWATER_VIEWS; default: beside the log)")
    .option("--no-wait", "fail if the index has not come to the end of the log, and say how far it is")
    .option("--rebuild", "drop the index, and build it from the log again")
    .addHelpText("after", HELP)
    .action(async (pipeline: string, own: SearchOptions, command: Command) => {
      await search(io, pipeline, own, commonOptions(command.optsWithGlobals(), io));
      done(EXIT.ok);
    });
}

async function search(io: Io, pipeline: string, own: SearchOptions, common: CommonOptions): Promise<void> {
  mustGoWith("--log-time", own.logTime, { "--from": own.from, "--to": own.to });
  const app = await io.loadSearch();
  const interrupt = listenForInterrupt(io);
  const bar = indexBar(io, common);
  const logTime = own.logTime ?? false;
  const { id, digest, node, stage: at } = own;
  const gone = new Map<string, number>();
  let keysUnknown = 0;
  const [key] = own.key === undefined ? [] : readingsOfKey(own.key);
  const request: SearchRequest = {
    log: common.log,
    pipeline,
    ...(id !== undefined && { id }),
    ...(key !== undefined && { key }),
    ...(digest !== undefined && { digest }),
    ...(own.from !== undefined && { from: app.parsePoint("--from", own.from, { logTime }) }),
    ...(own.to !== undefined && { to: app.parsePoint("--to", own.to, { logTime }) }),
    ...(node !== undefined && { node }),
    ...(own.deployment !== undefined && { deployment: deploymentOf(own.deployment) }),
    ...(at !== undefined && { at }),
    ...viewOptions(io, own, bar, common),
    onGone: (stream, before) => gone.set(stream, before),
    onKeyUnknown: () => keysUnknown++,
    signal: interrupt.signal,
  };
  let shown = 0;
  let more = false;
  try {
    await app.search(request, async (found) => {
      if (shown === own.limit) {
        more = true;
        return false;
      }
      shown++;
      bar.stop();
      await io.stdout.write(`${common.json ? JSON.stringify(jsonOf(found)) : lineOf(io, found)}\n`);
      return true;
    });
  } finally {
    bar.stop();
    interrupt.release();
  }
  if (common.json && keysUnknown > 0) await io.stdout.write(`${JSON.stringify({ keysUnknown })}\n`);
  if (common.quiet) return;
  for (const [stream, before] of gone) {
    await io.stderr.write(
      `headwater: what ${stream} had before its event ${before} is not kept any more, and was not searched.\n`,
    );
  }
  if (keysUnknown > 0) {
    await io.stderr.write(
      `headwater: of ${formatNumber(keysUnknown)} ${shown > 0 ? "more " : ""}it cannot be told whether ${keysUnknown === 1 ? "it has" : "they have"} the key: ${keysUnknown === 1 ? "it is" : "they are"} not kept\n`,
    );
  }
  if (common.json) return;
  if (more)
    await io.stderr.write(`headwater: there are more than ${formatNumber(shown)}; --limit prints more.\n`);
  if (shown === 0 && keysUnknown === 0) await io.stderr.write("headwater: no such record\n");
}

/** A version in digits, or the beginning of a digest. */
function deploymentOf(text: string): string | number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  if (/^[0-9a-fA-F]{7,64}$/.test(text)) return text;
  throw badUsage(
    `neither a version nor the beginning of a digest: ${JSON.stringify(text)}`,
    "--deployment",
    "Give the version in digits, or at least 7 digits of the deployment's digest.",
  );
}

function jsonOf({ time, eventTime, ...found }: FoundRecord): unknown {
  return { ...found, time: isoTime(time), eventTime: eventTime === null ? null : isoTime(eventTime) };
}

function lineOf(
  io: Io,
  { address, kind, stage, node, version, time, eventTime, digest, id }: FoundRecord,
): string {
  const about = [
    `${kind} ${stage}`,
    ...(id === null ? [] : [`id ${id}`]),
    ...(digest === null ? [] : [digest.slice(0, DIGEST_DIGITS)]),
    `version ${version}`,
    node,
    isoTime(time),
    ...(eventTime === null ? [] : [`event time ${isoTime(eventTime)}`]),
  ];
  return `${onOneLine(address)}  ${paint(io, io.stdout, "dim", about.join(", "))}`;
}

function isoTime(time: number): string {
  return Number.isNaN(new Date(time).getTime()) ? `${time} ms` : new Date(time).toISOString();
}
