import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { describeThrown, HeadwaterError } from "../core/errors.ts";
import type { QuarantinedRecord } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";

/** Why a record was quarantined, of anything that may be thrown: reading it never throws. */
export type Reason = Pick<QuarantinedRecord, "code" | "message" | "where" | "stack">;

export function reasonOf(thrown: unknown): Reason {
  const stack = isError(thrown) && !isOwn(thrown) ? read(thrown, "stack") : undefined;
  const where = isOwn(thrown) ? thrown.where : undefined;
  return {
    code: isOwn(thrown) ? thrown.code : "StageFailed",
    message: cutReason(messageOf(thrown)),
    ...(where !== undefined && { where: cutReason(where) }),
    ...(typeof stack === "string" && { stack: cutReason(stack) }),
  };
}

/**
 * The message of what was thrown, and behind it those of its causes, each unless the ones before it have it already;
 * of what is no Error it says so.
 */
export function messageOf(thrown: unknown): string {
  if (!isError(thrown)) return `${kindOf(thrown)} was thrown, not an Error: ${contentOf(thrown)}`;
  let whole = describeThrown(thrown);
  for (const message of causesOf(thrown)) {
    if (message !== "" && !whole.includes(message)) whole = whole === "" ? message : `${whole}: ${message}`;
  }
  return whole === "" ? `${nameOf(thrown)} without a message` : whole;
}

function nameOf(error: Error): string {
  const name = read(error, "name");
  return typeof name === "string" && name !== "" ? name : "Error";
}

/** So many causes of an error are told, one behind the other, and of each so many that stand side by side. */
const CAUSES_MOST = 4;

/** What the error was made of: with `fetch failed` alone nobody could mend anything. */
function* causesOf(error: Error): Iterable<string> {
  let at: unknown = error;
  for (let depth = 0; depth < CAUSES_MOST && at !== undefined; depth++) {
    const several = read(at, "errors");
    if (Array.isArray(several)) yield several.slice(0, CAUSES_MOST).map(causeText).join("; ");
    // Of the failure of an effect the message says what its call threw; the cause has only the name and code of that.
    if (isOwn(at) && at.code === "EffectFailed") return;
    at = read(at, "cause");
    if (at !== undefined) yield causeText(at);
  }
}

function causeText(cause: unknown): string {
  return isError(cause) ? describeThrown(cause) : contentOf(cause);
}

/** Plain data as JSON, the same for what is the same; anything else as it describes itself. */
function contentOf(thrown: unknown): string {
  if (typeof thrown !== "object" || thrown === null) return describeThrown(thrown);
  try {
    return JSON.stringify(decodeCanonical(encodeCanonical(thrown)), plainer);
  } catch {
    return describeThrown(thrown);
  }
}

/** What JSON has no form of. */
function plainer(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  return value instanceof Uint8Array ? `${value.length} bytes` : value;
}

/** A text as an event may hold it. */
export function cutReason(text: string): string {
  return text.slice(0, LIMITS.reasonChars).toWellFormed();
}

/** A property of something unknown; `undefined` where it cannot be read. */
export function read(thrown: unknown, property: string): unknown {
  try {
    return (thrown as Record<string, unknown> | null | undefined)?.[property];
  } catch {
    return undefined;
  }
}

export function isError(thrown: unknown): thrown is Error {
  try {
    return thrown instanceof Error;
  } catch {
    // A proxy may refuse to be asked.
    return false;
  }
}

function isOwn(thrown: unknown): thrown is HeadwaterError {
  return isError(thrown) && thrown instanceof HeadwaterError;
}

const KINDS: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  bigint: "a BigInt",
  boolean: "a boolean",
  symbol: "a symbol",
  function: "a function",
  object: "an object",
};

function kindOf(thrown: unknown): string {
  if (thrown === undefined || thrown === null) return String(thrown);
  return KINDS[typeof thrown] ?? typeof thrown;
}
