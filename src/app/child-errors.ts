import { describeThrown, type ErrorCode, HeadwaterError } from "../core/errors.ts";

/** An error as one process tells it to another. */
export interface ToldError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
  readonly where: string | undefined;
  readonly stack: string | undefined;
}

/** What to say of something that was thrown; `Internal` if that was not on purpose. */
export function tellError(thrown: unknown): ToldError {
  const { code, hint, where } =
    thrown instanceof HeadwaterError ? thrown : ({ code: "Internal" } as HeadwaterError);
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  return { code, message: describeThrown(thrown), hint, where, stack };
}

/** The error that was told. */
export function toldError({ code, message, hint, where, stack }: ToldError): HeadwaterError {
  const cause = Object.assign(new Error(message), stack === undefined ? {} : { stack });
  return new HeadwaterError(code, message, {
    ...(hint !== undefined && { hint }),
    ...(where !== undefined && { where }),
    cause,
  });
}
