import {
  decodeDeltas,
  decodePlain,
  decodeRuns,
  encodeDeltas,
  encodePlain,
  encodeRuns,
} from "../core/columns.ts";
import { fromHex, toHex } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { EffectsRecorded } from "../core/events.ts";
import type { EffectOutcome, EffectRequest } from "./outside.ts";

/** What became of one effect, as an event has it. */
export type EffectRow = Pick<EffectRequest, "n" | "k" | "stage" | "name" | "key" | "turn"> &
  Pick<EffectOutcome, "kind" | "bytes" | "calls"> & {
    /** From the first call to the end of the last, in milliseconds. */
    readonly millis: number;
  };

/** The part of an EffectsRecorded event that the effects decide; the rest is the owner's. */
export type EffectColumns = Omit<EffectsRecorded, "v" | "wall" | "epoch" | "node" | "deployment">;

const KEY_BYTES = 16;
const KINDS = ["value", "nothing", "failed", "timedOut"] as const satisfies readonly EffectOutcome["kind"][];

export function encodeEffects(rows: readonly EffectRow[]): EffectColumns {
  const column = (of: (row: EffectRow) => number) => rows.map(of);
  const unless = (
    values: readonly number[],
    usual: number,
    encode: (values: readonly number[]) => Uint8Array,
  ) => (values.every((value) => value === usual) ? undefined : encode(values));
  const stages = [...new Set(rows.map(({ stage }) => stage))];
  const names = [...new Set(rows.map(({ name }) => name))];
  const ks = unless(
    column(({ k }) => k),
    0,
    encodePlain,
  );
  const stage = unless(
    column((row) => stages.indexOf(row.stage)),
    0,
    encodeRuns,
  );
  const name = unless(
    column((row) => names.indexOf(row.name)),
    0,
    encodeRuns,
  );
  const turns = unless(
    column(({ turn }) => turn),
    0,
    encodePlain,
  );
  const outcomes = unless(
    column(({ kind }) => KINDS.indexOf(kind)),
    0,
    encodeRuns,
  );
  const calls = unless(
    column((row) => row.calls),
    1,
    encodePlain,
  );
  return {
    ns: encodeDeltas(column(({ n }) => n)),
    ...(ks !== undefined && { ks }),
    stages,
    ...(stage !== undefined && { stage }),
    names,
    ...(name !== undefined && { name }),
    keys: Buffer.concat(rows.map(({ key }) => fromHex(key.replaceAll("-", "")))),
    ...(turns !== undefined && { turns }),
    ...(outcomes !== undefined && { outcomes }),
    ...(calls !== undefined && { calls }),
    millis: encodePlain(column(({ millis }) => millis)),
    lengths: encodePlain(column(({ bytes }) => bytes.length)),
    bytes: Buffer.concat(rows.map(({ bytes }) => bytes)),
  };
}

/** Throws `LogDamaged` where the columns do not fit together. */
export function decodeEffects(columns: EffectColumns): EffectRow[] {
  const ns = decodeDeltas(columns.ns);
  const count = ns.length;
  const plain = (bytes: Uint8Array | undefined, usual: number) =>
    bytes === undefined ? new Array<number>(count).fill(usual) : decodePlain(bytes, count);
  const runs = (bytes: Uint8Array | undefined) =>
    bytes === undefined ? new Array<number>(count).fill(0) : decodeRuns(bytes, count);
  const ks = plain(columns.ks, 0);
  const stage = runs(columns.stage);
  const name = runs(columns.name);
  const turns = plain(columns.turns, 0);
  const outcomes = runs(columns.outcomes);
  const calls = plain(columns.calls, 1);
  const millis = plain(columns.millis, 0);
  const lengths = plain(columns.lengths, 0);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (columns.keys.length !== count * KEY_BYTES || columns.bytes.length !== total) {
    throw new HeadwaterError("LogDamaged", "the columns of an event of effects do not fit together");
  }
  let end = 0;
  return ns.map((n, row) => {
    const start = end;
    end += lengths[row] as number;
    return {
      n,
      k: ks[row] as number,
      stage: mustBe(columns.stages[stage[row] as number]),
      name: mustBe(columns.names[name[row] as number]),
      key: uuidOf(columns.keys.subarray(row * KEY_BYTES, (row + 1) * KEY_BYTES)),
      turn: turns[row] as number,
      kind: mustBe(KINDS[outcomes[row] as number]),
      bytes: columns.bytes.subarray(start, end),
      calls: calls[row] as number,
      millis: millis[row] as number,
    };
  });
}

function uuidOf(bytes: Uint8Array): string {
  return toHex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function mustBe<T>(value: T | undefined): T {
  if (value !== undefined) return value;
  throw new HeadwaterError("LogDamaged", "an event of effects refers to something that it does not hold");
}
