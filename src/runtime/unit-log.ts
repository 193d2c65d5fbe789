import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { EventRange, EventType, EventTypes } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { type Beside, besideStream } from "../core/streams.ts";
import type { Append, EventLog } from "../ports/event-log.ts";
import { type Draft, type SealedAppend, StreamTail } from "./stream-tail.ts";

/** What a main event refers to, by the stream beside that it is kept in. */
export type BesideDrafts = Partial<Record<Beside, readonly Draft[]>>;

/** Where what a main event refers to has its place. */
export type BesidePlaces = Partial<Record<Beside, EventRange>>;

/** A main event: made by `make` when it is known where what it refers to has its places. */
export type UnitAppend = {
  [T in EventType]: {
    readonly type: T;
    readonly make: (places: BesidePlaces) => EventTypes[T];
    readonly besides?: BesideDrafts;
  };
}[EventType];

/**
 * The streams of one unit of work (a door, a partition, a sink): its main stream, which only the unit's owner can
 * append to, and those beside it. One append is in flight at a time; the caller waits for each.
 */
export class UnitLog {
  readonly #log: EventLog;
  readonly #main: StreamTail;
  readonly #besides = new Map<Beside, StreamTail>();

  private constructor(log: EventLog, main: StreamTail) {
    this.#log = log;
    this.#main = main;
  }

  static async open(log: EventLog, stream: string): Promise<UnitLog> {
    return new UnitLog(log, await StreamTail.open(log, stream));
  }

  get main(): StreamTail {
    return this.#main;
  }

  /** {@link appendAll} of one. */
  async append<T extends EventType>(
    type: T,
    make: (places: BesidePlaces) => EventTypes[T],
    besides: BesideDrafts = {},
    passed?: (point: AppendPoint) => void | Promise<void>,
  ): Promise<void> {
    await this.appendAll([{ type, make, besides } as UnitAppend], passed);
  }

  /**
   * Appends main events in one call, before each what it refers to. Throws `OwnershipLost` when someone else has
   * appended to the main stream. A conflict beside it only means that a stale owner left something there: it is read
   * past. With `passed`, which is called at named points, there is one, and the appends are made one after the other.
   */
  async appendAll(
    entries: readonly UnitAppend[],
    passed?: (point: AppendPoint) => void | Promise<void>,
  ): Promise<void> {
    for (let left = entries; left.length > 0; ) {
      const { appends, mains } = await this.#seal(left);
      await passed?.("before");
      try {
        if (passed !== undefined && appends.length > 1) {
          // A store may lose its writer between two appends of one call; here that can be made to happen.
          await this.#log.appendInOrder(appends.splice(0, appends.length - 1));
          await passed("between");
        }
        await this.#log.appendInOrder(appends);
        for (const main of mains) this.#main.advance(main);
        await passed?.("after");
        return;
      } catch (error) {
        this.#besides.clear();
        if (!isHeadwaterError(error, "WrongExpectedRevision")) throw error;
        left = left.slice(await this.#appended(mains, error));
      }
    }
  }

  /** What is to be appended, in order, and the main events among it. */
  async #seal(
    entries: readonly UnitAppend[],
  ): Promise<{ readonly appends: Append[]; readonly mains: readonly SealedAppend[] }> {
    const appends: Append[] = [];
    const mains: SealedAppend[] = [];
    for (const { type, make, besides = {} } of entries) {
      const places: BesidePlaces = {};
      for (const [beside, drafts] of Object.entries(besides) as [Beside, readonly Draft[]][]) {
        if (drafts.length === 0) continue;
        const tail = await this.#beside(beside);
        places[beside] = { revision: tail.revision + 1, events: drafts.length };
        // One event an append: together they may be more than a store takes.
        for (const draft of drafts) {
          const sealed = tail.seal([draft]);
          tail.advance(sealed);
          appends.push(sealed.append);
        }
      }
      const main = this.#main.seal([{ type, event: make(places) } as Draft], mains.at(-1));
      mains.push(main);
      appends.push(main.append);
    }
    return { appends, mains };
  }

  /** How many of them are in the log after a conflict. Throws `OwnershipLost` if somebody else's are. */
  async #appended(mains: readonly SealedAppend[], cause: HeadwaterError): Promise<number> {
    const now = await StreamTail.open(this.#log, this.#main.stream);
    const count = 1 + mains.findIndex((main) => main.revision === now.revision && now.isAfter(main));
    if (count === 0) await this.mustStillOwn(cause);
    for (const main of mains.slice(0, count)) this.#main.advance(main);
    return count;
  }

  /** Throws `OwnershipLost` when someone else has appended to the main stream. */
  async mustStillOwn(cause?: HeadwaterError): Promise<void> {
    const now = await StreamTail.open(this.#log, this.#main.stream);
    if (now.revision === this.#main.revision) return;
    throw new HeadwaterError("OwnershipLost", "another owner has claimed this unit of work", {
      where: this.#main.stream,
      ...(cause !== undefined && { cause }),
    });
  }

  async #beside(beside: Beside): Promise<StreamTail> {
    let tail = this.#besides.get(beside);
    if (tail === undefined) {
      tail = await StreamTail.open(this.#log, besideStream(this.#main.stream, beside));
      this.#besides.set(beside, tail);
    }
    return tail;
  }
}

/** Named points around an append at which a process may be killed by a test. */
export type AppendPoint = "before" | "between" | "after";

/** Events that hold parts of something larger. */
export type ChunkType = "SnapshotChunk" | "CodeChunk" | "MembersNamed";

/** Cuts `bytes` into the events of a chunked value. */
export function chunkDrafts(type: ChunkType, bytes: Uint8Array, wall: number): Draft[] {
  const of = Math.max(1, Math.ceil(bytes.length / LIMITS.chunkBytes));
  return Array.from({ length: of }, (_, index) => ({
    type,
    event: {
      v: 1,
      wall,
      index,
      of,
      bytes: bytes.slice(index * LIMITS.chunkBytes, (index + 1) * LIMITS.chunkBytes),
    },
  }));
}
