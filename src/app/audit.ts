import {
  type Audit,
  type AuditedCheckpoint,
  type AuditItem,
  fail,
  type Tally,
} from "../../projections/audit.ts";
import { chainAudit } from "../../projections/audit-chain.ts";
import { checkpointAudit } from "../../projections/audit-checkpoint.ts";
import { payloadAudit } from "../../projections/audit-payload.ts";
import { originOf, parseCheckpoint } from "../core/checkpoint.ts";
import { describeThrown, HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type NoteVerifier, parseVerifier, verifyNote } from "../core/signed-note.ts";
import { pipelineStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { SmallFiles } from "../ports/small-files.ts";
import { auditItems } from "../runtime/audit-feed.ts";
import { createProofSurroundings, openLog } from "../runtime/compose.ts";
import type { AuditReport, AuditRequest, CheckReport } from "./audit-types.ts";

/** In the order of the report. */
const AUDITS: readonly Audit[] = [erased(chainAudit), erased(checkpointAudit), erased(payloadAudit)];

/**
 * Checks a log. Throws `BadInput` for a checkpoint that none of the keys has signed, that was changed, or that is of
 * another log, `UnknownPipeline`, and what the log throws.
 */
export async function audit(request: AuditRequest): Promise<AuditReport> {
  const { files } = createProofSurroundings();
  const verifiers = request.verifiers.map(parseVerifier);
  const log = await openLog(request.log, { readOnly: true });
  try {
    const checkpoints: AuditedCheckpoint[] = [];
    for (const path of request.checkpoints)
      checkpoints.push(await readCheckpoint(files, path, verifiers, log.id));
    return await auditLog(log, { ...request, checkpoints: checkpoints.sort((a, b) => a.size - b.size) });
  } finally {
    await log.close();
  }
}

/** Checks an open log against checkpoints whose signatures are known to be good. */
export async function auditLog(
  log: EventLog,
  options: Pick<AuditRequest, "pipeline" | "signal" | "onProgress"> & {
    readonly checkpoints: readonly AuditedCheckpoint[];
  },
): Promise<AuditReport> {
  const { pipeline, checkpoints, signal, onProgress } = options;
  if (pipeline !== undefined) await mustBeDeployed(log, pipeline);
  const about = { id: log.id, checkpoints, ...(pipeline !== undefined && { pipeline }) };
  const of = Number((await log.size()).position.commit);
  const states = AUDITS.map((audit) => audit.init(about));
  let events = 0;
  for await (const item of auditItems(log, signal)) {
    for (const [at, audit] of AUDITS.entries()) states[at] = applied(audit, states[at] as Tally, item);
    if (item.kind === "event" && ++events % LIMITS.auditProgressEvents === 0) onProgress?.(events, of);
  }
  if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before the audit was through");
  const checks = AUDITS.map(({ name }, at) => reportOf(name, states[at] as Tally));
  return { ok: checks.every(({ ok }) => ok), checks };
}

/** An audit as the driver sees it: each is only ever given its own state. */
function erased<State extends Tally>(audit: Audit<State>): Audit {
  return { ...audit, apply: (state, item) => audit.apply(state as State, item) };
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

function reportOf(name: string, { checked, unverifiable, failed, failures }: Tally): CheckReport {
  return { name, ok: failed === 0, checked, unverifiable, failed, failures };
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
  const refuse = (message: string, hint: string) =>
    new HeadwaterError("BadInput", message, { where: path, hint });
  const note = await files.read(path);
  try {
    const verdict = verifyNote(note, verifiers);
    if (verdict.kind === "forged") {
      throw refuse(
        `the checkpoint is not what ${verdict.by.name} has signed: it was changed`,
        "Get it again from where it is kept.",
      );
    }
    if (verdict.kind === "unknown") {
      throw refuse(
        `none of the keys given has signed the checkpoint; it has signatures of ${verdict.names.join(", ")}`,
        "Give the signer's verifier key with --verifier.",
      );
    }
    const { origin, size, root } = parseCheckpoint(verdict.text);
    if (origin !== originOf(logId)) {
      throw refuse(`the checkpoint is of another log: ${origin}`, `This log is ${originOf(logId)}.`);
    }
    return { where: path, size, root };
  } catch (error) {
    if (!(error instanceof HeadwaterError) || error.where !== undefined) throw error;
    throw refuse(error.message, error.hint ?? "");
  }
}
