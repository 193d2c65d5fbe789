import { Command } from "commander";
import type {
  HistoryPoint,
  JoinStateEntry,
  OpenWindow,
  StageState,
  StateRequest,
  WindowStateEntry,
} from "../app/state-types.ts";
import type { Value } from "../core/canonical.ts";
import { ordinalToTime } from "../core/ordinal.ts";
import { EXIT } from "./errors.ts";
import { formatNumber, jsonable, paint, prettyJson } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { readingsOfKey } from "./key-text.ts";
import { type CommonOptions, commonOptions, mustGoWith } from "./options.ts";

/** Entries that are written together. */
const ENTRIES_TOGETHER = 256;

type Key = NonNullable<StateRequest["key"]> | null;

interface StateOptions {
  readonly at?: string;
  readonly logTime?: boolean;
}

const HELP = `
KEY is read as JSON if it is a number, true, false, null, a quoted text or {"$bigint":"digits"}, else as text; where
there is nothing under that key, it is looked for as the text it is. Write -- before a key that begins with a hyphen.
A key that the stage has nothing of is no error: the answer is empty, and the exit code 0.

--at TIME is event time: the state before the first record with a later one. With --log-time it is when records were
accepted. Where the log has not come as far as is asked for, the state as of where it is is shown, and said so.

--json prints one object: pipeline, stage, kind, deployment, version, ordinal, asked, complete, keys, and entries, an
array of {key, total, last} (reduce), {key, stream, windows [{start, end, total, records, fired, changed, members}]}
(window) or {key, left, right}, arrays of {time, record, address, matched} (joins). Times are in milliseconds since 1970.

Examples:
  headwater state wikipedia-edits totals
  headwater state wikipedia-edits totals "#en.wikipedia" --at 2015-09-12T12:00:00Z
  headwater state wikipedia-windows visits --at -10m --log-time --json`;

/** The command `headwater state`. `done` is told the exit code. */
export function stateCommand(io: Io, done: (code: number) => void): Command {
  return new Command("state")
    .summary("show what a stage keeps, now or at any earlier point")
    .description(
      "Shows what a reduce, window or join keeps of each key, as of the end of the log or any point before. Only reads; another process may run the pipeline meanwhile.",
    )
    .argument("<pipeline>", "the name of a pipeline deployed in the log, or its module")
    .argument("<stage>", "a reduce, window or join")
    .argument("[key]", "of this key only")
    .option(
      "--at <point>",
      "an ordinal, an ISO 8601 time, or a relative time (-2h); default: the end of the log",
    )
    .option("--log-time", "times are those at which records were accepted")
    .addHelpText("after", HELP)
    .action(
      async (
        pipeline: string,
        stage: string,
        key: string | undefined,
        own: StateOptions,
        command: Command,
      ) => {
        await state(io, pipeline, stage, key, own, commonOptions(command.optsWithGlobals(), io));
        done(EXIT.ok);
      },
    );
}

async function state(
  io: Io,
  pipeline: string,
  stage: string,
  keyText: string | undefined,
  own: StateOptions,
  common: CommonOptions,
): Promise<void> {
  mustGoWith("--log-time", own.logTime, { "--at": own.at });
  const app = await io.loadState();
  const at: HistoryPoint | undefined =
    own.at === undefined ? undefined : app.parsePoint("--at", own.at, { logTime: own.logTime ?? false });
  const interrupt = listenForInterrupt(io);
  try {
    const request = {
      log: common.log,
      pipeline,
      stage,
      signal: interrupt.signal,
      ...(at !== undefined && { at }),
    };
    let found: StageState | undefined;
    for (const key of keyText === undefined ? [undefined] : readingsOfKey(keyText)) {
      const state = await app.stateAt({ ...request, ...(key !== undefined && { key }) });
      // Where none is found, the first reading is the one that is told of.
      if (found === undefined || state.keys > 0) found = state;
      if (found.keys > 0) break;
    }
    if (found === undefined) return;
    if (common.json) await printJson(io, found);
    else await print(io, found, keyText);
    if (!common.quiet) await say(io, found, keyText);
  } finally {
    interrupt.release();
  }
}

