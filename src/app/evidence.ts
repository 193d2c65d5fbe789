import { type Address, formatAddress } from "../core/address.ts";
import { linkInMetadata } from "../core/chain.ts";
import { type Checkpoint, originOf, parseCheckpoint } from "../core/checkpoint.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { decodeEvidence, type Evidence, encodeEvidence, type ProvenEvent } from "../core/evidence.ts";
import { LIMITS } from "../core/limits.ts";
import { parseNote } from "../core/signed-note.ts";
import { pipelineOf, pipelineStream } from "../core/streams.ts";
import type { Bundler } from "../ports/bundler.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { createEvidenceSurroundings } from "../runtime/compose.ts";
import { keptRecord } from "../runtime/kept-record.ts";
import { seekLeaf } from "../runtime/leaf-seeker.ts";
import { LineageReader } from "../runtime/lineage-reader.ts";
import { type Trace, traceBack } from "../runtime/lineage-trace.ts";
import { MerkleReader } from "../runtime/merkle-reader.ts";
import { resolveRecord } from "../runtime/record-address.ts";
import { readOne } from "../runtime/seek.ts";
import { checkEvidence, type EvidenceFindings } from "./evidence-check.ts";
import type { EvidenceReport, EvidenceRequest } from "./evidence-types.ts";
import { readLog } from "./read-log.ts";

/**
 * Writes a file that proves one record's lineage: see docs/evidence.md. Throws `BadInput` for a checkpoint that is of
 * another log, or older than the record; `RecordNotFound`, `RecordGone` where a part of the way has been let go of;
 * `LogDamaged` where the log is not what was signed; `ForeignOutput` for an `out` that holds something else.
 */
export async function evidence(request: EvidenceRequest): Promise<EvidenceReport> {
  const { files, bundler } = createEvidenceSurroundings();
  const note = await files.read(request.checkpoint);
  return readLog(request.log, async (log) => {
    const checkpoint = checkpointOf(note, request.checkpoint, log.id);
    const { out, signal } = request;
    const before = typeof out === "string" ? await files.findBytes(out) : undefined;
    if (typeof out === "string" && before !== undefined) mustBeEvidence(before, out);
    const { made, trace } = await makeEvidence(
      { log, bundler, note, checkpoint, from: request.checkpoint, ...(signal !== undefined && { signal }) },
      request.record,
    );
    const bytes = encodeEvidence(made);
    if (typeof out === "string") await files.replaceBytes(out, bytes);
    else await out(bytes);
    const { origin, size } = checkpoint;
    return {
      record: made.record,
      file: typeof out === "string" ? out : null,
      bytes: bytes.length,
      events: made.events.length,
      vertices: trace.records.length,
      values: made.records.length,
      checkpoint: { origin, size },
    };
  });
}

/** What evidence is made from: a log, and a note `from` a place that signs the log as `checkpoint`. */
export interface EvidenceGrounds {
  readonly log: EventLog;
  readonly bundler: Bundler;
  readonly note: string;
  readonly checkpoint: Checkpoint;
  readonly from: string;
  readonly signal?: AbortSignal;
}

/** The evidence of a record, held to what its readers will hold it to. Throws as {@link evidence}, without a file. */
export async function makeEvidence(
  { log, bundler, note, checkpoint, from, signal }: EvidenceGrounds,
  asked: string,
): Promise<{ readonly made: Evidence; readonly trace: Trace }> {
  const tree = new MerkleReader(log);
  await mustHold(tree, checkpoint, from);
  const reader = new LineageReader(log, bundler);
  const options = signal === undefined ? {} : { signal };
  const address = await resolveRecord({ log, reader, ...options }, asked);
  mustHaveDigest(address);
  const record = formatAddress(address);
  const trace = await traceBack(reader, address, { ...options, limit: LIMITS.evidenceRecords }).catch(
    placing(record),
  );
  mustBeWhole(trace);
  const events: ProvenEvent[] = [];
  for (const event of await eventsOf(log, trace)) events.push(await prove(log, tree, checkpoint, event));
  const records: [string, Uint8Array][] = [];
  for (const { place } of trace.records) {
    // Without provenance a record has no digest that its bytes could be held to.
    if (place.kind === "gone" || (await reader.digestOf(place)) === undefined) continue;
    const bytes = await keptRecord(log, place).catch(placing(place.address));
    if (bytes !== undefined) records.push([place.address, bytes]);
  }
  const made = { log: log.id, record, note, events, records };
  mustBeProven(await checkEvidence(made, checkpoint, bundler));
  return { made, trace };
}

