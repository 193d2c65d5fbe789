import { createHash } from "node:crypto";
import { Packr } from "msgpackr";
import type { EventLog, RecordedEvent } from "../../src/ports/event-log.ts";

const ID_NAMESPACE = Buffer.from("8f0bd8f65a0a5b0f9d3e6c1f3a0e7b52", "hex");
const packr = new Packr({ useRecords: false });

export function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/**
 * Checks the digest chain of every stream, the ids and the metadata as docs/format.md has them under "Events and
 * their chain", with nothing of the program's own. Answers how many events there are.
 */
export async function checkChains(log: EventLog): Promise<number> {
  let events = 0;
  const letGo = await digestsLetGo(log);
  for await (const { stream, firstRevision } of log.streams()) {
    let previous = sha256(Uint8Array.of(0), packr.pack([log.id, stream]));
    let revision = firstRevision;
    if (firstRevision > 0) {
      const digest = letGo.get(`${stream}@${firstRevision}`);
      if (digest === undefined) throw new Error(`${stream}: nothing says where it begins`);
      previous = digest;
    }
    for await (const event of log.read(stream)) {
      if (event.revision !== revision++) throw new Error(`${stream}: a revision is missing`);
      previous = checkEvent(event, previous);
      events++;
    }
  }
  return events;
}

/** The digests that RetentionAdvanced says, by the address of the event that follows. */
async function digestsLetGo(log: EventLog): Promise<Map<string, Buffer>> {
  const digests = new Map<string, Buffer>();
  for await (const { type, data } of log.readAll({ filter: { prefixes: ["pipeline_"] } })) {
    if (type !== "RetentionAdvanced") continue;
    const { streams } = packr.unpack(Buffer.from(data)) as {
      readonly streams: readonly {
        readonly stream: string;
        readonly before: number;
        readonly digest: Buffer;
      }[];
    };
    for (const { stream, before, digest } of streams) digests.set(`${stream}@${before}`, Buffer.from(digest));
  }
  return digests;
}

function checkEvent({ stream, revision, id, type, data, metadata }: RecordedEvent, previous: Buffer): Buffer {
  const where = `${stream}@${revision}`;
  const name = Buffer.concat([Buffer.from(`${stream}\0${revision}\0`), sha256(data)]);
  if (uuid5(name) !== id) throw new Error(`${where}: its id is not that of its content`);
  const body = packr.pack([1, stream, revision, id, type, Buffer.from(data)]);
  const digest = sha256(Uint8Array.of(1), previous, body);
  const { wall, ...fields } = packr.unpack(Buffer.from(data)) as Readonly<Record<string, unknown>>;
  const about: Record<string, unknown> = { wall: new Date(wall as number).toISOString() };
  for (const field of ["node", "epoch", "first", "count", "through"]) {
    if (fields[field] !== undefined) about[field] = fields[field];
  }
  const derived = { v: 1, about, previous: previous.toString("hex"), digest: digest.toString("hex") };
  if (Buffer.from(metadata).toString() !== JSON.stringify(derived)) {
    throw new Error(`${where}: its metadata is not derived from it and the event before it`);
  }
  return digest;
}

/** RFC 9562, section 5.5. */
function uuid5(name: Uint8Array): string {
  const bytes = createHash("sha1").update(ID_NAMESPACE).update(name).digest().subarray(0, 16);
  bytes.writeUInt16BE((bytes.readUInt16BE(6) & 0x0fff) | 0x5000, 6);
  bytes.writeUInt16BE((bytes.readUInt16BE(8) & 0x3fff) | 0x8000, 8);
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
