import { Command } from "commander";
import type { ShownEvent, StreamSummary } from "../app/log.ts";
import { EXIT } from "./errors.ts";
import { formatBytes, formatNumber, jsonable, onOneLine, paint, prettyJson, table } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import type { Call } from "./log-call.ts";
import { type RetainOptions, retain, withBounds } from "./log-retain.ts";
import { type CommonOptions, commonOptions, wholeNumber } from "./options.ts";

const TAIL_EVENTS = 10;
const MOST = Number.MAX_SAFE_INTEGER;
/** Lines of an export that are written together. */
const LINES_TOGETHER = 256;

/** The command `headwater log`. `done` is told the exit code. */
export function logCommand(io: Io, done: (code: number) => void): Command {
  const log = new Command("log")
    .summary("look into the log, copy it, tidy it up")
    .description("Looks into the log, also while another process runs on it.");

  /** Adds what all subcommands share: the common options, the app, Ctrl-C. */
  const action =
    <Args extends unknown[]>(work: (call: Call, ...args: Args) => Promise<void>) =>
    async (...given: [...Args, Command]) => {
      const command = given.at(-1) as Command;
      const common = commonOptions(command.optsWithGlobals(), io);
      const interrupt = listenForInterrupt(io);
      try {
        const call = { app: await io.loadLog(), common, signal: interrupt.signal };
        await work(call, ...(given.slice(0, -1) as Args));
      } finally {
        interrupt.release();
      }
      done(EXIT.ok);
    };

  log
    .command("streams")
    .description("list the streams: events, size, first and last time")
    .action(action((call) => streams(io, call)));
  log
    .command("show")
    .description("print decoded events of a stream, or one of them")
    .argument("<stream[@revision]>", "such as source_orders.orders@0")
    .option("--limit <events>", "events at most", wholeNumber(1, MOST))
    .action(action((call, place: string, own: { limit?: number }) => show(io, call, place, own.limit)));
  log
    .command("tail")
    .description("print the last events of the log or of one stream")
    .argument("[stream]")
    .option("-n, --lines <events>", "how many", wholeNumber(0, MOST), TAIL_EVENTS)
    .option("-f, --follow", "go on with those to come, until Ctrl-C")
    .action(
      action((call, stream: string | undefined, own: { lines: number; follow?: boolean }) =>
        tail(io, call, stream, own.lines, own.follow ?? false),
      ),
    );
  log
    .command("export")
    .description("write the events to standard output, as JSON lines")
    .option("--from <place>", "first event: a position, a time, or a relative time (-2h)")
    .option("--to <place>", "last event, the same")
    .action(action((call, own: { from?: string; to?: string }) => exportEvents(io, call, own)));
  log
    .command("import")
    .description("make a new log out of an export")
    .argument("<file>", "what export wrote, named .jsonl or .jsonl.gz")
    .action(action((call, file: string) => importEvents(io, call, file)));
  log
    .command("backup")
    .description("copy the log, consistent, while it is in use")
    .argument("<folder>", "an empty or new folder")
    .action(action((call, folder: string) => backup(io, call, folder)));
  withBounds(log.command("retain"))
    .description("show or change how long a pipeline's history is kept")
    .argument("<pipeline>", "its name in the log")
    .action(action((call, pipeline: string, own: RetainOptions) => retain(io, call, pipeline, own)));
  log
    .command("scavenge")
    .description("make the space of what retention let go usable again")
    .action(action((call) => scavenge(io, call)));
  return log;
}

async function streams(io: Io, { app, common }: Call): Promise<void> {
  const found: StreamSummary[] = [];
  await app.withLog(common.log, "look", async (log) => {
    for await (const stream of app.listStreams(log)) found.push(stream);
  });
  if (common.json) {
    await io.stdout.write(`${JSON.stringify(found)}\n`);
    return;
  }
  if (found.length === 0) {
    await io.stdout.write("The log holds no events yet.\n");
    return;
  }
  const rows = found.map((stream) => [
    stream.stream,
    formatNumber(stream.events),
    stream.bytes === null ? "-" : formatBytes(stream.bytes),
    stream.first ?? "-",
    stream.last ?? "-",
    stream.tombstoned ? "ended" : stream.deleted ? "deleted" : "",
  ]);
  const [head = "", ...lines] = table(
    ["stream", "events", "size", "first", "last", ""],
    rows,
    new Set([1, 2]),
  );
  await io.stdout.write(`${[paint(io, io.stdout, "dim", head), ...lines].join("\n")}\n`);
}

