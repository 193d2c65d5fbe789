import { decodeCanonical, encodeCanonical } from "./canonical.ts";
import { eventDigest, eventId } from "./chain.ts";
import { DIGEST_BYTES } from "./digest.ts";
import { HeadwaterError } from "./errors.ts";
import { hashLeaf } from "./leaves.ts";
import { verifyInclusion } from "./merkle.ts";

/** An event of a log, and what shows that it was there when a checkpoint was signed. */
export interface ProvenEvent {
  readonly stream: string;
  readonly revision: number;
  readonly id: string;
  readonly type: string;
  readonly data: Uint8Array;
  /** The digest of the event before it in its stream, 32 bytes. */
  readonly previous: Uint8Array;
  /** Index of its leaf in the Merkle tree. */
  readonly leaf: number;
  /** The inclusion proof of the leaf: hashes of 32 bytes. */
  readonly proof: readonly Uint8Array[];
}

/** One record's lineage, and all that is needed to check it without the log: docs/evidence.md, byte by byte. */
export interface Evidence {
  /** The log's id. */
  readonly log: string;
  /** The address of the record. */
  readonly record: string;
  /** The signed checkpoint that the proofs lead to. */
  readonly note: string;
  readonly events: readonly ProvenEvent[];
  /** Address and canonical bytes of those records that are kept. */
  readonly records: readonly (readonly [string, Uint8Array])[];
}

const VERSION = 1;

/** The bytes of a file with evidence. */
export function encodeEvidence({ log, record, note, events, records }: Evidence): Uint8Array {
  return encodeCanonical(
    { headwater: "evidence", v: VERSION, log, record, note, events, records },
    Number.MAX_SAFE_INTEGER,
  );
}

/** Throws `BadInput` for bytes that are none, such as those of a file that was cut, or of a newer version. */
export function decodeEvidence(bytes: Uint8Array): Evidence {
  let found: unknown;
  try {
    found = decodeCanonical(bytes, Number.MAX_SAFE_INTEGER);
  } catch (cause) {
    throw refuse("the file is no evidence, or was cut or changed", cause);
  }
  const evidence = found as Partial<Evidence> & { readonly headwater?: unknown; readonly v?: unknown };
  if (evidence?.headwater !== "evidence") throw refuse("the file is no evidence");
  if (evidence.v !== VERSION) {
    throw new HeadwaterError(
      "BadInput",
      `the evidence is in version ${String(evidence.v)}, known is ${VERSION}`,
      {
        hint: "Use a newer version of Headwater.",
      },
    );
  }
  const { log, record, note, events, records } = evidence;
  const isText = (value: unknown) => typeof value === "string";
  const whole =
    [log, record, note].every(isText) &&
    Array.isArray(events) &&
    events.every(isProven) &&
    Array.isArray(records) &&
    records.every((pair) => Array.isArray(pair) && isText(pair[0]) && pair[1] instanceof Uint8Array);
  if (!whole) throw refuse("the evidence does not have all its parts");
  return evidence as Evidence;
}

/** What is wrong with an event of evidence, checked against the tree of `size` leaves with `root`; `undefined`: nothing. */
export function faultOfProven(event: ProvenEvent, size: number, root: Uint8Array): string | undefined {
  const { stream, revision, id, type, data, previous, leaf, proof } = event;
  if (eventId(event, data) !== id) return "its id is not that of its content: its data or its id was changed";
  const digest = eventDigest(previous, event, id, type, data);
  const included = verifyInclusion(hashLeaf({ stream, revision, digest }), leaf, size, proof, root);
  return included ? undefined : "it is not in the tree that was signed: it was changed, or is of another log";
}

function isProven(value: unknown): value is ProvenEvent {
  if (typeof value !== "object" || value === null) return false;
  const { stream, revision, id, type, data, previous, leaf, proof } = value as Partial<ProvenEvent>;
  const isDigest = (bytes: unknown) => bytes instanceof Uint8Array && bytes.length === DIGEST_BYTES;
  return (
    [stream, id, type].every((text) => typeof text === "string") &&
    [revision, leaf].every((n) => Number.isSafeInteger(n) && (n as number) >= 0) &&
    data instanceof Uint8Array &&
    isDigest(previous) &&
    Array.isArray(proof) &&
    proof.every(isDigest)
  );
}

function refuse(message: string, cause?: unknown): HeadwaterError {
  return new HeadwaterError("BadInput", message, {
    hint: 'Get it again from whoever made it: "headwater evidence" writes such files.',
    ...(cause !== undefined && { cause }),
  });
}
