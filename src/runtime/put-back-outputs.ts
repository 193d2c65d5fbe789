import { LIMITS } from "../core/limits.ts";
import { RETRIED_NAME } from "../engine/origins.ts";
import { sortedInPasses } from "../engine/sorted-passes.ts";
import type { Home, Homes } from "./homes.ts";
import type { OrdinalRange, PutBackIn } from "./put-back.ts";
import { type OutputRows, type OutputsQuery, outputKey, recordedOutputs } from "./recorded-outputs.ts";

/** What was put back in the history that outputs are of. */
export interface PutBackOutputs {
  readonly homes: Homes;
  readonly ranges: PutBackIn["ranges"];
  /** The rank of an origin in logical order. */
  rankOf(origin: string): number;
  /** Bytes of outputs that are brought into order at a time; LIMITS.putBackSortedBytes if absent. */
  readonly bytesMost?: number;
}

/** An output of a record that was put back, at its home. */
interface HomeOutput {
  readonly home: Home;
  readonly rank: number;
  readonly address: string;
  readonly told: boolean;
  readonly doubtful: boolean;
  readonly digested: boolean;
  /** Its canonical bytes, or digest. */
  readonly bytes: Uint8Array;
}

/** Outputs that are handed on at a time. */
const BATCH_RECORDS = 1_024;
/** Bytes that an output takes beside those of its record. */
const OUTPUT_BYTES = 640;

/**
 * The outputs of records that were put back, each at its home, in logical order; what has its home before the window is
 * left out. They are recorded in the order in which they came back: where they have no room together, they are read
 * several times.
 */
export async function* outputsAtHome(
  query: OutputsQuery,
  { homes, ranges, rankOf, bytesMost = LIMITS.putBackSortedBytes }: PutBackOutputs,
): AsyncGenerator<OutputRows> {
  if (ranges.length === 0) return;
  let batch: HomeOutput[] = [];
  const sorted = sortedInPasses<HomeOutput>({
    pass: () => readAtHome(query, homes, ranges, rankOf),
    order: inLogicalOrder,
    // Else all that was read with it would be held.
    hold: (output) => ({ ...output, bytes: output.bytes.slice() }),
    bytesOf: ({ bytes, home }) => OUTPUT_BYTES + bytes.length + home.path.length,
    bytesMost,
  });
  for await (const output of sorted) {
    batch.push(output);
    if (batch.length < BATCH_RECORDS) continue;
    yield rowsOf(batch);
    batch = [];
  }
  if (batch.length > 0) yield rowsOf(batch);
}

async function* readAtHome(
  query: OutputsQuery,
  homes: Homes,
  ranges: readonly OrdinalRange[],
  rankOf: PutBackOutputs["rankOf"],
): AsyncGenerator<HomeOutput> {
  for (const range of ranges) {
    for await (const outputs of recordedOutputs({ ...query, ...range })) {
      const { rows } = outputs;
      for (let row = 0; row < rows.count; row++) {
        if (outputs.originOf(row) !== RETRIED_NAME) continue;
        const home = await homes.of(outputs.placeOf(row));
        if (home === "gone" || home.ordinal < query.from) continue;
        yield {
          home,
          rank: rankOf(home.origin),
          address: outputs.addressOf(row),
          told: outputs.isToldAt(row, home),
          doubtful: outputs.isDoubtfulAt(home),
          digested: rows.digested?.has(row) === true,
          bytes: (rows.buffers[row] as Uint8Array).subarray(rows.starts[row], rows.ends[row]),
        };
      }
    }
  }
}

function inLogicalOrder(a: HomeOutput, b: HomeOutput): number {
  if (a.home.ordinal !== b.home.ordinal) return a.home.ordinal - b.home.ordinal;
  if (a.rank !== b.rank) return a.rank - b.rank;
  return compare(a.home.path, b.home.path) || compare(a.address, b.address);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function rowsOf(outputs: readonly HomeOutput[]): OutputRows {
  const at = (row: number) => outputs[row] as HomeOutput;
  return {
    rows: {
      count: outputs.length,
      buffers: outputs.map(({ bytes }) => bytes),
      starts: outputs.map(() => 0),
      ends: outputs.map(({ bytes }) => bytes.length),
      ordinals: outputs.map(({ home }) => home.ordinal),
      paths: outputs.map(({ home }) => home.path),
      digested: new Set(outputs.flatMap(({ digested }, row) => (digested ? [row] : []))),
    },
    originOf: (row) => at(row).home.origin,
    keyOf: (row) => outputKey(at(row).home.address, at(row).home.path),
    addressOf: (row) => at(row).address,
    isTold: (row) => at(row).told,
    isDoubtful: (row) => at(row).doubtful,
  };
}
