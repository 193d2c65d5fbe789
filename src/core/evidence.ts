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
const KEYS = ["headwater", "v", "log", "record", "note", "events", "records"];
const EVENT_KEYS = ["stream", "revision", "id", "type", "data", "previous", "leaf", "proof"];

/** The bytes of a file with evidence. */
export function encodeEvidence({ log, record, note, events, records }: Evidence): Uint8Array {
  return encodeCanonical(
    { headwater: "evidence", v: VERSION, log, record, note, events, records },
    Number.MAX_SAFE_INTEGER,
  );
}

/**
 * Throws `BadInput` for bytes that are none, such as those of a file that was cut, or of a newer version. What would be
 * proven by nothing is refused: other keys than there are, and an event or a record that is there twice.
 */
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
    records.every(isPair) &&
    hasKeys(evidence, KEYS);
  if (!whole) throw refuse("the evidence does not have its parts, and these alone");
  const places = events.map(({ stream, revision }) => `${stream}@${revision}`);
  for (const addresses of [places, records.map(([address]) => address)]) {
    const seen = new Set<string>();
    const twice = addresses.find((address) => seen.size === seen.add(address).size);
    if (twice !== undefined) throw refuse(`the evidence has ${twice} twice`);
  }
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
    hasKeys(value, EVENT_KEYS) &&
    [stream, id, type].every((text) => typeof text === "string") &&
    [revision, leaf].every((n) => Number.isSafeInteger(n) && (n as number) >= 0) &&
    data instanceof Uint8Array &&
    isDigest(previous) &&
    Array.isArray(proof) &&
    proof.every(isDigest)
  );
}

function isPair(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false;
  return typeof value[0] === "string" && value[1] instanceof Uint8Array;
}

function hasKeys(value: object, keys: readonly string[]): boolean {
  return Object.keys(value).length === keys.length && keys.every((key) => Object.hasOwn(value, key));
}

function refuse(message: string, cause?: unknown): HeadwaterError {
  return new HeadwaterError("BadInput", message, {
    hint: 'Get it again from whoever made it: "headwater evidence" writes such files.',
    ...(cause !== undefined && { cause }),
  });
}
