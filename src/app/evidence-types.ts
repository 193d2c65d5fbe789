export interface EvidenceRequest {
  readonly log: string;
  /** An address, `[PIPELINE/]SOURCE:ID`, `[PIPELINE/]SINK#N` or `[PIPELINE/]SINK@KEY`. */
  readonly record: string;
  /** File with the signed note that the proofs are to lead to. */
  readonly checkpoint: string;
  /** File for the evidence, an older one is replaced, nothing else is; or what takes its bytes. */
  readonly out: string | ((evidence: Uint8Array) => Promise<void>);
  readonly signal?: AbortSignal;
}

/** What was put into a file of evidence. */
export interface EvidenceReport {
  readonly record: string;
  /** `null`: it went to no file. */
  readonly file: string | null;
  readonly bytes: number;
  readonly events: number;
  /** Records on its way, and of how many of them the value is there. */
  readonly vertices: number;
  readonly values: number;
  readonly checkpoint: { readonly origin: string; readonly size: number };
}

export interface VerifyRequest {
  /** Its path; `-` is standard input. */
  readonly file: string;
  /** Verifier keys: `name+id+base64`. */
  readonly verifiers: readonly string[];
}

/** A record of the lineage that evidence proves. */
export interface ProvenRecord {
  readonly address: string;
  /** Hex; `null` where it has none: what is no record, or was processed without digests. */
  readonly digest: string | null;
  /** As JSON shows it; absent if the value is not there. */
  readonly value?: unknown;
}

/** What came of checking a file of evidence. */
export interface VerifyReport {
  readonly ok: boolean;
  readonly record: string;
  readonly log: string;
  readonly checkpoint: { readonly origin: string; readonly size: number; readonly signer: string };
  readonly events: number;
  /** Of how many of `records` the file has the bytes: of those that were let go of, or sampled out, it has none. */
  readonly values: number;
  /** The record, and what it came from, nearest first. */
  readonly records: readonly ProvenRecord[];
  readonly edges: readonly { readonly from: string; readonly to: string }[];
  readonly failures: readonly { readonly address: string; readonly message: string }[];
}
