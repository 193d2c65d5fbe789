import { describeThrown, HeadwaterError } from "../../core/errors.ts";
import { notFoundError, tombstonedError } from "../../ports/event-log-rules.ts";
import type { Endpoint } from "./target.ts";

/**
 * What became of a call, in the terms that decide what to do next.
 * - `lost`: no answer, or one that leaves open whether it was done. Repeating it is safe when it is repeatable.
 * - `busy`: refused before anything was done; the same node may take it in a moment.
 * - `not-leader`: refused before anything was done; `leader` says who would take it, if the node knows.
 * - the others are answers, and final.
 */
export type FailureKind =
  | "lost"
  | "busy"
  | "not-leader"
  | "conflict"
  | "not-found"
  | "tombstoned"
  | "too-large"
  | "denied"
  | "certificate"
  | "invalid-position"
  | "refused";

const ANSWERS: ReadonlySet<FailureKind> = new Set([
  "conflict",
  "not-found",
  "tombstoned",
  "too-large",
  "invalid-position",
]);

/** A failed call. Never leaves the adapter: see {@link toHeadwaterError}. */
export class CallFailure extends Error {
  readonly kind: FailureKind;
  readonly leader: Endpoint | undefined;
  /** Of the stream, where a conflict tells it; −1 if it was never written. */
  readonly currentRevision: number | undefined;

  constructor(
    kind: FailureKind,
    message: string,
    more: { readonly leader?: Endpoint | undefined; readonly currentRevision?: number | undefined } = {},
  ) {
    super(message);
    this.kind = kind;
    this.leader = more.leader;
    this.currentRevision = more.currentRevision;
  }

  /** Whether the call may be made again as it was, later or elsewhere. */
  get retryable(): boolean {
    return this.breaksConnection || this.kind === "busy";
  }

  /** Whether it says something about what was asked, and nothing about the server. */
  get isAnswer(): boolean {
    return ANSWERS.has(this.kind);
  }

  /** Whether the connection it was made on is of no more use. */
  get breaksConnection(): boolean {
    return this.kind === "lost" || this.kind === "not-leader";
  }
}

