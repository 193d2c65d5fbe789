import { HeadwaterError } from "../../src/core/errors.ts";
import type { Position } from "../../src/core/position.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type {
  Append,
  Appended,
  EventLog,
  ExpectedRevision,
  NewEvent,
  ReadAllOptions,
  ReadOptions,
  RecordedEvent,
  StreamFilter,
  StreamMetadata,
  SubscribeOptions,
  SubscriptionMessage,
} from "../../src/ports/event-log.ts";
import type { Processes } from "../../src/ports/processes.ts";
import { type Random, upTo, type VirtualWorld } from "./virtual-world.ts";

const NEVER = new Promise<never>(() => {});

/** A process of a simulation: it may die at any await, and then nothing of it goes on. */
export class SimulatedProcess {
  readonly instance: string;
  readonly #world: VirtualWorld;
  readonly #others: Map<string, SimulatedProcess>;
  dead = false;
  /** Others take it for dead. */
  seemsDead = false;

  constructor(world: VirtualWorld, others: Map<string, SimulatedProcess>) {
    this.#world = world;
    this.#others = others;
    this.instance = `instance-${others.size}`;
    others.set(this.instance, this);
  }

  get clock(): Clock {
    const alive = (callback: () => void) => () => {
      if (!this.dead) callback();
    };
    return {
      now: () => this.#world.now(),
      monotonic: () => this.#world.monotonic(),
      setTimeout: (callback, ms) => this.#world.setTimeout(alive(callback), ms),
    };
  }

  get processes(): Processes {
    return {
      host: "simulation",
      pid: 1,
      instance: this.instance,
      isAlive: ({ instance }) => {
        const other = this.#others.get(instance);
        return other !== undefined && !other.dead && !other.seemsDead;
      },
    };
  }

  die(): void {
    this.dead = true;
  }
}

export interface SlowLogOptions {
  readonly world: VirtualWorld;
  readonly process: SimulatedProcess;
  readonly random: Random;
  /** Each call waits up to this long, in virtual milliseconds; some streams ten times as long. */
  readonly delayMs: number;
  /** Appends of partitions that are answered with an error, counted among those from 1. */
  readonly failures: readonly { readonly at: number; readonly made: boolean }[];
  /** Called before the append with this number, counted from 1, is made. */
  onAppend?(count: number, stream: string): void;
  /** Called after it was made, before the caller hears of it. */
  onAppended?(count: number, stream: string): void;
}

/** A process's handle on a log that answers late, each stream at its own pace, and never to a dead process. */
export class SlowLog implements EventLog {
  readonly #inner: EventLog;
  readonly #options: SlowLogOptions;
  readonly #pace = new Map<string, number>();
  #appends = 0;
  #partitionAppends = 0;
  /** Subscriptions that have begun and not ended. */
  subscriptions = 0;

  constructor(inner: EventLog, options: SlowLogOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  get id(): string {
    return this.#inner.id;
  }

  get appends(): number {
    return this.#appends;
  }

  async append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended> {
    const { process, onAppend, onAppended } = this.#options;
    await this.#wait(stream);
    const count = ++this.#appends;
    onAppend?.(count, stream);
    if (process.dead) return NEVER;
    const failure = this.#failureOf(stream);
    if (failure?.made === false) throw new HeadwaterError("LogUnavailable", "the test wants it so");
    const appended = await this.#inner.append(stream, expected, events);
    onAppended?.(count, stream);
    await this.#wait(stream);
    if (failure !== undefined)
      throw new HeadwaterError("LogUnavailable", "the test wants it so, after the append");
    return appended;
  }

  async appendInOrder(appends: readonly Append[]): Promise<readonly Appended[]> {
    const answers: Appended[] = [];
    for (const { stream, expected, events } of appends)
      answers.push(await this.append(stream, expected, events));
    return answers;
  }

  async *read(stream: string, options?: ReadOptions): AsyncGenerator<RecordedEvent, void, undefined> {
    await this.#wait(stream);
    for await (const event of this.#inner.read(stream, options)) {
      yield event;
      if (this.#options.random() < 0.1) await this.#wait(stream);
    }
  }

  async *readAll(options?: ReadAllOptions): AsyncGenerator<RecordedEvent, void, undefined> {
    await this.#wait("");
    yield* this.#inner.readAll(options);
  }

  async *subscribe(
    stream: string,
    from: number,
    options: SubscribeOptions = {},
  ): AsyncGenerator<SubscriptionMessage, void, undefined> {
    this.subscriptions++;
    try {
      for await (const message of this.#inner.subscribe(stream, from, options)) {
        for (const part of this.#parts(message)) {
          await this.#wait(stream);
          if (options.signal?.aborted) return;
          yield part;
        }
      }
    } finally {
      this.subscriptions--;
    }
  }

  subscribeAll(
    filter: StreamFilter,
    after: Position,
    options?: SubscribeOptions,
  ): AsyncIterable<SubscriptionMessage> {
    return this.#inner.subscribeAll(filter, after, options);
  }

  async streamInfo(stream: string) {
    await this.#wait(stream);
    return this.#inner.streamInfo(stream);
  }

  streams(filter?: StreamFilter) {
    return this.#inner.streams(filter);
  }

  getMetadata(stream: string): Promise<StreamMetadata> {
    return this.#inner.getMetadata(stream);
  }

  setMetadata(stream: string, metadata: StreamMetadata): Promise<void> {
    return this.#inner.setMetadata(stream, metadata);
  }

  delete(stream: string, expected: ExpectedRevision): Promise<void> {
    return this.#inner.delete(stream, expected);
  }

  tombstone(stream: string, expected: ExpectedRevision): Promise<void> {
    return this.#inner.tombstone(stream, expected);
  }

  scavenge() {
    return this.#inner.scavenge();
  }

  size() {
    return this.#inner.size();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #failureOf(stream: string) {
    if (!/^[a-z]+_[^.]+\.[^.]+\.\d{4}$/.test(stream)) return undefined;
    const count = ++this.#partitionAppends;
    return this.#options.failures.find(({ at }) => at === count);
  }

  *#parts(message: SubscriptionMessage): Iterable<SubscriptionMessage> {
    if (message.kind !== "events" || this.#options.delayMs === 0) {
      yield message;
      return;
    }
    for (let at = 0; at < message.events.length; ) {
      const end = at + 1 + upTo(this.#options.random, message.events.length - at - 1);
      yield { kind: "events", events: message.events.slice(at, end) };
      at = end;
    }
  }

  /** Waits a while, and for ever if the process has died by then. */
  async #wait(stream: string): Promise<void> {
    const { delayMs, random, world, process } = this.#options;
    if (delayMs > 0 && random() < 0.5) {
      let pace = this.#pace.get(stream);
      if (pace === undefined) {
        pace = random() < 0.15 ? 10 : 1;
        this.#pace.set(stream, pace);
      }
      await world.sleep(upTo(random, delayMs) * pace);
    }
    if (process.dead) await NEVER;
  }
}
