import {
  type Audit,
  type AuditedCheckpoint,
  type AuditedEvent,
  type AuditItem,
  fail,
  isAudited,
  type Tally,
} from "../../projections/audit.ts";
import { describeThrown, HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type NoteVerifier, parseVerifier } from "../core/signed-note.ts";
import { AUDIT_STREAM, pipelineStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { SmallFiles } from "../ports/small-files.ts";
import { auditItems } from "../runtime/audit-feed.ts";
import { createProofSurroundings, openLog } from "../runtime/compose.ts";
import { AUDITS, loadChecks } from "./audit-checks.ts";
import { reexecutionCheck } from "./audit-reexecution.ts";
import type { AuditReport, AuditRequest, CheckReport } from "./audit-types.ts";
import { checkNote } from "./checkpoint-file.ts";

/**
 * Checks a log. Throws `BadInput` for a checkpoint that none of the keys has signed, that was changed, or that is of
 * another log, `BadPipeline` and `BadUsage` for a check of the user's own that is none, `UnknownPipeline`, `LogTooNew`
 * for a log that a newer program has written to, and what the log throws.
 */
export async function audit(request: AuditRequest): Promise<AuditReport> {
  const { bundler, clock, files } = createProofSurroundings();
  const own = await loadChecks(bundler, request.checks ?? []);
  const verifiers = request.verifiers.map(parseVerifier);
  const log = await openLog(request.log, { readOnly: true });
  try {
    const checkpoints: AuditedCheckpoint[] = [];
    for (const path of request.checkpoints)
      checkpoints.push(await readCheckpoint(files, path, verifiers, log.id));
    checkpoints.sort((a, b) => a.size - b.size);
    const report = await auditLog(log, { ...request, own, checkpoints });
    const { pipeline, reexecute: rate, seed, signal } = request;
    if (rate === undefined) return report;
    const check = await reexecutionCheck({ bundler, clock }, log, { pipeline, rate, seed, signal });
    return { ok: report.ok && check.ok, checks: [...report.checks, check] };
  } finally {
    await log.close();
  }
}

/** Checks an open log against checkpoints whose signatures are known to be good. Throws `UnknownPipeline`, `LogTooNew`. */
export async function auditLog(
  log: EventLog,
  options: Pick<AuditRequest, "pipeline" | "signal" | "onProgress"> & {
    readonly checkpoints: readonly AuditedCheckpoint[];
    /** Checks of the user's own. */
    readonly own?: readonly Audit[];
  },
): Promise<AuditReport> {
  const { pipeline, checkpoints, own = [], signal, onProgress } = options;
  const audits = [...AUDITS, ...own];
  if (pipeline !== undefined) await mustBeDeployed(log, pipeline);
  const about = { id: log.id, checkpoints, ...(pipeline !== undefined && { pipeline }) };
  const of = Number((await log.size()).position.commit);
  const states = audits.map((audit) => audit.init(about));
  let events = 0;
  let tooNew: AuditedEvent | undefined;
  for await (const item of auditItems(log, signal)) {
    if (item.kind === "event" && item.tooNew !== undefined && isAudited(pipeline, item)) tooNew ??= item;
    for (const [at, audit] of audits.entries()) states[at] = applied(audit, states[at] as Tally, item);
    if (item.kind === "event" && ++events % LIMITS.auditProgressEvents === 0) onProgress?.(events, of);
  }
  if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before the audit was through");
  const checks = audits.map(({ name }, at) => reportOf(name, states[at] as Tally));
  if (tooNew !== undefined) mustBeKnown(tooNew, checks);
  return { ok: checks.every(({ ok }) => ok), checks };
}

/**
 * Throws `LogTooNew` for an event that a newer program has written: nothing can be said then of what rests on it. What
 * only claims to be one, or is not as it was signed, is a failure.
 */
function mustBeKnown({ stream, revision, tooNew = "" }: AuditedEvent, checks: readonly CheckReport[]): void {
  const proofs = stream === AUDIT_STREAM ? ["chain"] : ["chain", "checkpoint"];
  if (checks.some(({ name, ok }) => proofs.includes(name) && !ok)) return;
  throw new HeadwaterError("LogTooNew", tooNew, {
    where: `${stream}@${revision}`,
    hint: "A newer Headwater wrote it. Audit the log with that version: this one cannot tell what is right in it.",
  });
}

/** What was tampered with may be of any shape: an audit that stumbles over it has found it. */
function applied(audit: Audit, state: Tally, item: AuditItem): Tally {
  try {
    return audit.apply(state, item);
  } catch (error) {
    if (item.kind !== "event") throw error;
    const message = `the event cannot be made sense of: ${describeThrown(error)}`;
    fail(state, `${item.stream}@${item.revision}`, "BadData", message);
    return state;
  }
}

function reportOf(name: string, tally: Tally): CheckReport {
  const { checked, unverifiable, failed, failures, counts, gone = {}, uncounted = [], samples = {} } = tally;
  const sampled = Object.keys(samples).length > 0;
  return {
    name,
    ok: failed === 0,
    checked,
    unverifiable,
    failed,
    failures,
    ...(counts && { counts }),
    ...(Object.values(gone).some((count) => count > 0) && { gone }),
    ...(uncounted.length > 0 && { uncounted }),
    ...(sampled && { samples }),
  };
}

async function mustBeDeployed(log: EventLog, pipeline: string): Promise<void> {
  if ((await log.streamInfo(pipelineStream(pipeline))) !== undefined) return;
  throw new HeadwaterError("UnknownPipeline", "the log has no such pipeline", {
    where: pipeline,
    hint: '"headwater log streams" lists what it has: pipeline_<name>.',
  });
}

async function readCheckpoint(
  files: SmallFiles,
  path: string,
  verifiers: readonly NoteVerifier[],
  logId: string,
): Promise<AuditedCheckpoint> {
  const { size, root } = checkNote(await files.read(path), path, verifiers, logId);
  return { where: path, size, root };
}
