import { encodeCanonical } from "../../src/core/canonical.ts";
import { eventDigest, eventId } from "../../src/core/chain.ts";
import { formatCheckpoint, originOf } from "../../src/core/checkpoint.ts";
import { DIGEST_BYTES } from "../../src/core/digest.ts";
import type { Evidence, ProvenEvent } from "../../src/core/evidence.ts";
import { hashLeaf } from "../../src/core/leaves.ts";
import { inclusionPlan, MerkleEdge } from "../../src/core/merkle.ts";
import { type NoteSigner, noteSigner, signNote } from "../../src/core/signed-note.ts";
import { seededRandom, upTo } from "../simulation/virtual-world.ts";

/** A file that says something else than what was signed, or says it in another way than evidence is written. */
export interface Forgery {
  readonly what: string;
  readonly bytes: Uint8Array;
}

/** Single bits that are turned in a file. */
const FLIPS = 150;
const MARK = Buffer.from("a place for other bytes");
const NO_HASH = new Uint8Array(DIGEST_BYTES);
const ANOTHER_ID = "00000000-0000-5000-8000-000000000000";

/** What can be said without the key of who has signed it, and with the key, by who puts other leaves into the tree. */
export function* forgeriesOf(evidence: Evidence, signer: NoteSigner): Generator<Forgery> {
  yield* forgedFiles(evidence);
  yield* forgedNotes(evidence);
  yield* forgedEvents(evidence, signer);
  yield* forgedAddresses(evidence);
  yield* forgedRecords(evidence);
  yield* turnedBits(evidence);
}

/** The bytes of evidence, or of what is only like it. */
export function encoded(evidence: object): Uint8Array {
  return encodeCanonical({ headwater: "evidence", v: 1, ...evidence }, Number.MAX_SAFE_INTEGER);
}

/** A leaf whose digest is not that of the event in its place. */
type Planted = ProvenEvent & { readonly digest?: Uint8Array };

/** The same evidence, of a log that has these events alone: a tree of their leaves, and a note of it. */
export function signedAnew(evidence: Evidence, signer: NoteSigner, planted: readonly Planted[]): Evidence {
  const leaves = planted.map((event) => {
    const { stream, revision, previous, id, type, data } = event;
    return hashLeaf({
      stream,
      revision,
      digest: event.digest ?? eventDigest(previous, event, id, type, data),
    });
  });
  const rootOf = (start: number, end: number) => {
    const edge = new MerkleEdge();
    for (const leaf of leaves.slice(start, end)) edge.append(leaf);
    return edge.root();
  };
  const size = leaves.length;
  const events = planted.map(({ digest: _, ...event }, leaf) => ({
    ...event,
    leaf,
    proof: inclusionPlan(leaf, size).map(({ start, end }) => rootOf(start, end)),
  }));
  const text = formatCheckpoint({ origin: originOf(evidence.log), size, root: rootOf(0, size) });
  return { ...evidence, events, note: signNote(text, [signer]) };
}

function* forgedFiles(evidence: Evidence): Generator<Forgery> {
  const whole = encoded(evidence);
  yield { what: "another version", bytes: encoded({ ...evidence, v: 2 }) };
  yield { what: "no number as version", bytes: encoded({ ...evidence, v: true }) };
  yield { what: "another kind of file", bytes: encoded({ ...evidence, headwater: "x" }) };
  yield { what: "a key more", bytes: encoded({ ...evidence, more: "never signed" }) };
  for (const key of ["v", ...Object.keys(evidence)]) {
    yield { what: `no ${key}`, bytes: encoded({ ...evidence, [key]: undefined }) };
  }
  yield { what: "a byte more", bytes: Uint8Array.from([...whole, 0xc0]) };
  yield { what: "a byte less", bytes: whole.subarray(0, -1) };
  const [first = 0, ...rest] = whole;
  const twice = Buffer.from(encodeCanonical({ v: 1 })).subarray(1);
  yield {
    what: "a key twice",
    bytes: Buffer.concat([Uint8Array.of(first + 1), Uint8Array.from(rest), twice]),
  };
  yield { what: "no events", bytes: encoded({ ...evidence, events: [] }) };
  yield { what: "a map of records", bytes: encoded({ ...evidence, records: {} }) };
  yield { what: "another log", bytes: encoded({ ...evidence, log: ANOTHER_ID }) };
}

function* forgedNotes(evidence: Evidence): Generator<Forgery> {
  const forged = (what: string, note: unknown): Forgery => ({ what, bytes: encoded({ ...evidence, note }) });
  const { note } = evidence;
  const end = note.indexOf("\n\n") + 2;
  const [origin = "", size = "", root = ""] = note.split("\n");
  yield forged("a note without signatures", note.slice(0, end));
  yield forged("a note of another size", note.replace(size, String(Number(size) + 1)));
  yield forged("a note with another root", note.replace(root, Buffer.from(NO_HASH).toString("base64")));
  yield forged("a note with a line more", `${note.slice(0, end - 1)}more\n${note.slice(end - 1)}`);
  const name = /^— (\S+) /mu.exec(note)?.[1] ?? "";
  const other = noteSigner(name, Buffer.alloc(DIGEST_BYTES, 7));
  yield forged("a note by another key of the name", signNote(`${origin}\n${size}\n${root}\n`, [other]));
}

