import type { MemoryLog } from "../../src/adapters/memory/log.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type {
  EventLog,
  ReadAllOptions,
  ReadOptions,
  RecordedEvent,
  StreamFilter,
  SubscribeOptions,
  SubscriptionMessage,
} from "../../src/ports/event-log.ts";
import { Retention } from "../../src/runtime/retention.ts";
import { setPolicy } from "../../src/runtime/retention-policy.ts";
import { CountTarget } from "../../src/runtime/sink-targets.ts";
import { type Random, seededRandom } from "./virtual-world.ts";

/** Steps in which the whole of the log's time goes by. */
const STEPS = 24;
/** How likely it is that something is let go of before an event is read, and whose turn it is to be tidied up. */
const LET_GO = 0.05;
const TIDY = 0.5;

/**
 * A pipeline's log, of which more and more is let go of while it is read: as another process would do it that runs the
 * pipeline with retention, between any two events that a reader is given.
 */
export class TrimmedLog {
  readonly log: EventLog;
  readonly #inner: MemoryLog;
  readonly #random: Random;
  readonly #retention: Retention;
  #now: number;
  readonly #stepMs: number;
  /** Times that something was let go of. */
  advances = 0;
  #busy = false;

  private constructor(
    inner: MemoryLog,
    definition: PipelineDefinition,
    seed: number,
    from: number,
    to: number,
  ) {
    this.#inner = inner;
    this.#random = seededRandom(seed);
    this.#now = from;
    this.#stepMs = Math.max(1, (to - from) / STEPS);
    this.log = this.#wrapped();
    const clock = { now: () => this.#now, monotonic: () => this.#now, setTimeout: () => () => {} };
    this.#retention = new Retention({
      log: inner,
      clock,
      processes: { host: "trims", pid: 1, instance: "trims", isAlive: () => false },
      plan: planPipeline(definition),
      deployedFrom: 0,
      targets: new Map(),
      otherTarget: new CountTarget(),
      confirm: async () => {},
    });
  }

  static async of(inner: MemoryLog, definition: PipelineDefinition, seed: number): Promise<TrimmedLog> {
    let from = Number.POSITIVE_INFINITY;
    let to = 0;
    for await (const recorded of inner.readAll()) {
      const { wall } = decodeEvent(recorded).data;
      from = Math.min(from, wall);
      to = Math.max(to, wall);
    }
    const bound = { ageMs: 1 };
    const clock = { now: () => from, monotonic: () => from, setTimeout: () => () => {} };
    const policy = { payload: bound, steps: bound, effects: bound, state: bound };
    await setPolicy({ log: inner, clock }, definition.name, policy);
    return new TrimmedLog(inner, definition, seed, from, to);
  }

  async #maybeLetGo(): Promise<void> {
    if (this.#busy || this.#random() >= LET_GO) return;
    this.#busy = true;
    this.#now += this.#stepMs;
    if ((await this.#retention.advance()).length > 0) this.advances++;
    if (this.#random() < TIDY) await this.#inner.scavenge();
    this.#busy = false;
  }

  #wrapped(): EventLog {
    const inner = this.#inner;
    const before = <T>(items: AsyncIterable<T>) => this.#before(items);
    return {
      id: inner.id,
      append: (...args) => inner.append(...args),
      appendInOrder: (...args) => inner.appendInOrder(...args),
      read: (stream: string, options?: ReadOptions): AsyncGenerator<RecordedEvent, void, undefined> =>
        before(inner.read(stream, options)),
      readAll: (options?: ReadAllOptions) => before(inner.readAll(options)),
      subscribe: (
        stream: string,
        from: number,
        options?: SubscribeOptions,
      ): AsyncIterable<SubscriptionMessage> => before(inner.subscribe(stream, from, options)),
      subscribeAll: (...args) => inner.subscribeAll(...args),
      streamInfo: (stream) => inner.streamInfo(stream),
      streams: (filter?: StreamFilter) => inner.streams(filter),
      getMetadata: (stream) => inner.getMetadata(stream),
      setMetadata: (...args) => inner.setMetadata(...args),
      delete: (...args) => inner.delete(...args),
      tombstone: (...args) => inner.tombstone(...args),
      scavenge: () => inner.scavenge(),
      size: () => inner.size(),
      close: () => inner.close(),
    };
  }

  async *#before<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    const iterator = items[Symbol.asyncIterator]();
    try {
      for (;;) {
        await this.#maybeLetGo();
        const { done, value } = await iterator.next();
        if (done) return;
        yield value;
      }
    } finally {
      await iterator.return?.();
    }
  }
}
