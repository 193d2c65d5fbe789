import type { PipelineDefinition } from "../../src/pipeline/definition.ts";

/** A record on its way through the reference. */
export interface Item {
  readonly value: unknown;
  readonly ordinal: number;
  /** Name of the source, or of the window or join whose firing it descends from. */
  readonly origin: string;
  /** Place of the origin in the logical order. */
  readonly rank: number;
  /** Address of the root: the record at its source, or the firing. */
  readonly root: string;
  /** One character a byte. */
  readonly path: string;
  readonly key: unknown;
  readonly time: number | undefined;
  /** Tells the input of the segment that the record descends from. */
  readonly entry: string;
  /** Where it was put back: name of what it descended from before. */
  readonly before?: string;
  /** Addresses of all records of sources that it was made of. */
  readonly lineage: ReadonlySet<string>;
}

/** A firing of a window or join: an input of its stage in its own right. */
export interface FiringRow {
  readonly ordinal: number;
  readonly path: string;
  /** Whether the stage failed at it. */
  readonly failed: boolean;
  readonly outputs: readonly Item[];
}

/** What a stage makes of all its records. */
export interface StageOutcome {
  readonly outputs: readonly Item[];
  readonly failures: number;
  /** What came too late, and the firings, of a window or join. */
  readonly late: readonly Item[];
  readonly firings: readonly FiringRow[];
}

/** Outputs of one input of a segment at one stage, at most. */
export const OUTPUTS_MOST = 1_024;

/** What orders the origins of records: windows and joins, each after those that it reads, then sources by name. */
export function ranksOf(definition: PipelineDefinition): ReadonlyMap<string, number> {
  const timed = definition.stages.filter(({ kind }) => ["window", "join", "tableJoin"].includes(kind));
  const sources = definition.sources.map(({ name }) => name).sort(compareBytes);
  return new Map([...timed.map(({ name }) => name), ...sources].map((name, rank) => [name, rank]));
}

export function inLogicalOrder(a: Item, b: Item): number {
  return a.ordinal - b.ordinal || a.rank - b.rank || compareBytes(a.path, b.path);
}

/** By the bytes of texts with one character a byte. */
export function compareBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The record's address, or what stands for it where the record descends from a firing. */
export function sinkKeyOf({ root, path }: Pick<Item, "root" | "path">): string {
  return path === "" ? root : `${root}~${Buffer.from(path, "latin1").toString("hex")}`;
}

export function firingRoot(pipeline: string, stage: string, ordinal: number): string {
  return `firing_${pipeline}.${stage}@${ordinal}`;
}

/** One byte below 0xf8, else how many bytes follow, from 0xf8 for one on, and those, the high one first. */
export function indexOnPath(index: number): string {
  if (index < 0xf8) return String.fromCharCode(index);
  if (index < 0x100) return String.fromCharCode(0xf8, index);
  return String.fromCharCode(0xf9, index >> 8, index & 0xff);
}

/** Seven bytes: the number plus 2⁵³; zeros for −∞, ones for ∞. */
export function numberOnPath(value: number): string {
  if (!Number.isFinite(value)) return (value < 0 ? "\0" : "\xff").repeat(7);
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value) + 2n ** 53n);
  return bytes.subarray(1).toString("latin1");
}

/** The canonical bytes of a key, as far as the keys of the tests go. */
export function keyOnPath(key: unknown): string {
  if (key === null) return "\xc0";
  if (typeof key === "boolean") return key ? "\xc3" : "\xc2";
  if (typeof key === "string") return String.fromCharCode(0xa0 + key.length) + key;
  const bytes = Buffer.alloc(9);
  if (typeof key === "bigint") {
    bytes[0] = key < 0n ? 0xd3 : 0xcf;
    bytes.writeBigUInt64BE(BigInt.asUintN(64, key), 1);
    return bytes.toString("latin1");
  }
  const number = key as number;
  if (Number.isInteger(number) && number >= -32 && number < 128) return String.fromCharCode(number & 0xff);
  if (Number.isInteger(number) && number >= 0 && number < 256) return String.fromCharCode(0xcc, number);
  if (Number.isInteger(number) && number >= 0 && number < 65_536) {
    return String.fromCharCode(0xcd, number >> 8, number & 0xff);
  }
  if (Number.isNaN(number)) return "\xcb\x7f\xf8\0\0\0\0\0\0";
  throw new Error(`the reference has no bytes for the key ${number}`);
}

/** Keys that are the same to a Map have the same name. */
export function keyName(key: unknown): string {
  return `${typeof key}:${String(key)}`;
}

export function mustBeKey(key: unknown): unknown {
  if (key === undefined || typeof key === "object" ? key !== null : typeof key === "function") {
    throw new Error("not a key");
  }
  return key === 0 ? 0 : key;
}

export function mustBeFew<T>(results: readonly T[]): readonly T[] {
  if (results.length > OUTPUTS_MOST) throw new Error("too many");
  return results;
}

export function mustBeRecord(value: unknown): unknown {
  if (!isRecord(value)) throw new Error("not a record");
  return value;
}

/** As far as the functions of the tests go. */
export function isRecord(value: unknown): boolean {
  if (value === undefined || typeof value === "function" || value instanceof Date) return false;
  return (
    typeof value !== "object" ||
    value === null ||
    Object.values(value).every((part) => !(part instanceof Date))
  );
}

export function unionOf(sets: readonly ReadonlySet<string>[]): ReadonlySet<string> {
  return sets.length === 1 ? (sets[0] as ReadonlySet<string>) : new Set(sets.flatMap((set) => [...set]));
}
