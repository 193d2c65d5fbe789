import { HeadwaterError } from "../core/errors.ts";
import type { ChildEnd, Children } from "../ports/children.ts";
import { createProofSurroundings } from "../runtime/compose.ts";
import type { ChildRequest, FromChild } from "./audit-messages.ts";
import type { AuditReport, AuditRequest } from "./audit-types.ts";
import { toldError } from "./child-errors.ts";

/** Built beside this module. */
const CHILD = new URL("./audit-child.js", import.meta.url);

/**
 * Checks a log as `audit` does, in a process of its own: a damaged page of the log's file may end whoever reads it,
 * and is then what the report says. Throws `NodeLost` where that was ended from outside, `LogUnavailable` where it had no
 * memory left.
 */
export function audit(request: AuditRequest): Promise<AuditReport> {
  return auditIn(createProofSurroundings().children, request);
}

/** Checks a log in one of `children`. */
export async function auditIn(
  children: Children,
  { signal, onProgress, ...request }: AuditRequest,
): Promise<AuditReport> {
  let report: AuditReport | undefined;
  let error: HeadwaterError | undefined;
  let events = 0;
  const hear = (message: FromChild) => {
    if (message.kind === "report") report = message.report;
    else if (message.kind === "error") error = toldError(message.error);
    else {
      events = message.events;
      onProgress?.(message.events, message.of);
    }
  };
  const asked: ChildRequest = request;
  const end = await children.run(CHILD, asked, (message) => hear(message as FromChild), signal);
  if (error !== undefined) throw error;
  if (report !== undefined) return report;
  if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before the audit was through");
  return crashed(end, events);
}

/** Signals that a process gets for what it does itself, as when it reads a page of a file that is not there. */
const FAULTS: ReadonlySet<string> = new Set(["SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGTRAP"]);

function crashed({ code, signal, outOfMemory }: ChildEnd, events: number): AuditReport {
  const how = signal ?? `exit code ${code}`;
  if (outOfMemory) {
    throw new HeadwaterError(
      "LogUnavailable",
      `what reads the log had no memory left after ${events} events or more`,
      {
        where: how,
        hint: "Give it more (NODE_OPTIONS=--max-old-space-size=MEBIBYTES). If that does not help, a part of the log's file may be damaged.",
      },
    );
  }
  if (signal !== undefined && !FAULTS.has(signal)) {
    throw new HeadwaterError("NodeLost", "the process that reads the log was ended from outside", {
      where: signal,
      hint: "Nothing is said of the log. Audit it again; a system that is short of memory ends processes, too.",
    });
  }
  const message = `what reads the log was ended by it (${how}) after ${events} events or more: a part of its file is damaged`;
  const failures = [{ address: "the log", code: "LogDamaged", message }];
  return {
    ok: false,
    checks: [{ name: "chain", ok: false, checked: events, unverifiable: 0, failed: 1, failures }],
  };
}
