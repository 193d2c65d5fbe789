/**
 * Every way in which Headwater fails on purpose. One closed union: HTTP status and exit code are decided from
 * it in one table each, and a caller can switch over it exhaustively.
 */
export const ERROR_CODES = {
  // What the caller wrote is wrong; nothing was begun.
  BadUsage: { retryable: false },
  BadName: { retryable: false },
  BadPipeline: { retryable: false },
  BadParameter: { retryable: false },
  BadInput: { retryable: false },
  UnknownSource: { retryable: false },
  UnknownSink: { retryable: false },
  UnknownPipeline: { retryable: false },
  UnknownStage: { retryable: false },
  RecordNotFound: { retryable: false },
  RecordGone: { retryable: false },
  ViewBehind: { retryable: true },
  ViewDamaged: { retryable: false },
  ForeignOutput: { retryable: false },
  NotQuarantined: { retryable: false },
  NotRetryable: { retryable: false },
  IncompatibleDeployment: { retryable: false },
  // A value cannot be a record.
  NotCanonical: { retryable: false },
  RecordTooLarge: { retryable: false },
  // The log.
  WrongExpectedRevision: { retryable: false },
  StreamNotFound: { retryable: false },
  StreamTombstoned: { retryable: false },
  InvalidPosition: { retryable: false },
  AppendTooLarge: { retryable: false },
  LogMissing: { retryable: false },
  LogUnavailable: { retryable: true },
  LogDenied: { retryable: false },
  LogFull: { retryable: true },
  LogDamaged: { retryable: false },
  LogForeign: { retryable: false },
  LogTooNew: { retryable: false },
  LogClosed: { retryable: false },
  // Running.
  InputFailed: { retryable: false },
  OutputFailed: { retryable: true },
  OutputRefused: { retryable: false },
  SinkFailed: { retryable: true },
  StageFailed: { retryable: false },
  BadEffect: { retryable: false },
  EffectFailed: { retryable: false },
  EffectTimedOut: { retryable: false },
  EffectMissing: { retryable: false },
  NodeLost: { retryable: true },
  Withdrawn: { retryable: false },
  OwnershipLost: { retryable: true },
  Overloaded: { retryable: true },
  Stopped: { retryable: true },
  Internal: { retryable: false },
} as const satisfies Record<string, { readonly retryable: boolean }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** What an error carries beside its code and message. */
export interface ErrorDetails {
  /** What to do next, as a full sentence. */
  readonly hint?: string;
  /** The place: a file and line, a stage, a stream and revision, a path inside a record. */
  readonly where?: string;
  readonly cause?: unknown;
}

/**
 * The only error that Headwater throws on purpose. `message` says what is wrong without naming the place;
 * `where` names it; `hint` says what to do next.
 */
export class HeadwaterError extends Error {
  override readonly name = "HeadwaterError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly where: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
    this.where = details.where;
  }

  /** Whether the same call may succeed later without anything being changed by the caller. */
  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }
}

/** Whether `error` is a {@link HeadwaterError}, of the given code if one is given. */
export function isHeadwaterError(error: unknown, code?: ErrorCode): error is HeadwaterError {
  try {
    return error instanceof HeadwaterError && (code === undefined || error.code === code);
  } catch {
    // A proxy may refuse to be asked.
    return false;
  }
}

/** The message of anything that may be thrown, for texts that people read. */
export function describeThrown(thrown: unknown): string {
  try {
    // A message may have been set to anything.
    return String(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    return "a value that cannot be shown";
  }
}

/** What was thrown, with the places in its stack named by `places`; as it is if it has no stack that can be read. */
export function withPlaces(thrown: unknown, places: (stack: string) => string): unknown {
  try {
    if (!(thrown instanceof Error) || typeof thrown.stack !== "string") return thrown;
    const named = new Error(thrown.message, thrown.cause === undefined ? undefined : { cause: thrown.cause });
    return Object.assign(named, { name: thrown.name, stack: places(thrown.stack) });
  } catch {
    return thrown;
  }
}