/** One JSON object, written piece by piece. */
async function printJson(io: Io, { entries, ...about }: StageState): Promise<void> {
  const head = JSON.stringify(about).slice(0, -1);
  let lead = `${head},"entries":[`;
  const all: Iterable<unknown> = entries;
  for await (const part of inParts(all, (entry) => JSON.stringify(jsonable(entry as Value, false)))) {
    await io.stdout.write(lead + part.join(","));
    lead = ",";
  }
  await io.stdout.write(lead === "," ? "]}\n" : `${lead}]}\n`);
}

async function print(io: Io, state: StageState, keyText: string | undefined): Promise<void> {
  const { pipeline, stage, kind, keys } = state;
  const count = keyText === undefined ? `, ${formatNumber(keys)} ${keys === 1 ? "key" : "keys"}` : "";
  const head = `${pipeline} ${stage} (${kind})${count}, ${asOf(state.ordinal)}`;
  await io.stdout.write(`${paint(io, io.stdout, "dim", head)}\n`);
  for await (const part of inParts(linesOf(io, state), (line) => line)) {
    await io.stdout.write(`${part.join("\n")}\n`);
  }
}

async function* inParts<T>(items: Iterable<T>, make: (item: T) => string): AsyncIterable<string[]> {
  let part: string[] = [];
  for (const item of items) {
    if (part.push(make(item)) < ENTRIES_TOGETHER) continue;
    yield part;
    part = [];
  }
  if (part.length > 0) yield part;
}

/** What a person should know of the answer. */
async function say(io: Io, state: StageState, keyText: string | undefined): Promise<void> {
  if (state.keys === 0) {
    const what =
      keyText === undefined ? "keeps nothing" : `keeps nothing of the key ${JSON.stringify(keyText)}`;
    await io.stderr.write(`headwater: the stage ${what} ${asOf(state.ordinal)}\n`);
  }
  if (state.complete) return;
  const { ordinal, asked, pipeline } = state;
  await io.stderr.write(
    `headwater: the log has not come to ordinal ${asked}; this is the state ${asOf(ordinal)}. What was accepted after that is still on its way, or waits for the next "headwater run ${pipeline}".\n`,
  );
}

function asOf(ordinal: number): string {
  return ordinal < 0
    ? "before the first record"
    : `as of ordinal ${ordinal} (${isoTime(ordinalToTime(ordinal))})`;
}

function* linesOf(io: Io, state: StageState): Iterable<string> {
  const key = (value: Key) => paint(io, io.stdout, "bold", jsonText(value));
  const dim = (text: string) => paint(io, io.stdout, "dim", text);
  switch (state.kind) {
    case "reduce":
      for (const { key: of, total, last } of state.entries) {
        yield `${key(of)}  ${jsonText(total)}  ${dim(`last ${last}`)}`;
      }
      return;
    case "window":
      for (const entry of state.entries) {
        yield key(entry.key);
        for (const window of entry.windows) yield windowLine(window, entry, dim);
      }
      return;
    default:
      for (const entry of state.entries) {
        yield key(entry.key);
        yield* joinLines(entry, dim);
      }
  }
}

type Dim = (text: string) => string;

function windowLine(window: OpenWindow, { stream }: WindowStateEntry, dim: Dim): string {
  const { start, end, total, records, fired, changed, members } = window;
  const span = start === null || end === null ? "without end" : `${isoTime(start)} to ${isoTime(end)}`;
  const [first, count] = members.at(-1) ?? [0, 0];
  const notes = [
    `${formatNumber(records)} ${records === 1 ? "record" : "records"}`,
    ...(fired ? ["fired"] : []),
    ...(changed ? [] : ["nothing new"]),
  ];
  return `  ${span}  ${jsonText(total)}  ${dim(`${notes.join(", ")}, last ${stream}@${first + count - 1}`)}`;
}

function* joinLines({ left, right }: JoinStateEntry, dim: Dim): Iterable<string> {
  for (const [side, records] of [["left", left] as const, ["right", right] as const]) {
    for (const { time, record, address, matched } of records) {
      const note = matched === undefined ? "" : matched ? ", matched" : ", not matched";
      yield `  ${side.padEnd(5)}  ${isoTime(time)}  ${jsonText(record)}  ${dim(`${address}${note}`)}`;
    }
  }
}

/** A value in one line, bytes shortened; a long one is indented. */
function jsonText(value: Value): string {
  return prettyJson(jsonable(value, true), "  ");
}

/** ISO 8601 where a date has that, else the milliseconds. */
function isoTime(time: number): string {
  return Number.isNaN(new Date(time).getTime()) ? `${time} ms` : new Date(time).toISOString();
}