function checkpointOf(note: string, where: string, logId: string): Checkpoint {
  let checkpoint: Checkpoint;
  try {
    checkpoint = parseCheckpoint(parseNote(note).text);
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error;
    const { hint } = error;
    throw new HeadwaterError("BadInput", error.message, { where, ...(hint !== undefined && { hint }) });
  }
  if (checkpoint.origin === originOf(logId)) return checkpoint;
  throw new HeadwaterError("BadInput", `the checkpoint is of another log: ${checkpoint.origin}`, {
    where,
    hint: `This log is ${originOf(logId)}.`,
  });
}

function mustBeEvidence(bytes: Uint8Array, where: string): void {
  try {
    decodeEvidence(bytes);
  } catch {
    throw new HeadwaterError("ForeignOutput", "the file holds something else than evidence", {
      where,
      hint: "It is not overwritten: name another place.",
    });
  }
}

async function mustHold(tree: MerkleReader, { size, root }: Checkpoint, where: string): Promise<void> {
  const there = await tree.size();
  if (size > 0 && size <= there && equalBytes(await tree.root(size), root)) return;
  const rolledBack = size > there ? `: it has ${there}, and was rolled back or cut` : "";
  const message = `the log is not the one whose first ${size} events were signed${rolledBack}`;
  throw new HeadwaterError("LogDamaged", message, {
    where,
    hint: '"headwater audit --checkpoint NOTE --verifier KEY" says more, and whether it was the note that was changed.',
  });
}

/** Of what a door rejected nothing is noted when it comes in, so that nothing ties it to its address. */
function mustHaveDigest(address: Address): void {
  if (address.k !== undefined || !address.stream.startsWith("quarantine_")) return;
  throw new HeadwaterError("BadUsage", "a record that a source rejected has no digest that could be proven", {
    where: formatAddress(address),
    hint: "If it was put back, ask for evidence of what it became: headwater lineage --forward shows it.",
  });
}

function mustBeWhole({ gone: [gone], cut }: Trace): void {
  if (gone !== undefined) {
    throw new HeadwaterError("RecordGone", "a part of the record's way is not kept any more", {
      where: gone.address,
      hint: '"headwater lineage" shows what is left of it.',
    });
  }
  if (!cut) return;
  throw new HeadwaterError("BadUsage", `the record was made of more than ${LIMITS.evidenceRecords} others`, {
    hint: "Ask for evidence of one of those further up.",
  });
}

/** What does not hold here holds nowhere: it is not written. */
function mustBeProven({ failures: [first] }: EvidenceFindings): void {
  if (first === undefined) return;
  const { address: where, message } = first;
  throw new HeadwaterError("LogDamaged", message, {
    where,
    hint: '"headwater audit --checkpoint" says what else was changed.',
  });
}

/** Rejects again with what a part of the log that does not fit was read for, where it says no place itself. */
function placing(where: string): (error: unknown) => never {
  return (error) => {
    if (!isHeadwaterError(error, "LogDamaged") || error.where !== undefined) throw error;
    const { message, hint, cause } = error;
    throw new HeadwaterError("LogDamaged", message, { where, ...(hint !== undefined && { hint }), cause });
  };
}

/** The events that the way rests on, and the deployments that they name. */
async function eventsOf(log: EventLog, trace: Trace): Promise<RecordedEvent[]> {
  const found: RecordedEvent[] = [];
  for (const { stream, revision, events } of trace.events) {
    for (let at = revision; at < revision + events; at++) found.push(await readOne(log, stream, at));
  }
  const pipelines = new Set<string>();
  for (const { stream } of trace.events) {
    pipelines.add(pipelineOf(stream));
  }
  const used = found.flatMap((event) => {
    const { data } = decodeEvent(event);
    return "deployment" in data ? [data.deployment] : [];
  });
  for (const pipeline of pipelines) {
    for await (const event of log.read(pipelineStream(pipeline))) {
      const { type, data } = decodeEvent(event);
      if (type !== "PipelineDeployed") continue;
      if (used.some((deployment) => equalBytes(deployment, data.deployment))) found.push(event);
    }
  }
  return found;
}

async function prove(
  log: EventLog,
  tree: MerkleReader,
  { size }: Checkpoint,
  event: RecordedEvent,
): Promise<ProvenEvent> {
  const { stream, revision, id, type, data, metadata } = event;
  const where = `${stream}@${revision}`;
  const link = linkInMetadata(metadata);
  if (link === undefined) {
    throw new HeadwaterError("LogDamaged", "an event's metadata does not hold its digest", { where });
  }
  const leaf = await seekLeaf(log, tree, size, event);
  if (leaf === undefined) {
    throw new HeadwaterError(
      "BadInput",
      "the checkpoint is older than the record, or than what it came from",
      {
        where,
        hint: "Sign the log as it is now with headwater checkpoint.",
      },
    );
  }
  const proof = await tree.inclusion(leaf, size);
  return { stream, revision, id, type, data, previous: link.previous, leaf, proof };
}
