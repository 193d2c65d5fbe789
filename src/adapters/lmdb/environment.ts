import { open, type RootDatabase } from "lmdb";
import { BOUNDS } from "./bounds.ts";

/** A table of lmdb with keys and values of bytes, as this adapter uses it. */
export interface Table {
  /** A copy of the value, in the write transaction if one is open, else in the current snapshot. */
  getBinary(key: Uint8Array): Buffer | undefined;
  /** In a write transaction. `append` refuses a key that is not the highest, and answers false. */
  putSync(key: Uint8Array, value: Uint8Array, options?: { readonly append: boolean }): boolean;
  removeSync(key: Uint8Array): boolean;
  getKeys(options: Range): Iterable<Buffer>;
  getRange(options: Range): Iterable<{ readonly key: Buffer; readonly value: Buffer }>;
  /** Of this table alone. */
  getStats(): TableStats;
}

export interface TableStats {
  readonly pageSize: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

/** `start` is inclusive; `end` is exclusive, whatever the direction. */
export interface Range {
  readonly start?: Uint8Array;
  readonly end?: Uint8Array;
  readonly limit?: number;
  readonly reverse?: boolean;
}

/** LMDB's environment and the tables of a log in it; docs/lmdb.md says what is in them. */
export interface Environment {
  readonly root: RootDatabase<Uint8Array, Uint8Array>;
  readonly meta: Table;
  readonly streams: Table;
  readonly events: Table;
  readonly index: Table;
}

export interface EnvironmentOptions {
  readonly dir: string;
  readonly readOnly: boolean;
}

const BYTES = { encoding: "binary", keyEncoding: "binary" } as const;
// `create` is missing from lmdb's own types.
const EXISTING = { ...BYTES, create: false };
const CREATED = { ...BYTES, create: true };

/**
 * Opens LMDB in `dir`. `undefined`: there are tables in it that are not a log's. Throws what lmdb throws.
 *
 * `overlappingSync` is off: a commit then writes its pages, calls fdatasync, and writes the meta page through a
 * descriptor with O_DSYNC, all before its promise resolves and before any reader sees it. So what is visible
 * is durable, in this process and in every other. `eventTurnBatching` is off because the promise of such a
 * batch belongs to nobody: when a commit fails, its rejection would end the process.
 */
export function openEnvironment(options: EnvironmentOptions): Environment | undefined {
  const root = openRoot(options);
  const table = (name: string, how: typeof EXISTING) =>
    root.openDB(name, how) as unknown as Table | undefined;
  try {
    // The meta table is made first: where it is missing, a log was never begun.
    const found = table("meta", EXISTING);
    const begun = found !== undefined || (!options.readOnly && root.getCount({}) === 0);
    const how = begun && !options.readOnly ? CREATED : EXISTING;
    const meta = found ?? (begun ? table("meta", how) : undefined);
    const streams = begun ? table("streams", how) : undefined;
    const events = begun ? table("events", how) : undefined;
    const index = begun ? table("index", how) : undefined;
    if (meta !== undefined && streams !== undefined && events !== undefined && index !== undefined) {
      return { root, meta, streams, events, index };
    }
  } catch (thrown) {
    void root.close();
    throw thrown;
  }
  void root.close();
  return undefined;
}

export function openRoot({ dir, readOnly }: EnvironmentOptions): RootDatabase<Uint8Array, Uint8Array> {
  let thrown: unknown;
  for (const mapSize of BOUNDS.mapBytes) {
    try {
      return open<Uint8Array, Uint8Array>(dir, {
        ...BYTES,
        mapSize,
        maxDbs: 8,
        maxReaders: BOUNDS.readers,
        noSubdir: false,
        overlappingSync: false,
        eventTurnBatching: false,
        readOnly,
      });
    } catch (error) {
      thrown = error;
      // Only the reservation may be too large for the platform; everything else stays as it is.
      if (!(error instanceof Error && "code" in error && error.code === ENOMEM)) throw error;
    }
  }
  throw thrown;
}

const ENOMEM = 12;