/** Codes of gRPC's statuses. */
const STATUS = {
  cancelled: 1,
  unknown: 2,
  deadlineExceeded: 4,
  permissionDenied: 7,
  aborted: 10,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** What a service error looks like. Its metadata is what the server sent with it, never what was sent to it. */
interface ServiceError {
  readonly code: number;
  readonly details?: string;
  readonly metadata?: { getMap(): Record<string, unknown> };
}

const CERTIFICATE = /certificate|altname|self.signed|unable to verify|CERT_|wrong version number|EPROTO|SSL/i;

/** Reads what a call rejected or ended with. */
export function readFailure(thrown: unknown): CallFailure {
  if (thrown instanceof CallFailure) return thrown;
  if (!isServiceError(thrown)) return new CallFailure("lost", plainly(describeThrown(thrown)));
  const sent = thrown.metadata?.getMap() ?? {};
  const text = (key: string) => (sent[key] === undefined ? undefined : String(sent[key]));
  const details = plainly(thrown.details ?? "");
  switch (text("exception")) {
    case "not-leader": {
      const address = text("leader-endpoint-host");
      const port = Number(text("leader-endpoint-port"));
      const leader = address === undefined || !(port > 0) ? undefined : { address, port };
      return new CallFailure("not-leader", details, { leader });
    }
    case "stream-deleted":
      return new CallFailure("tombstoned", details);
    case "stream-not-found":
      return new CallFailure("not-found", details);
    case "wrong-expected-version": {
      const actual = text("actual-version");
      const currentRevision = actual === undefined || actual === "" ? undefined : Number(actual);
      return new CallFailure("conflict", details, { currentRevision });
    }
    case "maximum-append-size-exceeded":
      return new CallFailure("too-large", details);
    case "access-denied":
      return new CallFailure("denied", details);
  }
  if (/no leader info/i.test(details)) return new CallFailure("not-leader", details);
  if (/invalid ?position/i.test(details)) return new CallFailure("invalid-position", details);
  switch (thrown.code) {
    case STATUS.unauthenticated:
    case STATUS.permissionDenied:
      return new CallFailure("denied", details);
    case STATUS.unavailable:
      if (/server is (not ready|too busy|busy)/i.test(details)) return new CallFailure("busy", details);
      return new CallFailure(CERTIFICATE.test(details) ? "certificate" : "lost", details);
    // Unknown is also what a server says that is going down, and a socket that went away in the middle of a message.
    case STATUS.cancelled:
    case STATUS.unknown:
    case STATUS.deadlineExceeded:
    case STATUS.aborted:
    case STATUS.internal:
      return new CallFailure("lost", details);
    default:
      return new CallFailure("refused", details === "" ? `status ${thrown.code}` : details);
  }
}

/**
 * An error for people, of what a call failed with in the end.
 *
 * @param where a stream's name, or the server as `describeTarget` names it: what the failure is about
 */
export function toHeadwaterError(thrown: unknown, where: string): HeadwaterError {
  if (thrown instanceof HeadwaterError) return thrown;
  const failure = readFailure(thrown);
  const details = { where, cause: failure };
  switch (failure.kind) {
    case "tombstoned":
      return tombstonedError(where);
    case "not-found":
      return notFoundError(where);
    case "conflict":
      return new HeadwaterError("WrongExpectedRevision", "someone else has written to the stream", {
        hint: "Read the stream's end and decide again.",
        ...details,
      });
    case "too-large":
      return new HeadwaterError("AppendTooLarge", "EventStoreDB refuses an append of this size", {
        hint: "The server's --max-append-size is below its default of 1 MiB: raise it.",
        ...details,
      });
    case "invalid-position":
      return new HeadwaterError("InvalidPosition", "there is no such position in this log", {
        hint: "Positions of one log mean nothing in another.",
        ...details,
      });
    case "denied":
      return new HeadwaterError("LogDenied", "EventStoreDB does not accept the user or the password", {
        hint: "Check both, and that the user may read and write the log's streams.",
        ...details,
      });
    case "certificate":
      return new HeadwaterError("LogDenied", `no secure connection to EventStoreDB: ${failure.message}`, {
        hint: "Name the authority's certificate with ?tlsCAFile=FILE, connect to a name that the server's certificate has, or add ?tls=false for a server without.",
        ...details,
      });
    case "not-leader":
      return new HeadwaterError("LogUnavailable", "the node does not lead its cluster", {
        hint: "It may be a read-only replica, or a new leader is being elected. Connect with esdb+discover://, or name all nodes.",
        ...details,
      });
    case "busy":
      return new HeadwaterError("LogUnavailable", `EventStoreDB is not ready: ${failure.message}`, {
        hint: "Try again in a moment.",
        ...details,
      });
    case "lost":
      return new HeadwaterError("LogUnavailable", `EventStoreDB cannot be reached: ${failure.message}`, {
        hint: "Check that it runs, its address and port, and whether it uses TLS (?tls=false if not).",
        ...details,
      });
    case "refused":
      return new HeadwaterError("LogUnavailable", `EventStoreDB refuses: ${failure.message}`, {
        hint: "Look into the server's log.",
        ...details,
      });
  }
}

/** What a call fails with whose answer did not come in time. */
export function timeoutFailure(ms: number): CallFailure {
  return new CallFailure("lost", `no answer within ${ms} ms`);
}

/** Without what the transport puts around the cause of a failed connection. */
function plainly(details: string): string {
  return details
    .replace(/^No connection established\. Last error: (Error: )?/, "")
    .replace(/ Resolution note:.*$/s, "")
    .replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)/, "")
    .replace(/\.$/, "")
    .replace(/^null$/, "no connection was made")
    .replace(/^[0-9A-F]+:error:[0-9A-F]+:([^:]*):[^:]*:([^:]*):.*$/s, "$1: $2")
    .trim()
    .replace(/\.$/, "");
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return typeof thrown === "object" && thrown !== null && "code" in thrown && typeof thrown.code === "number";
}
