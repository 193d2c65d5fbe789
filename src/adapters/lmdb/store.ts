import { realpath } from "node:fs/promises";
import { HeadwaterError } from "../../core/errors.ts";
import type { Clock } from "../../ports/clock.ts";
import type { RecordedEvent } from "../../ports/event-log.ts";
import { closedError } from "../../ports/event-log-rules.ts";
import type { Ids } from "../../ports/ids.ts";
import { checkDataFile, dataFile, foreignError } from "./data-file.ts";
import { type Environment, openEnvironment, type Table } from "./environment.ts";
import { fault } from "./faults.ts";
import { makeFolder } from "./folder.ts";
import {
  decodeEvent,
  decodeHead,
  decodeIndexEntry,
  decodeTail,
  encodeTail,
  eventKey,
  FORMAT,
  type Head,
  type IndexEntry,
  indexKey,
  nameKey,
  type Tail,
} from "./format.ts";
import type { LockWatch } from "./lock-watch.ts";

export interface StoreOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly create: boolean;
  readonly readOnly: boolean;
  /** Makes what watches for the lock of the log in a folder. */
  readonly watch: (dir: string) => LockWatch;
}

/**
 * The stores that this process has open, by the real path of their folder. LMDB must not be opened twice in one
 * process: closing the second handle of its lock file would drop the first one's locks, and another process
 * could then take the log for abandoned. For the same reason only one thread of a process may open a log.
 */
const OPEN = new Map<string, Promise<Store>>();

/** The store in `options.dir`, shared by all who have it open in this process; each has to `release` it. */
export async function acquireStore(options: StoreOptions): Promise<Store> {
  try {
    if (options.create && !options.readOnly) await makeFolder(options.dir);
    const dir = await realpath(options.dir).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      throw new HeadwaterError("LogMissing", "there is no log here yet", {
        where: options.dir,
        hint: "Run a pipeline, or name the log with --log lmdb:<folder>.",
      });
    });
    for (;;) {
      const opening = OPEN.get(dir) ?? openStore({ ...options, dir });
      OPEN.set(dir, opening);
      try {
        const store = await opening;
        if (store.readOnly && !options.readOnly) {
          throw new HeadwaterError("LogUnavailable", "this process has the log open for reading only", {
            where: dir,
            hint: "Close it first.",
          });
        }
        if (store.acquire()) return store;
        await store.closed();
      } catch (thrown) {
        if (OPEN.get(dir) === opening) OPEN.delete(dir);
        throw thrown;
      }
    }
  } catch (thrown) {
    throw fault(thrown, options.dir);
  }
}

async function openStore(options: StoreOptions): Promise<Store> {
  const exists = await checkDataFile(options.dir);
  if (!exists && (!options.create || options.readOnly)) {
    throw new HeadwaterError("LogMissing", "there is no log in the folder", {
      where: options.dir,
      hint: "Check the path.",
    });
  }
  if (exists && !options.readOnly) await options.watch(options.dir).untilNotStopped();
  const environment = openEnvironment(options);
  if (environment === undefined) throw foreignError(options.dir);
  try {
    return new Store(options, environment, identify(environment, options));
  } catch (thrown) {
    await environment.root.close();
    throw thrown;
  }
}

const LOG_KEY = nameKey("log");
const TAIL_KEY = nameKey("tail");

/** The id of the log in `environment`, given to it now if it has none yet. */
function identify(environment: Environment, options: StoreOptions): string {
  const found = environment.meta.getBinary(LOG_KEY);
  if (found !== undefined) return checkIdentity(found, options.dir);
  if (options.readOnly) throw foreignError(options.dir);
  return environment.root.transactionSync(() => {
    // Another process may have been faster.
    const other = environment.meta.getBinary(LOG_KEY);
    if (other !== undefined) return checkIdentity(other, options.dir);
    for (const _ of environment.meta.getKeys({ limit: 1 })) throw foreignError(options.dir);
    const id = options.ids.uuid();
    const identity = { format: FORMAT.name, version: FORMAT.version, id, created: options.clock.now() };
    environment.meta.putSync(TAIL_KEY, encodeTail(TAIL_KEY, { position: 0, nextStreamId: 1, generation: 0 }));
    environment.meta.putSync(LOG_KEY, Buffer.from(JSON.stringify(identity)));
    return id;
  });
}

function checkIdentity(value: Buffer, dir: string): string {
  let identity: unknown;
  try {
    identity = JSON.parse(value.toString());
  } catch {
    throw foreignError(dir);
  }
  if (typeof identity !== "object" || identity === null) throw foreignError(dir);
  const { format, version, id } = identity as { format?: unknown; version?: unknown; id?: unknown };
  if (format !== FORMAT.name || typeof version !== "number") throw foreignError(dir);
  if (version > FORMAT.version) {
    throw new HeadwaterError(
      "LogTooNew",
      `the log has version ${version}, this Headwater knows ${FORMAT.version}`,
      {
        where: dir,
        hint: "Use a newer Headwater.",
      },
    );
  }
  if (typeof id !== "string") throw foreignError(dir);
  return id;
}

