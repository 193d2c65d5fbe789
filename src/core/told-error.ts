import { describeThrown, ERROR_CODES, type ErrorCode, HeadwaterError } from "./errors.ts";

/** An error as plain data, to be told to another thread. */
export interface ToldError {
  /** Absent for what was not thrown on purpose. */
  readonly code?: ErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly where?: string;
  readonly stack?: string;
  readonly cause?: ToldError;
}

/** Causes of causes that are told. */
const CAUSES_MOST = 4;

export function tellError(thrown: unknown, causes = CAUSES_MOST): ToldError {
  const { code, hint, where } = thrown instanceof HeadwaterError ? thrown : ({} as Partial<HeadwaterError>);
  const stack = stackOf(thrown);
  const cause = thrown instanceof Error && causes > 0 ? thrown.cause : undefined;
  return {
    message: describeThrown(thrown),
    ...(code !== undefined && { code }),
    ...(hint !== undefined && { hint }),
    ...(where !== undefined && { where }),
    ...(stack !== undefined && { stack }),
    ...(cause !== undefined && { cause: tellError(cause, causes - 1) }),
  };
}

/** The error that was told. */
export function errorTold(told: ToldError): Error {
  const { code, message, hint, where, stack } = told;
  const cause = told.cause && errorTold(told.cause);
  const error =
    code !== undefined && code in ERROR_CODES
      ? new HeadwaterError(code, message, {
          ...(hint !== undefined && { hint }),
          ...(where !== undefined && { where }),
          ...(cause !== undefined && { cause }),
        })
      : new Error(message, cause === undefined ? undefined : { cause });
  return stack === undefined ? error : Object.assign(error, { stack });
}

/** What is thrown may refuse to be looked at. */
function stackOf(thrown: unknown): string | undefined {
  try {
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    return typeof stack === "string" ? stack : undefined;
  } catch {
    return undefined;
  }
}
