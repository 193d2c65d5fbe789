import { equalBytes } from "../core/digest.ts";
import { type HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { EffectRange } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { type EffectRow, encodeEffects } from "../engine/effect-columns.ts";
import type { CancelTimer, Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { EffectEvents, type EffectPlace } from "./effect-events.ts";
import type { Probe } from "./host-context.ts";
import { type Draft, StreamTail } from "./stream-tail.ts";

export interface EffectLogOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  /** The partition's own stream. */
  readonly steps: string;
  readonly epoch: number;
  readonly node: string;
  readonly deployment: Uint8Array;
  /** How long what came of an effect waits for others to be appended with it, in milliseconds. */
  readonly flushMs: number;
  /** Where the range of the next step event begins; `undefined`: the partition has had no effects. */
  readonly from: number | undefined;
  /** N of the next input. */
  readonly next: number;
  /** Nothing is appended after it aborts. */
  readonly signal: AbortSignal;
  /** For tests: called before and after an append. */
  readonly probe: Probe | undefined;
  /** Throws `OwnershipLost` when someone else owns the partition. */
  mustStillOwn(cause: HeadwaterError): Promise<void>;
}

/** What a former owner has left of an effect whose input has no step event yet. */
export interface LeftEffect {
  readonly turn: number;
  readonly place: EffectPlace;
}

interface Left extends LeftEffect {
  /** It has a value, of this deployment: it need not be called again. */
  readonly servable: boolean;
}

interface Waiting {
  readonly row: EffectRow;
  resolve(): void;
  reject(error: unknown): void;
}

/** What a row adds to an event beside its value, in bytes: an estimate from above. */
const ROW_BYTES = 512;

/**
 * The end of a partition's `effects_` stream, as its owner appends to it: beside the partition's own stream, while a
 * batch is under way. Read only when there is the first effect. An append that meets a former owner's is made again
 * behind it: a former owner appends nothing after the present one has.
 */
export class EffectLog {
  readonly events: EffectEvents;
  readonly #options: EffectLogOptions;
  #tail: StreamTail | undefined;
  #opening: Promise<void> | undefined;
  /** By input and key, then by turn. */
  readonly #left = new Map<string, Map<number, Left>>();
  readonly #leftOf = new Map<string, number>();
  #next: number;
  #waiting: Waiting[] = [];
  #appending = false;
  #cancel: CancelTimer | undefined;

  constructor(options: EffectLogOptions) {
    this.#options = options;
    this.#next = options.next;
    this.events = new EffectEvents(options.log, options.steps);
  }

  /** Reads what a former owner has left. */
  open(): Promise<void> {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  /** What there is of an effect already: of this turn, or of a later one that ends in a value. */
  leftOf(n: number, key: string, turn: number): LeftEffect | undefined {
    const turns = this.#left.get(`${n}/${key}`);
    if (turns === undefined) return undefined;
    const same = turns.get(turn);
    if (same?.servable) return same;
    return [...turns.values()].find((other) => other.servable && other.turn > turn);
  }

  /** Resolves when what came of an effect is in the log. It is on its way there after `flushMs` at most. */
  add(row: EffectRow): Promise<void> {
    const { signal, clock, flushMs } = this.#options;
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      this.#waiting.push({ row, resolve, reject });
      this.#cancel ??= clock.setTimeout(() => this.flush(), flushMs);
    });
  }

  /** Appends what has come by now: nothing else is on its way. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (!this.#appending && this.#waiting.length > 0) void this.#appendAll();
  }

  /** What a step event whose range begins at `from` says, if the input that comes after it is N = `next`. */
  rangeUpTo(from: number | undefined, next: number): EffectRange | undefined {
    this.#next = next;
    if (this.#tail === undefined) return from === undefined ? undefined : { revision: from, events: 0 };
    const revision = from ?? 0;
    const end = this.#tail.revision + 1;
    if (end === 0) return undefined;
    let first = end;
    for (const [id, turns] of this.#left) {
      if ((this.#leftOf.get(id) as number) < next) {
        this.#left.delete(id);
        this.#leftOf.delete(id);
        continue;
      }
      for (const { place, servable } of turns.values()) if (servable) first = Math.min(first, place.revision);
    }
    return { revision, events: end - revision, ...(first < end && { next: first }) };
  }

  async #open(): Promise<void> {
    const tail = await StreamTail.open(this.#options.log, this.events.stream);
    await this.#readLeft(this.#options.from ?? 0, tail.revision + 1);
    this.#tail = tail;
  }

  async #readLeft(from: number, end: number): Promise<void> {
    for await (const { revision, deployment, rows } of this.events.read(from, end)) {
      const ours = equalBytes(deployment, this.#options.deployment);
      for (const [row, { n, key, turn, kind }] of rows.entries()) {
        if (n < this.#next) continue;
        const id = `${n}/${key}`;
        const turns = this.#left.get(id) ?? new Map<number, Left>();
        // Of several rows of one turn the last counts.
        turns.set(turn, {
          turn,
          place: { revision, row },
          servable: ours && (kind === "value" || kind === "nothing"),
        });
        this.#left.set(id, turns);
        this.#leftOf.set(id, n);
      }
    }
  }

  async #appendAll(): Promise<void> {
    this.#appending = true;
    try {
      while (this.#waiting.length > 0) {
        const group = this.#takeGroup();
        try {
          await this.#append(group.map(({ row }) => row));
        } catch (error) {
          for (const waiting of [...group, ...this.#waiting.splice(0)]) waiting.reject(error);
          return;
        }
        for (const waiting of group) waiting.resolve();
      }
    } finally {
      this.#appending = false;
    }
  }

  /** As many as fit into one event. */
  #takeGroup(): Waiting[] {
    let bytes = 0;
    let end = 0;
    for (const { row } of this.#waiting) {
      bytes += row.bytes.length + ROW_BYTES;
      if (end > 0 && bytes > LIMITS.batchBytes) break;
      end++;
    }
    return this.#waiting.splice(0, end);
  }

  async #append(rows: readonly EffectRow[]): Promise<void> {
    const { log, clock, signal, epoch, node, deployment, probe } = this.#options;
    const event = { v: 1, wall: clock.now(), epoch, node, deployment, ...encodeEffects(rows) } as const;
    const draft: Draft = { type: "EffectsRecorded", event };
    await probe?.("effects:before");
    for (;;) {
      signal.throwIfAborted();
      const tail = this.#tail as StreamTail;
      try {
        await tail.append([draft]);
        await probe?.("effects:after");
        return;
      } catch (error) {
        if (!isHeadwaterError(error, "WrongExpectedRevision")) throw error;
        await this.#options.mustStillOwn(error);
        const now = await StreamTail.open(log, tail.stream);
        await this.#readLeft(tail.revision + 1, now.revision + 1);
        this.#tail = now;
      }
    }
  }
}
