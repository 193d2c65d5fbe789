import { CommanderError } from "commander";
import { describeThrown, type ErrorCode, HeadwaterError } from "../core/errors.ts";
import { asLines, onOneLine, paint, stackLines } from "./format.ts";
import type { Io } from "./io.ts";

/** Done, all well; worked and found a problem; bad usage or input; something outside failed; stopped by a signal. */
export const EXIT = { ok: 0, problem: 1, usage: 2, failed: 3, stopped: 130 } as const;

type Exit = (typeof EXIT)[keyof typeof EXIT];

/** The one place where an error becomes an exit code. */
const EXIT_OF: Readonly<Record<ErrorCode, Exit>> = {
  BadUsage: EXIT.usage,
  BadName: EXIT.usage,
  BadPipeline: EXIT.usage,
  BadParameter: EXIT.usage,
  BadInput: EXIT.usage,
  UnknownSource: EXIT.usage,
  UnknownSink: EXIT.usage,
  UnknownPipeline: EXIT.usage,
  UnknownStage: EXIT.usage,
  RecordNotFound: EXIT.usage,
  RecordGone: EXIT.usage,
  ViewBehind: EXIT.failed,
  ViewDamaged: EXIT.failed,
  ForeignOutput: EXIT.usage,
  NotQuarantined: EXIT.usage,
  NotRetryable: EXIT.usage,
  IncompatibleDeployment: EXIT.usage,
  StreamNotFound: EXIT.usage,
  StreamTombstoned: EXIT.usage,
  InvalidPosition: EXIT.usage,
  NotCanonical: EXIT.failed,
  RecordTooLarge: EXIT.failed,
  WrongExpectedRevision: EXIT.failed,
  AppendTooLarge: EXIT.failed,
  LogMissing: EXIT.failed,
  LogUnavailable: EXIT.failed,
  LogDenied: EXIT.failed,
  LogFull: EXIT.failed,
  LogDamaged: EXIT.failed,
  LogForeign: EXIT.failed,
  LogTooNew: EXIT.failed,
  LogClosed: EXIT.failed,
  InputFailed: EXIT.failed,
  OutputFailed: EXIT.failed,
  OutputRefused: EXIT.failed,
  SinkFailed: EXIT.failed,
  StageFailed: EXIT.failed,
  BadEffect: EXIT.failed,
  EffectFailed: EXIT.failed,
  EffectTimedOut: EXIT.failed,
  EffectMissing: EXIT.failed,
  NodeLost: EXIT.failed,
  Withdrawn: EXIT.failed,
  OwnershipLost: EXIT.failed,
  Overloaded: EXIT.failed,
  Internal: EXIT.failed,
  Stopped: EXIT.stopped,
};

/** How an error is shown. */
export interface ErrorStyle {
  readonly json: boolean;
  readonly verbose: boolean;
}

/** Prints `error` on standard error and answers the exit code that belongs to it. */
export async function reportError(io: Io, thrown: unknown, style: ErrorStyle): Promise<number> {
  const error = toHeadwaterError(thrown);
  const { code, message, hint, where } = error;
  if (style.json) {
    await io.stderr.write(
      `${JSON.stringify({ error: { code, message, hint: hint ?? null, where: where ?? null } })}\n`,
    );
  } else {
    const prefix = paint(io, io.stderr, "red", "headwater:");
    const place = where === undefined || where === "" ? "" : `: ${onOneLine(where)}`;
    await io.stderr.write(
      `${prefix} ${onOneLine(message)}${place}\n${hint === undefined ? "" : asLines([hint])}`,
    );
  }
  if (style.verbose) await io.stderr.write(asLines(stackLines(stackOf(thrown))));
  return EXIT_OF[code];
}

/** Bad usage in the words of {@link HeadwaterError}. */
export function badUsage(message: string, where: string, hint: string): HeadwaterError {
  return new HeadwaterError("BadUsage", message, { where, hint });
}

function toHeadwaterError(thrown: unknown): HeadwaterError {
  if (thrown instanceof HeadwaterError) return thrown;
  if (thrown instanceof CommanderError) return usageError(thrown);
  return new HeadwaterError("Internal", describeThrown(thrown), {
    hint: "This is not expected to happen. Run again with --verbose, and report what it prints.",
    cause: thrown,
  });
}

/** Commander's ways to say what is wrong, and our words for them: what, where, and a hint if it holds one. */
const USAGE: readonly (readonly [RegExp, string])[] = [
  [
    /^option '(?<where>[^']+)' argument '(?<value>[^']*)' is invalid\. (?<hint>.+)$/,
    "not a value for this option",
  ],
  [/^option '(?<where>[^']+)' argument missing$/, "this option needs a value"],
  [/^unknown option '(?<where>[^']+)'$/, "unknown option"],
  [/^unknown command '(?<where>[^']+)'$/, "unknown command"],
  [/^required option '(?<where>[^']+)' not specified$/, "an option is missing"],
  [/^missing required argument '(?<where>[^']+)'$/, "an argument is missing"],
  [/^too many arguments for '(?<where>[^']+)'\. (?<hint>.+)$/, "too many arguments"],
];

/** Commander's errors: `error: unknown option '--joson'` and, on the next line, `(Did you mean --json?)`. */
function usageError(error: CommanderError): HeadwaterError {
  const [what = "", ...more] = error.message.replace(/^error: /, "").split("\n");
  const suggestion = /Did you mean (?:one of )?(.+?)\?\)?$/.exec(more.join(" "))?.[1];
  const help = '"headwater --help" lists commands and options.';
  for (const [pattern, message] of USAGE) {
    const groups = pattern.exec(what)?.groups;
    if (groups === undefined) continue;
    const { where = "", value, hint } = groups as { where?: string; value?: string; hint?: string };
    return new HeadwaterError(
      "BadUsage",
      value === undefined ? message : `${message}: ${JSON.stringify(value)}`,
      {
        where,
        hint: suggestion === undefined ? (hint ?? help) : `Did you mean ${suggestion}?`,
        cause: error,
      },
    );
  }
  return new HeadwaterError("BadUsage", what, { where: "command line", hint: help, cause: error });
}

/** The stack of anything that may be thrown, with those of its causes. */
export function stackOf(thrown: unknown): string {
  try {
    if (!(thrown instanceof Error)) return describeThrown(thrown);
    const own = thrown.stack ?? thrown.message;
    return thrown.cause === undefined ? own : `${own}\nCaused by: ${stackOf(thrown.cause)}`;
  } catch {
    // What was thrown may refuse to be read.
    return describeThrown(thrown);
  }
}