/** Changes of single events, each to be refused whatever event it is made to. */
const CHANGES: Readonly<Record<string, (event: ProvenEvent) => object>> = {
  "another stream": ({ stream }) => ({ stream: `${stream}x` }),
  "another revision": ({ revision }) => ({ revision: revision + 1 }),
  "another type": ({ type }) => ({ type: `${type}x` }),
  "another id": () => ({ id: ANOTHER_ID }),
  "other data": ({ data }) => ({ data: turned(data) }),
  "more data": ({ data }) => ({ data: Uint8Array.from([...data, 0xc0]) }),
  "other data, with its id": (event) => ({
    data: turned(event.data),
    id: eventId(event, turned(event.data)),
  }),
  "data as text": () => ({ data: "text" }),
  "another event before it": ({ previous }) => ({ previous: turned(previous) }),
  "none before it": () => ({ previous: new Uint8Array(0) }),
  "the next leaf": ({ leaf }) => ({ leaf: leaf + 1 }),
  "a leaf as far on as the proof is high": ({ leaf, proof }) => ({ leaf: leaf + 2 ** proof.length }),
  "a leaf far on": ({ leaf }) => ({ leaf: leaf + 2 ** 31 }),
  "a leaf below 0": ({ leaf }) => ({ leaf: -leaf - 1 }),
  "a leaf that is no number": () => ({ leaf: true }),
  "a leaf that is no whole number": ({ leaf }) => ({ leaf: leaf + 0.5 }),
  "a shorter proof": ({ proof }) => ({ proof: proof.slice(0, -1) }),
  "a longer proof": ({ proof }) => ({ proof: [...proof, NO_HASH] }),
  "a proof that begins with another hash": ({ proof: [first = NO_HASH, ...more] }) => ({
    proof: [turned(first), ...more],
  }),
  "a proof with a longer hash": ({ proof: [first = NO_HASH, ...more] }) => ({
    proof: [Uint8Array.from([...first, 0]), ...more],
  }),
  "no proof": () => ({ proof: [] }),
  "a map as proof": () => ({ proof: {} }),
  "a key more": () => ({ more: "never signed" }),
  "no leaf": () => ({ leaf: undefined }),
};

function* forgedEvents(evidence: Evidence, signer: NoteSigner): Generator<Forgery> {
  const { events } = evidence;
  for (const [at, event] of events.entries()) {
    const where = `${event.stream}@${event.revision}`;
    const forged = (what: string, ...by: readonly object[]): Forgery => ({
      what: `${where}: ${what}`,
      bytes: encoded({ ...evidence, events: events.toSpliced(at, 1, ...(by as ProvenEvent[])) }),
    });
    const planted = (what: string, change: Partial<Planted>, shown: object = {}): Forgery => {
      const anew = signedAnew(evidence, signer, events.toSpliced(at, 1, { ...event, ...change }));
      const by = { ...(anew.events[at] as ProvenEvent), ...shown };
      return {
        what: `${where}: ${what}`,
        bytes: encoded({ ...anew, events: anew.events.toSpliced(at, 1, by) }),
      };
    };
    for (const [what, change] of Object.entries(CHANGES)) yield forged(what, { ...event, ...change(event) });
    yield forged("left out");
    yield forged("twice", event, event);
    const marked = forged("its leaf as a float", { ...event, leaf: Uint8Array.from(MARK) });
    yield { ...marked, bytes: withFloat(marked.bytes, event.leaf) };
    // Of these the leaf is in the tree that was signed.
    yield planted("an id that is not that of its content", { id: ANOTHER_ID });
    yield planted("a hash before it that is too short", { previous: event.previous.subarray(1) });
    yield planted("a hash before it that is too long", {
      previous: Buffer.concat([event.previous, NO_HASH]),
    });
    const { data, digest, previous } = swallowing(event);
    yield planted("what another event holds in its data", { data, digest }, { ...event, previous });
  }
}

/** The data of an event that has `inner` at its end, and what has to stand before `inner` to have its digest. */
function swallowing(inner: ProvenEvent) {
  const { stream, revision, id, type, previous } = inner;
  const hashed = (id: string, data: Uint8Array) =>
    encodeCanonical([1, stream, revision, id, type, data], Number.MAX_SAFE_INTEGER);
  const end = hashed(id, inner.data);
  const data = encodeCanonical({ v: 1, zz: end }, Number.MAX_SAFE_INTEGER);
  const own = eventId(inner, data);
  const all = hashed(own, data);
  return {
    data,
    digest: eventDigest(previous, inner, own, type, data),
    previous: Buffer.concat([previous, all.subarray(0, all.length - end.length)]),
  };
}

