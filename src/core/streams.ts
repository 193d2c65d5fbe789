/**
 * The names of all streams. A unit of work (a source's door, a partition of a segment, a sink) has one main
 * stream, and beside it, under the same suffix, the streams that the main one refers to.
 */

/** The streams beside a source's or a partition's own, which its events refer to by revision. */
export type Beside = "payload" | "transit" | "state" | "members" | "effects" | "quarantine";

export function sourceStream(pipeline: string, source: string): string {
  return `source_${pipeline}.${source}`;
}

/** `partition` is from 0; in names it has four digits. */
export function stepsStream(pipeline: string, segment: string, partition: number): string {
  return `steps_${pipeline}.${segment}.${partitionDigits(partition)}`;
}

export function sinkStream(pipeline: string, sink: string): string {
  return `sink_${pipeline}.${sink}`;
}

/** Deployments and retention of a pipeline. */
export function pipelineStream(pipeline: string): string {
  return `pipeline_${pipeline}`;
}

/** What streams of a pipeline's fork have in the place of its name: see "Forks" in docs/format.md. */
export function forkName(pipeline: string, id: string): string {
  return `${pipeline}~${id}`;
}

/** The pipeline and id that a {@link forkName} is made of; `undefined` for any other name. */
export function forkOf(name: string): { readonly pipeline: string; readonly id: string } | undefined {
  const at = name.indexOf("~");
  return at < 0 ? undefined : { pipeline: name.slice(0, at), id: name.slice(at + 1) };
}

/** Whether `stream` is of some pipeline's fork. */
export function isForkStream(stream: string): boolean {
  return stream.includes("~");
}

/** Which records of a pipeline are to be put back, and which are discarded. */
export function retryStream(pipeline: string): string {
  return `retry_${pipeline}`;
}

/** The pipeline of a stream. */
export function pipelineOf(stream: string): string {
  return stream.slice(stream.indexOf("_") + 1).split(".", 1)[0] ?? "";
}

/** Whether `stream` is some pipeline's {@link retryStream}. */
export function isRetryStream(stream: string): boolean {
  return stream.startsWith("retry_");
}

/** Who supervises a pipeline, who lives, who is assigned what. */
export function supervisorStream(pipeline: string): string {
  return `supervisor_${pipeline}`;
}

/** The bundled code whose digest, in hex, is `digest`. */
export function codeStream(digest: string): string {
  return `code_${digest}`;
}

/** The leaves and checkpoints of the Merkle tree over all other streams. */
export const AUDIT_STREAM = "audit_log";

/** What the names of all streams that checkpoints cover begin with: see "audit_log" in docs/format.md. */
export const COVERED_PREFIXES = [
  "source_",
  "steps_",
  "sink_",
  "pipeline_",
  "supervisor_",
  "code_",
  "payload_",
  "transit_",
  "state_",
  "effects_",
  "members_",
  "quarantine_",
  "retry_",
] as const;

/** `steps_p.s.0003` → `payload_p.s.0003`; the same for a source's stream. */
export function besideStream(main: string, beside: Beside): string {
  return `${beside}${main.slice(main.indexOf("_"))}`;
}

export function partitionDigits(partition: number): string {
  return String(partition).padStart(4, "0");
}
