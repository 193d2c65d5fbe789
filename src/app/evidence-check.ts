import { type Address, formatAddress, parseAddress } from "../core/address.ts";
import { decodeCanonical } from "../core/canonical.ts";
import type { Checkpoint } from "../core/checkpoint.ts";
import { sha256, toHex } from "../core/digest.ts";
import { describeThrown, HeadwaterError } from "../core/errors.ts";
import { type Evidence, faultOfProven } from "../core/evidence.ts";
import { LIMITS } from "../core/limits.ts";
import type { Bundler } from "../ports/bundler.ts";
import { evidenceLog } from "../runtime/evidence-log.ts";
import type { GonePlace, RecordPlace } from "../runtime/lineage-places.ts";
import { LineageReader } from "../runtime/lineage-reader.ts";
import { type Trace, traceBack } from "../runtime/lineage-trace.ts";
import type { ProvenRecord, VerifyReport } from "./evidence-types.ts";

/** What is wrong with evidence, by address, and what it shows if nothing is. */
export type EvidenceFindings = Pick<VerifyReport, "records" | "edges" | "failures">;

/**
 * Checks evidence against the tree of a checkpoint, which is taken as it is: that each event is in that tree, and that
 * these events alone say what the record came from, and its digests.
 */
export async function checkEvidence(
  evidence: Evidence,
  { size, root }: Pick<Checkpoint, "size" | "root">,
  bundler: Bundler,
): Promise<EvidenceFindings> {
  const failures: Failure[] = [];
  for (const event of evidence.events) {
    const fault = faultOfProven(event, size, root);
    if (fault !== undefined) failures.push({ address: `${event.stream}@${event.revision}`, message: fault });
  }
  const reader = new LineageReader(evidenceLog(evidence.log, evidence.events), bundler);
  const trace = failures.length > 0 ? undefined : await follow(reader, evidence, failures);
  const records = trace === undefined ? [] : await checkRecords(reader, evidence, trace, failures);
  return { records, edges: trace?.edges ?? [], failures };
}

type Failure = VerifyReport["failures"][number];

/** The record's way, as the events of the evidence alone have it; `undefined` where they do not have all of it. */
async function follow(
  reader: LineageReader,
  { record }: Evidence,
  failures: Failure[],
): Promise<Trace | undefined> {
  try {
    const address: Address = parseAddress(record);
    if (formatAddress(address) !== record) {
      failures.push({ address: record, message: "the record's address is not as addresses are written" });
      return undefined;
    }
    const trace = await traceBack(reader, address, { limit: LIMITS.evidenceRecords });
    if (!trace.cut && trace.gone.length === 0) return trace;
    const [first] = trace.gone;
    failures.push({ address: first?.address ?? record, message: "the evidence does not have the whole way" });
  } catch (error) {
    const where = error instanceof HeadwaterError ? error.where : undefined;
    const message = `the evidence does not have the whole way: ${describeThrown(error)}`;
    failures.push({ address: where ?? record, message });
  }
  return undefined;
}

/** The canonical bytes of a record that was refused, or of one that was put back. */
async function refusedRecord(
  reader: LineageReader,
  place: RecordPlace | GonePlace,
): Promise<Uint8Array | undefined> {
  switch (place.kind) {
    case "retry":
      return refusedRecord(reader, await reader.refusedAs(place));
    case "quarantined":
      return place.record.firing === undefined ? place.record.record : undefined;
    case "rejected":
      return place.record.value;
    default:
      return undefined;
  }
}

async function checkRecords(
  reader: LineageReader,
  evidence: Evidence,
  trace: Trace,
  failures: Failure[],
): Promise<ProvenRecord[]> {
  const values = new Map(evidence.records);
  // What was refused is in the events themselves.
  const refused = new Map<string, Uint8Array>();
  for (const { place } of trace.records) {
    const bytes = await refusedRecord(reader, place);
    if (bytes !== undefined) refused.set(place.address, bytes);
  }
  // A record that left a stage as it came in is that of the stage further up which made it.
  const byDigest = new Map(
    [...refused, ...evidence.records].map(([, bytes]) => [toHex(sha256(bytes)), bytes]),
  );
  const records: ProvenRecord[] = [];
  for (const { place } of trace.records) {
    const { address } = place;
    const digest = await reader.digestOf(place);
    const hex = digest === undefined ? null : toHex(digest);
    const own = refused.get(address);
    const given = hasBytes(place) ? values.get(address) : undefined;
    if (given !== undefined) values.delete(address);
    const bytes = given ?? (digest === undefined ? undefined : own);
    if (bytes !== undefined && digest === undefined) {
      failures.push({ address, message: "the record cannot be checked: no digest is kept of it" });
    } else if (bytes !== undefined && hex !== toHex(sha256(bytes))) {
      failures.push({ address, message: "the record is not the one that was processed: it was changed" });
    }
    const found = hex === null ? own : byDigest.get(hex);
    records.push({ address, digest: hex, ...(found !== undefined && { value: decodeCanonical(found) }) });
  }
  for (const address of values.keys()) failures.push({ address, message: "the record is not on the way" });
  return records;
}

/** Whether a record has bytes beside the events: those of one that was refused are in its event. */
function hasBytes({ kind }: RecordPlace | GonePlace): boolean {
  return kind === "source" || kind === "result";
}