async function show(io: Io, { app, common, signal }: Call, place: string, limit?: number): Promise<void> {
  const [, name, revision] = /^(.+?)(?:@(\d{1,15}))?$/s.exec(place) ?? [];
  await app.withLog(common.log, "look", async (log) => {
    const options = {
      signal,
      ...(revision === undefined ? {} : { revision: Number(revision) }),
      ...(limit === undefined ? {} : { limit }),
    };
    for await (const event of app.showStream(log, name ?? place, options))
      await printEvent(io, event, common);
  });
}

async function tail(
  io: Io,
  { app, common, signal }: Call,
  stream: string | undefined,
  count: number,
  follow: boolean,
): Promise<void> {
  await app.withLog(common.log, "look", async (log) => {
    const options = { count, follow, signal, ...(stream === undefined ? {} : { stream }) };
    for await (const event of app.tailLog(log, options)) await printEvent(io, event, common);
  });
}

async function printEvent(io: Io, event: ShownEvent, common: CommonOptions): Promise<void> {
  const data = jsonable(event.data, !common.json);
  const metadata = jsonable(event.metadata, !common.json);
  if (common.json) {
    await io.stdout.write(`${JSON.stringify({ ...event, data, metadata })}\n`);
    return;
  }
  const { stream, revision, type, created, position, id } = event;
  const head = `${paint(io, io.stdout, "bold", `${stream}@${revision}`)} ${onOneLine(type)}  ${created}`;
  const place = paint(io, io.stdout, "dim", `  ${position}  ${id}`);
  const about = common.verbose ? `  metadata ${prettyJson(metadata, "  ")}\n` : "";
  await io.stdout.write(`${head}${place}\n  ${prettyJson(data, "  ")}\n${about}`);
}

async function exportEvents(io: Io, call: Call, own: { from?: string; to?: string }): Promise<void> {
  const { app, common, signal } = call;
  const range = app.parseRange(own.from, own.to);
  let lines: string[] = [];
  const flush = async () => {
    if (lines.length > 0) await io.stdout.write(`${lines.join("\n")}\n`);
    lines = [];
  };
  await app.withLog(common.log, "look", async (log) => {
    for await (const line of app.exportLog(log, range, signal)) {
      if (lines.push(line) >= LINES_TOGETHER) await flush();
    }
  });
  await flush();
}

async function importEvents(io: Io, { app, common, signal }: Call, file: string): Promise<void> {
  const report = await app.importLog(common.log, file, signal);
  if (common.json) await io.stdout.write(`${JSON.stringify(report)}\n`);
  else if (!common.quiet) {
    const { events, streams: count, log } = report;
    await io.stdout.write(
      `${formatNumber(events)} events in ${formatNumber(count)} streams imported, log ${log}\n`,
    );
  }
}

async function backup(io: Io, { app, common }: Call, folder: string): Promise<void> {
  await app.withLog(common.log, "look", (log) => app.backupLog(log, folder));
  if (common.json) await io.stdout.write(`${JSON.stringify({ log: `lmdb:${folder}` })}\n`);
  else if (!common.quiet) await io.stdout.write(`copied to ${folder}; use it with --log lmdb:${folder}\n`);
}

async function scavenge(io: Io, { app, common }: Call): Promise<void> {
  const freed = await app.withLog(common.log, "change", (log) => app.scavengeLog(log));
  if (common.json) await io.stdout.write(`${JSON.stringify(freed)}\n`);
  else if (!common.quiet) {
    const { events, bytes } = freed;
    const letGo = events === undefined ? "" : `${formatNumber(events)} events let go, `;
    await io.stdout.write(`${letGo}${formatBytes(bytes)} usable again\n`);
  }
}
