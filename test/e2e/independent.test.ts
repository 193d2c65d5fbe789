import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { decode, encode } from "@msgpack/msgpack";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { RecordedEvent } from "../../src/ports/event-log.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { copyEvents } from "../array-log.ts";
import { merkleRoot } from "../independent-tree.ts";
import { headwater, projectFile, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

/** What a log of a real run says, worked out with other libraries than the product's, as docs/format.md has it. */

const place = new Workplace();
let note: string[] = [];
let id = "";
let events: RecordedEvent[] = [];

beforeAll(async () => {
  const folder = await place.folder();
  const run = (...args: string[]) => headwater(args, { cwd: folder });
  const input = projectFile("node_modules/vega-datasets/data/earthquakes.json");
  await run("run", projectFile("examples/earthquakes.ts"), "--input", `usgs=${input}`, "--quiet");
  await run("keygen", "k");
  await run("checkpoint", "--key", "k.key", "--out", "now.note");
  note = (await readFile(join(folder, "now.note"), "utf8")).split("\n");
  const log = await openLog(`lmdb:${join(folder, ".headwater")}`, { readOnly: true });
  id = log.id;
  events = await copyEvents(log);
  await log.close();
});
afterAll(() => clearSound(place));

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

it("each event has the digest that its metadata says, and the root is the one that was signed", () => {
  const before = new Map<string, Buffer>();
  const leaves: Buffer[] = [];
  for (const { stream, revision, id: eventId, type, data, metadata } of events) {
    const previous = before.get(stream) ?? sha256(Uint8Array.of(0), encode([id, stream]));
    const digest = sha256(Uint8Array.of(1), previous, encode([1, stream, revision, eventId, type, data]));
    expect(JSON.parse(Buffer.from(metadata).toString()), `${stream}@${revision}`).toMatchObject({
      previous: previous.toString("hex"),
      digest: digest.toString("hex"),
    });
    before.set(stream, digest);
    if (stream === "audit_log") continue;
    leaves.push(sha256(Uint8Array.of(0), encode([stream, revision, digest])));
  }
  expect(note.slice(0, 3)).toEqual([
    `headwater/${id}`,
    String(leaves.length),
    merkleRoot(leaves).toString("base64"),
  ]);
});

it("each record has the digest that its source's event says, and is the one that was read", async () => {
  interface Accepted {
    readonly count: number;
    readonly digests: Uint8Array;
    readonly payload: { readonly revision: number; readonly events: number };
  }
  interface Stored {
    readonly blocks: readonly { readonly lengths: Uint8Array; readonly bytes: Uint8Array }[];
  }
  const stored = events
    .filter(({ stream }) => stream === "payload_earthquakes.usgs")
    .map(({ data }) => decode(data) as Stored);
  const values: unknown[] = [];
  for (const { stream, type, data } of events) {
    if (stream !== "source_earthquakes.usgs" || type !== "RecordsAccepted") continue;
    const { count, digests, payload } = decode(data) as Accepted;
    if (count === 0) continue;
    const kept = stored.slice(payload.revision, payload.revision + payload.events);
    const records = kept.flatMap(({ blocks }) =>
      blocks.flatMap(({ lengths, bytes }) => split(bytes, lengths)),
    );
    expect(records.length).toBe(count);
    for (const [row, record] of records.entries()) {
      expect(sha256(record).equals(digests.subarray(32 * row, 32 * row + 32))).toBe(true);
      values.push(decode(record));
    }
  }
  const text = await readFile(projectFile("node_modules/vega-datasets/data/earthquakes.json"), "utf8");
  const { features } = JSON.parse(text) as { readonly features: readonly object[] };
  expect(values.length).toBe(features.length);
  // The source's schema keeps the fields that the pipeline knows.
  for (const [row, feature] of features.entries()) expect(feature).toMatchObject(values[row] as object);
});

/** Lengths are LEB128, one after the other. */
function split(bytes: Uint8Array, lengths: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  let length = 0;
  let factor = 1;
  for (const byte of lengths) {
    length += (byte & 0x7f) * factor;
    factor *= 0x80;
    if (byte >= 0x80) continue;
    parts.push(bytes.subarray(at, at + length));
    at += length;
    length = 0;
    factor = 1;
  }
  expect(at).toBe(bytes.length);
  return parts;
}
