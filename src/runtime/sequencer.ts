import { digestInMetadata } from "../core/chain.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { LeavesSequenced } from "../core/events.ts";
import { decodeLeaves, edgeAfter, type Leaf, sequenceLeaves } from "../core/leaves.ts";
import { LIMITS } from "../core/limits.ts";
import { MerkleEdge } from "../core/merkle.ts";
import { comparePositions, type Position, START } from "../core/position.ts";
import { AUDIT_STREAM, COVERED_PREFIXES } from "../core/streams.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { readOne } from "./seek.ts";
import { StreamTail } from "./stream-tail.ts";

export interface SequencerOptions {
  readonly signal?: AbortSignal;
  /** Told how many leaves the tree has. */
  readonly onProgress?: (leaves: number) => void;
}

/**
 * Appends the log's events, in the order of the log, to the Merkle tree in `audit_log`. Where it is, is what its last
 * event says, so that any process may go on: of two at work at the same time one gets `WrongExpectedRevision`, begins
 * from the end anew, and finds the other's leaves done.
 */
export class Sequencer {
  readonly #log: EventLog;
  readonly #clock: Clock;
  readonly #tail: StreamTail;
  readonly #edge: MerkleEdge;
  /** The last event with leaves. */
  readonly #last: LeavesSequenced | undefined;

  private constructor(log: EventLog, clock: Clock, tail: StreamTail, last: LeavesSequenced | undefined) {
    this.#log = log;
    this.#clock = clock;
    this.#tail = tail;
    this.#last = last;
    this.#edge = last === undefined ? new MerkleEdge() : edgeAfter(last);
  }

  /** Reads how far the tree is. */
  static async open(log: EventLog, clock: Clock): Promise<Sequencer> {
    const tail = await StreamTail.open(log, AUDIT_STREAM);
    if (tail.revision < 0) return new Sequencer(log, clock, tail, undefined);
    for await (const event of log.read(AUDIT_STREAM, { direction: "backwards", from: tail.revision })) {
      const { type, data } = decodeEvent(event);
      if (type === "LeavesSequenced") return new Sequencer(log, clock, tail, data);
    }
    return new Sequencer(log, clock, tail, undefined);
  }

  /**
   * A position up to which all events are leaves: that of the last leaf's event, or of an earlier one where that is
   * gone. `undefined`: there is no tree.
   */
  static async sequencedUpTo(log: EventLog, clock: Clock): Promise<Position | undefined> {
    const sequencer = await Sequencer.open(log, clock);
    return sequencer.#last === undefined ? undefined : (await sequencer.#resume()).after;
  }

  /** Leaves of the tree. */
  get size(): number {
    return this.#edge.size;
  }

  root(): Uint8Array {
    return this.#edge.root();
  }

  /**
   * Appends a leaf for every event that the log had when this was called. Once only. Throws `LogDamaged` for an event
   * without a digest, and `WrongExpectedRevision` when another sequencer is at work.
   */
  async catchUp({ signal, onProgress }: SequencerOptions = {}): Promise<void> {
    const { after, done } = await this.#resume();
    const end = (await this.#log.size()).position;
    let leaves: Leaf[] = [];
    let names = new Set<string>();
    let namesBytes = 0;
    const flush = async () => {
      if (leaves.length === 0) return;
      const event = sequenceLeaves(this.#edge, leaves, this.#clock.now());
      await this.#tail.append([{ type: "LeavesSequenced", event }]);
      onProgress?.(this.#edge.size);
      leaves = [];
      names = new Set();
      namesBytes = 0;
    };
    const filter = { prefixes: COVERED_PREFIXES };
    for await (const event of this.#log.readAll({ from: after, filter, ...(signal && { signal }) })) {
      if (comparePositions(event.position, end) > 0) break;
      if (event.revision <= (done.get(event.stream) ?? -1)) continue;
      if (!names.has(event.stream)) {
        const bytes = Buffer.byteLength(event.stream);
        if (namesBytes + bytes > LIMITS.leafNamesBytes) await flush();
        names.add(event.stream);
        namesBytes += bytes;
      }
      leaves.push(leafOf(event));
      if (leaves.length >= LIMITS.leavesPerEvent) await flush();
    }
    if (!signal?.aborted) await flush();
  }

  /** Keeps a signed note over the tree as it is. Throws `WrongExpectedRevision` as {@link catchUp} does. */
  async keepCheckpoint(note: string): Promise<void> {
    const event = {
      v: 1,
      wall: this.#clock.now(),
      first: this.#edge.size,
      count: 0,
      root: this.#edge.root(),
      note,
    } as const;
    await this.#tail.append([{ type: "CheckpointSigned", event }]);
  }

  /**
   * Where to read on. Positions belong to the store, and are in no event: that of the last leaf's event is asked for.
   * Where that event is gone, an earlier one's is; `done` has the revisions up to which leaves after it are there.
   */
  async #resume(): Promise<{ readonly after: Position; readonly done: ReadonlyMap<string, number> }> {
    const done = new Map<string, number>();
    if (this.#last === undefined) return { after: START, done };
    const from = this.#tail.revision;
    for await (const event of this.#log.read(AUDIT_STREAM, { direction: "backwards", from })) {
      const { type, data } = decodeEvent(event);
      if (type !== "LeavesSequenced") continue;
      for (const { stream, revision } of decodeLeaves(data).reverse()) {
        if (!done.has(stream)) done.set(stream, revision);
        const after = await this.#positionOf(stream, revision);
        if (after !== undefined) return { after, done };
      }
    }
    return { after: START, done };
  }

  async #positionOf(stream: string, revision: number): Promise<Position | undefined> {
    try {
      return (await readOne(this.#log, stream, revision)).position;
    } catch (error) {
      if (isHeadwaterError(error, "StreamNotFound") || isHeadwaterError(error, "StreamTombstoned")) return;
      throw error;
    }
  }
}

function leafOf({ stream, revision, metadata }: RecordedEvent): Leaf {
  const digest = digestInMetadata(metadata);
  if (digest !== undefined) return { stream, revision, digest };
  throw new HeadwaterError("LogDamaged", "an event's metadata does not hold its digest", {
    where: `${stream}@${revision}`,
    hint: 'The event was not written by Headwater, or was changed after it: "headwater audit" says more.',
  });
}
