import { expect, it } from "vitest";
import {
  decodeEvent,
  decodeHead,
  decodeIndexEntry,
  decodeTail,
  encodeEvent,
  encodeHead,
  encodeIndexEntry,
  encodeTail,
  eventKey,
  indexKey,
  nameKey,
  placeEvent,
} from "./format.ts";

const ID = "0b9d5a4e-7c1f-4a33-9d7e-2f6f1f0c8a11";
const DATA = Buffer.from("data of the event");
const METADATA = Buffer.from('{"of":"it"}');

function event() {
  const key = eventKey(77, 5);
  const value = encodeEvent("orders.0001", { id: ID, type: "Tested", data: DATA, metadata: METADATA });
  placeEvent(key, value, 5, 12, 1_700_000_000_123);
  return { key, value, decode: decodeEvent, covered: value.length - DATA.length - METADATA.length };
}

const head = {
  id: 5,
  lastRevision: 12,
  totalBytes: 4_711,
  keptFrom: 2,
  bornAt: 1,
  deleted: false,
  tombstoned: false,
  metadata: { truncateBefore: 3 },
};

function whole(key: Buffer, value: Buffer, decode: (key: Buffer, value: Buffer) => unknown) {
  return { key, value, decode, covered: value.length };
}

it.each([
  ["an event", event()],
  ["a stream", whole(nameKey("a"), encodeHead(nameKey("a"), head), decodeHead)],
  [
    "an entry of the index",
    whole(
      indexKey(5, 12),
      encodeIndexEntry(indexKey(5, 12), { position: 77, created: 1_700_000_000_123, bytesBefore: 99 }),
      decodeIndexEntry,
    ),
  ],
  [
    "the tail",
    whole(
      nameKey("tail"),
      encodeTail(nameKey("tail"), { position: 77, nextStreamId: 6, generation: 9 }),
      decodeTail,
    ),
  ],
])("%s that has one bit turned, in its value or key, is damaged", (_, { key, value, decode, covered }) => {
  const before = decode(key, value);
  expect(before).toMatchObject({});
  for (const [bytes, end] of [
    [value, covered],
    [key, key.length],
  ] as const) {
    for (let bit = 0; bit < 8 * end; bit++) {
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => decode(key, value), `bit ${bit}`).toThrow(expect.objectContaining({ code: "LogDamaged" }));
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
    }
  }
  expect(decode(key, value)).toEqual(before);
});

it("what was written before there were checksums is read as it is", () => {
  const { key, value } = event();
  value.writeUInt16LE(0, 6);
  expect(decodeEvent(key, value)).toMatchObject({ id: ID, revision: 12, created: 1_700_000_000_123 });
  const record = encodeHead(nameKey("a"), head);
  record.writeUInt16LE(0, 2);
  expect(decodeHead(nameKey("a"), record)).toEqual(head);
  const entry = encodeIndexEntry(indexKey(5, 12), { position: 77, created: 1, bytesBefore: 99 });
  expect(decodeIndexEntry(indexKey(5, 12), entry.subarray(0, 24))).toMatchObject({ position: 77 });
});