function* forgedAddresses(evidence: Evidence): Generator<Forgery> {
  const { record, records } = evidence;
  const addresses = records.map(([address]) => address);
  const others = addresses.slice(1).filter((address) => address !== record);
  const places = [record, ...others].flatMap((address) => {
    const [stream = "", place = ""] = address.split("@");
    const [, n = "", rest = ""] = /^(\d+)(.*)$/.exec(place) ?? [];
    const arabic = n.replace(/\d/g, (digit) => String.fromCharCode(0x660 + Number(digit)));
    const all = [`${stream}@0${n}${rest}`, `${stream}@${arabic}${rest}`, `${stream}@${n}${rest}\n`];
    all.push(`${stream}@${n}.99${rest.replace(/^\.\d+/, "")}`, `${stream}@99999999${rest}`);
    if (stream.startsWith("source_"))
      all.push(`${address}.0`, `${address}.3`, `${address}/x`, `${address}.0/x`);
    else all.push(`${stream}@${n}${rest}x`);
    if (stream.startsWith("steps_")) all.push(address.replace("steps_", "quarantine_"));
    all.push(`quarantine_${stream.slice(stream.indexOf("_") + 1)}@0`, `retry_${stream}@0`, "", "x");
    return all;
  });
  for (const place of [...new Set([...others, ...places])]) {
    const what = `of the record ${JSON.stringify(place)}`;
    yield { what, bytes: encoded({ ...evidence, record: place }) };
    // With its own record for it; one that is of another place by its address alone is on no way.
    if (others.includes(place)) continue;
    for (const [address, bytes] of records) {
      if (!place.includes(address.split(/[@.]/)[2] ?? "@")) continue;
      yield {
        what: `${what}, with bytes`,
        bytes: encoded({ ...evidence, record: place, records: [[place, bytes]] }),
      };
    }
    yield { what: `${what}, without any`, bytes: encoded({ ...evidence, record: place, records: [] }) };
  }
}

function* forgedRecords(evidence: Evidence): Generator<Forgery> {
  const { records } = evidence;
  const forged = (what: string, at: number, ...by: readonly unknown[]): Forgery => ({
    what: `${records[at]?.[0]}: ${what}`,
    bytes: encoded({ ...evidence, records: (records as readonly unknown[]).toSpliced(at, 1, ...by) }),
  });
  const fake = encodeCanonical({ id: "FORGED" });
  yield forged("of what was put back", records.length, ["retry_mended@0", fake]);
  yield forged("of what was refused", records.length, ["quarantine_mended.double.0000@0.0/fussy", fake]);
  for (const [at, pair] of records.entries()) {
    const [address, bytes] = pair;
    const [other = ""] = records[(at + 1) % records.length] ?? [];
    yield forged("other bytes", at, [address, fake]);
    yield forged("a byte more", at, [address, Uint8Array.from([...bytes, 0xc0])]);
    yield forged("other bytes ahead of its own", at, [address, fake], pair);
    yield forged("other bytes after its own", at, pair, [address, fake]);
    yield forged("twice", at, pair, pair);
    yield forged("a third part", at, [address, bytes, 1]);
    yield forged("no bytes", at, [address]);
    yield forged("text as bytes", at, [address, "text"]);
    if (other !== address) yield forged("as that of another", at, [other, bytes]);
    yield forged("of an output, and not of a stage", at, [
      `${address.split("/")[0]}${address.startsWith("source_") ? ".0" : ""}`,
      bytes,
    ]);
    yield forged("of no place", at, pair, [`${address}x`, bytes]);
    yield forged("of the input that it is the parent of", at, [address.replace(/\..*/, ""), fake]);
  }
}

function* turnedBits(evidence: Evidence): Generator<Forgery> {
  const bytes = encoded(evidence);
  const random = seededRandom(77);
  for (let flip = 0; flip < FLIPS; flip++) {
    const at = upTo(random, bytes.length - 1);
    const changed = Uint8Array.from(bytes);
    changed[at] = (changed[at] as number) ^ (1 << upTo(random, 7));
    yield { what: `a bit of byte ${at}`, bytes: changed };
  }
}

function turned(bytes: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  return changed;
}

/** The mark in `bytes` replaced by a number as a float, which a canonical encoder never writes for a small one. */
function withFloat(bytes: Uint8Array, value: number): Uint8Array {
  const at = Buffer.from(bytes).indexOf(MARK);
  const float = Buffer.alloc(9, 0xcb);
  float.writeDoubleBE(value, 1);
  // Before the mark is its type and its length.
  return Buffer.concat([bytes.subarray(0, at - 2), float, bytes.subarray(at + MARK.length)]);
}
