import type { MessagePort } from "node:worker_threads";
import { HeadwaterError } from "../../core/errors.ts";
import type { Position } from "../../core/position.ts";
import { errorTold } from "../../core/told-error.ts";
import type {
  Append,
  Appended,
  EventLog,
  ExpectedRevision,
  LogSize,
  NewEvent,
  ReadAllOptions,
  ReadOptions,
  RecordedEvent,
  StreamFilter,
  StreamInfo,
  StreamMetadata,
  SubscribeOptions,
  SubscriptionMessage,
} from "../../ports/event-log.ts";
import {
  checkAppend,
  checkExpected,
  checkMetadata,
  checkRevision,
  checkStreamName,
  closedError,
  filterTest,
} from "../../ports/event-log-rules.ts";
import { Incoming } from "./incoming.ts";
import { KnownEvents } from "./known-events.ts";
import { listen, Outbox } from "./packets.ts";
import {
  type CallName,
  costOf,
  type FromLog,
  type Opening,
  packAppends,
  type ToLog,
  unpackEvents,
} from "./protocol.ts";

interface Call {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A log that lies on the other side of a port, where a {@link LogServer} does what this one asks. */
export class PortLog implements EventLog {
  readonly id: string;
  readonly #port: MessagePort;
  readonly #outbox: Outbox<ToLog>;
  readonly #onAppended: (appends: readonly Append[], answers: readonly Appended[]) => void;
  readonly #known = new KnownEvents();
  readonly #calls = new Map<number, Call>();
  readonly #openings = new Map<number, Incoming>();
  /** Ranges of events that are being read because others refer to them. */
  readonly #ranges = new Map<string, Promise<readonly RecordedEvent[]>>();
  #asked = 0;
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  /** `onAppended` is called when an append has been made, before its caller hears of it. */
  constructor(
    id: string,
    port: MessagePort,
    onAppended: (appends: readonly Append[], answers: readonly Appended[]) => void = () => {},
  ) {
    this.id = id;
    this.#port = port;
    this.#onAppended = onAppended;
    this.#outbox = new Outbox(port);
    listen<FromLog>(port, (frame, take) => {
      if (frame.kind === "answer") this.#settle(frame.id, ({ resolve }) => resolve(frame.value));
      else if (frame.kind === "failed" && this.#calls.has(frame.id)) {
        this.#settle(frame.id, ({ reject }) => reject(errorTold(frame.error)));
      } else {
        // The bytes are taken in any case: those of the frames behind lie after them.
        const events = frame.kind === "events" ? unpackEvents(frame.events, take, this.#known) : [];
        if (frame.kind === "events") unpackEvents(frame.along, take, this.#known);
        this.#openings.get(frame.id)?.put(frame, events, costOf(frame));
      }
    });
  }

  async append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended> {
    const [made] = await this.appendInOrder([{ stream, expected, events }]);
    if (made === undefined) throw new HeadwaterError("Internal", "an append without an answer");
    return made;
  }

  async appendInOrder(appends: readonly Append[]): Promise<readonly Appended[]> {
    this.#check();
    for (const append of appends) checkAppend(append);
    const { heads, parts } = packAppends(appends);
    const frame = (id: number): ToLog => ({ kind: "append", id, appends: heads });
    const answers = (await this.#ask(frame, parts)) as readonly Appended[];
    this.#onAppended(appends, answers);
    return answers;
  }

  async *read(stream: string, options: ReadOptions = {}): AsyncGenerator<RecordedEvent, void, undefined> {
    checkStreamName(stream);
    if (options.from !== undefined) checkRevision(options.from, stream);
    const { signal, referred, ...rest } = options;
    const { from = 0, limit } = rest;
    if (referred && limit !== undefined && rest.direction !== "backwards") {
      yield* this.#eventsOf(await this.#referred(stream, from, limit), signal);
      return;
    }
    for await (const incoming of this.#open({ what: "read", stream, options: rest }, signal)) {
      yield* this.#eventsOf(incoming.events, signal);
    }
  }

  /** Several partitions of a node want the same events at the same time: they are asked for once. */
  #referred(stream: string, from: number, limit: number): Promise<readonly RecordedEvent[]> {
    const name = `${from} ${limit} ${stream}`;
    const asked = this.#ranges.get(name);
    if (asked !== undefined) return asked;
    const known = this.#known.range(stream, from, limit);
    if (known !== undefined) return Promise.resolve(known);
    const range = this.#readRange(stream, from, limit).finally(() => this.#ranges.delete(name));
    this.#ranges.set(name, range);
    return range;
  }

  async #readRange(stream: string, from: number, limit: number): Promise<readonly RecordedEvent[]> {
    const events: RecordedEvent[] = [];
    const opening: Opening = { what: "read", stream, options: { from, limit } };
    for await (const incoming of this.#open(opening, undefined)) events.push(...incoming.events);
    return events;
  }

  async *readAll(options: ReadAllOptions = {}): AsyncGenerator<RecordedEvent, void, undefined> {
    filterTest(options.filter);
    const { signal, ...rest } = options;
    for await (const incoming of this.#open({ what: "readAll", options: rest }, signal)) {
      yield* this.#eventsOf(incoming.events, signal);
    }
  }

  subscribe(
    stream: string,
    from: number,
    { along = false, signal }: SubscribeOptions = {},
  ): AsyncIterable<SubscriptionMessage> {
    checkStreamName(stream);
    checkRevision(from, stream);
    return this.#messages({ what: "subscribe", stream, from, along }, signal);
  }

  subscribeAll(
    filter: StreamFilter,
    after: Position,
    { signal }: SubscribeOptions = {},
  ): AsyncIterable<SubscriptionMessage> {
    filterTest(filter);
    return this.#messages({ what: "subscribeAll", args: [filter, after] }, signal);
  }

  async streamInfo(stream: string): Promise<StreamInfo | undefined> {
    checkStreamName(stream);
    return (await this.#call("streamInfo", stream)) as StreamInfo | undefined;
  }

  async *streams(filter?: StreamFilter): AsyncGenerator<StreamInfo, void, undefined> {
    filterTest(filter);
    const args: [] | [StreamFilter] = filter === undefined ? [] : [filter];
    for await (const { frame } of this.#open({ what: "streams", args }, undefined)) {
      if (frame.kind === "info") yield frame.info;
    }
  }

  async getMetadata(stream: string): Promise<StreamMetadata> {
    return (await this.#call("getMetadata", stream)) as StreamMetadata;
  }

  async setMetadata(stream: string, metadata: StreamMetadata): Promise<void> {
    checkMetadata(stream, metadata);
    await this.#call("setMetadata", stream, metadata);
  }

  async delete(stream: string, expected: ExpectedRevision): Promise<void> {
    checkStreamName(stream);
    checkExpected(expected, stream);
    await this.#call("delete", stream, expected);
  }

  async tombstone(stream: string, expected: ExpectedRevision): Promise<void> {
    checkStreamName(stream);
    checkExpected(expected, stream);
    await this.#call("tombstone", stream, expected);
  }

  async scavenge(): Promise<{ readonly events: number | undefined; readonly bytes: number }> {
    return (await this.#call("scavenge")) as { readonly events: number | undefined; readonly bytes: number };
  }

  async size(): Promise<LogSize> {
    return (await this.#call("size")) as LogSize;
  }

  /** Lets go of the port; the log itself stays open. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const [id, incoming] of this.#openings) {
      incoming.fail(closedError());
      this.#outbox.say({ kind: "stop", id });
    }
    if (this.#calls.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    this.#outbox.close();
    this.#port.close();
  }

  async *#messages(
    opening: Opening,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<SubscriptionMessage, void, undefined> {
    for await (const { frame, events } of this.#open(opening, signal)) {
      if (frame.kind === "message") yield frame.message;
      else if (frame.kind === "events") yield { kind: "events", events };
    }
  }

  *#eventsOf(events: readonly RecordedEvent[], signal: AbortSignal | undefined): Iterable<RecordedEvent> {
    for (const event of events) {
      this.#check();
      if (signal?.aborted) return;
      yield event;
    }
  }

  /** What is said of an opening, frame by frame. Who iterates has used one when it asks for the next. */
  async *#open(opening: Opening, signal: AbortSignal | undefined) {
    this.#check();
    if (signal?.aborted) return;
    const id = this.#asked++;
    const incoming = new Incoming();
    this.#openings.set(id, incoming);
    this.#outbox.say({ kind: "open", id, opening });
    const onAbort = () => incoming.end();
    signal?.addEventListener("abort", onAbort);
    try {
      for (;;) {
        const next = incoming.take() ?? (await incoming.next());
        if (next === undefined || signal?.aborted) return;
        yield next;
        this.#check();
        if (signal?.aborted) return;
        this.#outbox.say({ kind: "used", id, cost: next.cost });
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#openings.delete(id);
      if (!incoming.said) this.#outbox.say({ kind: "stop", id });
    }
  }

  async #call(name: CallName, ...args: readonly unknown[]): Promise<unknown> {
    this.#check();
    return await this.#ask((id) => ({ kind: "call", id, name, args }));
  }

  #ask(frame: (id: number) => ToLog, parts: readonly Uint8Array[] = []): Promise<unknown> {
    const id = this.#asked++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#outbox.say(frame(id), parts);
    });
  }

  #settle(id: number, settle: (call: Call) => void): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (call !== undefined) settle(call);
    if (this.#calls.size === 0) this.#idle?.();
  }

  #check(): void {
    if (this.#closing !== undefined) throw closedError();
  }
}