/**
 * One log's tables. Reading is synchronous: in a write transaction it sees what that one wrote, else the snapshot
 * that {@link Store.refresh} took. A snapshot ends with the turn of the event loop, so nobody may read on after
 * an `await` without a new one.
 */
export class Store {
  readonly dir: string;
  readonly id: string;
  readonly readOnly: boolean;
  readonly #lockWatch: LockWatch;
  #environment: Environment;
  #users = 0;
  #closing: Promise<void> | undefined;
  #reopening: Promise<void> | undefined;
  #broken: HeadwaterError | undefined;
  readonly #eventKey = Buffer.alloc(12);
  readonly #indexKey = Buffer.alloc(12);

  constructor(options: StoreOptions, environment: Environment, id: string) {
    this.dir = options.dir;
    this.readOnly = options.readOnly;
    this.#lockWatch = options.watch(options.dir);
    this.id = id;
    this.#environment = environment;
  }

  /** False if the last user has let go already. */
  acquire(): boolean {
    if (this.#users < 0) return false;
    this.#users += 1;
    return true;
  }

  async release(): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#users = -1;
    this.#closing = this.#close();
    await this.#closing;
  }

  /** Resolves once it is closed, if its last user has let go. */
  async closed(): Promise<void> {
    await this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#reopening;
      await this.#environment.root.close();
    } finally {
      OPEN.delete(this.dir);
    }
  }

  get environment(): Environment {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#users < 0) throw closedError();
    return this.#environment;
  }

  /** To be awaited before a snapshot is taken or a transaction begun; resolves at once but after a failure. */
  ready(): Promise<void> | undefined {
    return this.#reopening;
  }

  /**
   * Closes and opens LMDB. After a commit that could not write its meta page, LMDB refuses to go on, in a way
   * that would leave the next writer waiting for ever.
   */
  reopen(): Promise<void> {
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  async #reopen(): Promise<void> {
    try {
      await this.#environment.root.close();
      if (!this.readOnly) await this.#lockWatch.untilNotStopped();
      const environment = openEnvironment(this);
      if (environment === undefined) throw foreignError(this.dir);
      this.#environment = environment;
    } catch (thrown) {
      this.#broken = fault(thrown, this.dir);
    }
  }

  /** Takes a new snapshot: everything committed before now, by anyone, is in it. */
  refresh(): void {
    this.environment.root.resetReadTxn();
  }

  tail(): Tail {
    const value = this.environment.meta.getBinary(TAIL_KEY);
    if (value === undefined) throw this.#missing("its tail");
    return decodeTail(TAIL_KEY, value);
  }

  putTail(tail: Tail): void {
    this.environment.meta.putSync(TAIL_KEY, encodeTail(TAIL_KEY, tail));
  }

  head(stream: string): Head | undefined {
    const key = nameKey(stream);
    const value = this.environment.streams.getBinary(key);
    return value === undefined ? undefined : decodeHead(key, value);
  }

  /** Where an event is; `undefined` if it was never written, or scavenged. */
  indexEntry(streamId: number, revision: number): IndexEntry | undefined {
    const key = indexKey(streamId, revision, this.#indexKey);
    const value = this.environment.index.getBinary(key);
    return value === undefined ? undefined : decodeIndexEntry(key, value);
  }

  /** The value of an event, a copy that is the caller's. */
  eventValue(position: number, streamId: number): Buffer | undefined {
    return this.environment.events.getBinary(eventKey(position, streamId, this.#eventKey));
  }

  event(position: number, streamId: number, stream?: string): RecordedEvent {
    const value = this.eventValue(position, streamId);
    if (value === undefined) throw this.#missing(`the event at position ${position}`);
    return decodeEvent(eventKey(position, streamId, this.#eventKey), value, stream);
  }

  /** Bytes of the pages that hold something; those that were let go do not count. */
  usedBytes(): number {
    const { meta, streams, events, index } = this.environment;
    return [meta, streams, events, index].reduce((sum, table) => sum + tableBytes(table), 0);
  }

  #missing(what: string): HeadwaterError {
    return new HeadwaterError("LogDamaged", `the log's file is damaged: ${what} is missing`, {
      where: dataFile(this.dir),
      hint: "Restore the folder from a copy.",
    });
  }
}

function tableBytes(table: Table): number {
  const stats = table.getStats();
  return stats.pageSize * (stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages);
}
