/**
 * What the codec and the digests cost, in nanoseconds a record, beside msgpackr and node:crypto.
 * Run: `npx esbuild bench/codec.ts --bundle --platform=node --format=esm --external:msgpackr --outfile=node_modules/.bench/codec.mjs
 * && node node_modules/.bench/codec.mjs`, or `node bench/codec.ts` on Node 24.
 * The contestants take turns, so that a slow moment of the machine meets all of them; the best turn of each counts.
 */
import { hash } from "node:crypto";
import { Packr, Unpackr } from "msgpackr";
import { Arena } from "../src/core/arena.ts";
import { decodeCanonical, encodeCanonical } from "../src/core/canonical.ts";
import { RecordDecoder } from "../src/core/decode-shapes.ts";

const RECORDS = 512;
const TURNS = 15;
const LAPS = 40;

const RECORD_SETS: { readonly [name: string]: (index: number) => object } = {
  "5 small fields": (index) => ({
    id: 123456 + index,
    channel: "#en.wikipedia",
    user: "Some User",
    added: index % 100,
    robot: false,
  }),
  "3 shapes in turn, nested": (index) => {
    const place = { type: "Point", coordinates: [-116.1 + index, 33.3, 12] };
    if (index % 3 === 0) return { id: `ci${index}`, magnitude: 2.5, place };
    if (index % 3 === 1) return { id: `ci${index}`, magnitude: 2.5, place, felt: 3, note: undefined };
    return {
      at: 1_700_000_000_000 + index,
      tags: ["a", "b"],
      title: `A title of some forty characters, ${index}`,
    };
  },
  "512 shapes: keys are data": (index) => ({
    id: index,
    counts: { [`page ${index}`]: 1, [`other ${index}`]: 2 },
  }),
};

for (const [name, make] of Object.entries(RECORD_SETS)) {
  const records = Array.from({ length: RECORDS }, (_, index) => make(index));
  console.log(`\n${name} (Node ${process.versions.node}), ns a record`);
  for (const [contestant, nanoseconds] of compare(contestants(records))) {
    console.log(`  ${contestant.padEnd(44)} ${nanoseconds.toFixed(0).padStart(6)}`);
  }
}

function contestants(records: readonly object[]): ReadonlyMap<string, () => unknown> {
  const packr = new Packr({ useRecords: false, variableMapSize: true });
  const unpackr = new Unpackr({ useRecords: false, int64AsType: "bigint", mapsAsObjects: true });
  const decoder = new RecordDecoder();
  const arena = new Arena();
  for (const record of records) arena.append(record);
  const packed = arena.all().slice();
  const starts = records.map((_, index) => arena.start(index));
  const ends = records.map((_, index) => arena.end(index));
  const views = records.map((_, index) => Buffer.from(arena.bytes(index)));
  const scratch = new Arena();
  /** What is kept of a record, so that nothing is optimised away. */
  const kept: unknown[] = records.map(() => null);
  const each = (action: (index: number) => unknown) => () => {
    for (let index = 0; index < RECORDS; index++) kept[index] = action(index);
  };
  const append = () => {
    scratch.reset();
    for (const record of records) scratch.append(record);
  };
  const both = () => {
    append();
    return scratch.digests();
  };
  return new Map<string, () => unknown>([
    ["encode: reference", each((index) => encodeCanonical(records[index]))],
    ["encode: msgpackr, keys sorted", each((index) => packr.pack(sorted(records[index])))],
    ["encode: msgpackr, keys as they come", each((index) => packr.pack(records[index]))],
    ["encode: arena", append],
    [
      "digest: crypto.hash to latin1",
      each((index) => hash("sha256", views[index] ?? "", "latin1" as "binary")),
    ],
    ["digest: arena", () => arena.digests()],
    ["both: msgpackr as they come, crypto.hash", each((index) => hash("sha256", packr.pack(records[index])))],
    ["both: arena", both],
    ["decode: strict reference", each((index) => decodeCanonical(views[index] ?? packed))],
    ["decode: msgpackr", each((index) => unpackr.unpack(views[index] ?? packed))],
    [
      "decode: RecordDecoder, from a batch",
      each((index) => decoder.decode(packed, starts[index], ends[index])),
    ],
    ["decode: RecordDecoder, from single buffers", each((index) => decoder.decode(views[index] ?? packed))],
  ]);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sorted(inner)]),
  );
}

function compare(all: ReadonlyMap<string, () => unknown>): Map<string, number> {
  const best = new Map<string, number>();
  for (let turn = 0; turn < TURNS; turn++) {
    for (const [name, run] of all) {
      const start = process.hrtime.bigint();
      for (let lap = 0; lap < LAPS; lap++) run();
      const nanoseconds = Number(process.hrtime.bigint() - start) / (LAPS * RECORDS);
      best.set(name, Math.min(nanoseconds, best.get(name) ?? Infinity));
    }
  }
  return best;
}
