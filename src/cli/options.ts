import { InvalidArgumentError } from "commander";
import { optionMs } from "../app/option-time.ts";
import { badUsage } from "./errors.ts";
import type { Io } from "./io.ts";

/** Where the log is unless `--log` or HEADWATER_LOG says otherwise. */
export const DEFAULT_LOG = "lmdb:.headwater";

/** What every command understands. */
export interface CommonOptions {
  readonly log: string;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
}

/** The common options out of what commander found. */
export function commonOptions(
  found: {
    readonly log?: string;
    readonly json?: boolean;
    readonly quiet?: boolean;
    readonly verbose?: boolean;
  },
  io: Pick<Io, "env">,
): CommonOptions {
  const fromEnvironment = io.env["HEADWATER_LOG"];
  return {
    log:
      found.log ?? (fromEnvironment === undefined || fromEnvironment === "" ? DEFAULT_LOG : fromEnvironment),
    json: found.json ?? false,
    quiet: found.quiet ?? false,
    verbose: found.verbose ?? false,
  };
}

/** Reads a whole number between `least` and `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It has to be a whole number from ${least} to ${most}.`);
  };
}

/** Reads a time between `leastMs` and `mostMs`, in milliseconds. A number without a unit counts units of `plainMs`. */
export function timeMs(plainMs: number, leastMs: number, mostMs: number): (text: string) => number {
  return (text) => {
    const ms = optionMs(text, plainMs);
    if (ms !== undefined && ms >= leastMs && ms <= mostMs) return ms;
    const unit = plainMs === 1 ? "milliseconds" : "seconds";
    throw new InvalidArgumentError(
      `It has to be a time such as 500ms, 5s or 2m, or a number of ${unit}: from ${timeText(leastMs)} to ${timeText(mostMs)}.`,
    );
  };
}

function timeText(ms: number): string {
  const units = [
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000],
  ] as const;
  const [unit, size] = units.find(([, size]) => ms >= size && ms % size === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}

/** Throws `BadUsage` for an option that only says how `others` are meant, none of which is given. */
export function mustGoWith(option: string, given: unknown, others: Readonly<Record<string, unknown>>): void {
  if (given === undefined || Object.values(others).some((other) => other !== undefined)) return;
  const names = Object.keys(others).join(" or ");
  throw badUsage(`the option goes with ${names}`, option, `Add ${names}, or leave it out.`);
}

/** Collects what a repeatable option was given. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/**
 * `STAGE.PARAM=VALUE` of a repeatable option: `STAGE.PARAM` → value, as it was given. Throws `BadUsage` for what is
 * malformed or given twice.
 */
export function parameterTexts(option: string, given: readonly string[] = []): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const text of given) {
    const [, place, value] = /^([^.=]+\.[^.=]+)=(.*)$/s.exec(text) ?? [];
    if (place === undefined || value === undefined) {
      throw badUsage(
        `not STAGE.PARAM=VALUE: ${JSON.stringify(text)}`,
        option,
        `Write it like ${option} large.least=100.`,
      );
    }
    if (texts.has(place)) {
      throw badUsage(`the parameter ${place} is given twice`, option, "Give it once.");
    }
    texts.set(place, value);
  }
  return texts;
}

const FORMATS = ["jsonl", "json", "csv", "lines"] as const;

/** `SOURCE=FORMAT` of a repeatable option. Throws `BadUsage`. */
export function inputFormats(given: readonly string[]): ReadonlyMap<string, (typeof FORMATS)[number]> {
  const formats = new Map<string, (typeof FORMATS)[number]>();
  for (const text of given) {
    const at = text.indexOf("=");
    const source = text.slice(0, Math.max(0, at));
    const format = FORMATS.find((known) => known === text.slice(at + 1));
    if (at < 1 || format === undefined) {
      throw badUsage(
        `not SOURCE=FORMAT: ${JSON.stringify(text)}`,
        "--format",
        `The formats are ${FORMATS.join(", ")}: write it like --format web=lines.`,
      );
    }
    if (formats.has(source)) {
      throw badUsage(`source ${JSON.stringify(source)} is given twice`, "--format", "Give it once.");
    }
    formats.set(source, format);
  }
  return formats;
}

/** `SINK=WHEN`, or `WHEN` alone for all others, which is kept under the empty name. Throws `BadUsage`. */
export function rotations(given: readonly string[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const text of given) {
    const at = text.indexOf("=");
    const sink = text.slice(0, Math.max(0, at));
    if (found.has(sink)) {
      const what = sink === "" ? "the rotation of all files" : `the rotation of ${JSON.stringify(sink)}`;
      throw badUsage(`${what} is given twice`, "--rotate", "Give it once.");
    }
    found.set(sink, text.slice(at + 1));
  }
  return found;
}

/** `NAME=FILE` pairs of a repeatable option. Throws `BadUsage` for what is malformed or named twice. */
export function namedFiles(
  option: "--input" | "--output",
  name: "SOURCE" | "SINK",
  given: readonly string[] = [],
): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const text of given) {
    const at = text.indexOf("=");
    const key = text.slice(0, Math.max(0, at));
    const file = text.slice(at + 1);
    if (at < 1 || file === "") {
      const example = option === "--input" ? "edits=edits.jsonl" : "channels=channels.jsonl";
      throw badUsage(
        `not ${name}=FILE: ${JSON.stringify(text)}`,
        option,
        `Write it like ${option} ${example}.`,
      );
    }
    if (files.has(key)) {
      const hint =
        option === "--input"
          ? "A source takes one file in a run; run again for the next one."
          : "A sink writes to one file.";
      throw badUsage(`${name.toLowerCase()} ${JSON.stringify(key)} is given twice`, option, hint);
    }
    files.set(key, file);
  }
  if ([...files.values()].filter((file) => file === "-").length > 1) {
    const what = option === "--input" ? "standard input" : "standard output";
    throw badUsage(`${what} is given twice`, option, "Use files for all but one of them.");
  }
  return files;
}
