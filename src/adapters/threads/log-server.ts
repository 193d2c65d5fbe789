import type { MessagePort } from "node:worker_threads";
import { LIMITS } from "../../core/limits.ts";
import { tellError } from "../../core/told-error.ts";
import type {
  Append,
  Appended,
  EventLog,
  RecordedEvent,
  StreamInfo,
  StreamRange,
  SubscriptionMessage,
} from "../../ports/event-log.ts";
import { KnownEvents } from "./known-events.ts";
import { listen, Outbox } from "./packets.ts";
import {
  type CallName,
  costOf,
  costOfEvent,
  type FromLog,
  type Opening,
  packEvents,
  type ToLog,
  unpackAppends,
} from "./protocol.ts";

export interface LogServerOptions {
  /** Called when the other side has appended this, before it hears of it. */
  readonly onAppended?: (appends: readonly Append[], answers: readonly Appended[]) => void;
  /** What comes along with an event: see `SubscribeOptions.along`. Absent: nothing. */
  readonly referredBy?: (event: RecordedEvent) => readonly StreamRange[];
}

/** Something that is read for a thread. */
interface Reading {
  readonly stop: AbortController;
  /** Cost of what was said and is not known to be used. */
  onItsWay: number;
  used: () => void;
}

/**
 * Gives the other side of a port a log: does what {@link PortLog} asks. What is read is said only as far as the other
 * side keeps up with it.
 */
export class LogServer {
  readonly #log: EventLog;
  readonly #outbox: Outbox<FromLog>;
  readonly #options: LogServerOptions;
  readonly #known = new KnownEvents();
  readonly #readings = new Map<number, Reading>();
  #closed = false;

  constructor(log: EventLog, port: MessagePort, options: LogServerOptions = {}) {
    this.#log = log;
    this.#outbox = new Outbox(port);
    this.#options = options;
    listen<ToLog>(port, (frame, take) => {
      if (frame.kind === "append") this.#append(frame.id, unpackAppends(frame.appends, take));
      else this.#hear(frame);
    });
  }

  /** Does nothing more for the other side; appends that were begun are made. */
  close(): void {
    this.#closed = true;
    for (const { stop, used } of this.#readings.values()) {
      stop.abort();
      used();
    }
    this.#outbox.close();
  }

  #hear(frame: Exclude<ToLog, { readonly kind: "append" }>): void {
    if (this.#closed) return;
    const { id } = frame;
    switch (frame.kind) {
      case "call":
        this.#answer(id, this.#call(frame.name, frame.args));
        return;
      case "open":
        this.#open(id, frame.opening);
        return;
      case "used": {
        const reading = this.#readings.get(id);
        if (reading === undefined) return;
        reading.onItsWay -= frame.cost;
        reading.used();
        return;
      }
      case "stop": {
        const reading = this.#readings.get(id);
        reading?.stop.abort();
        reading?.used();
      }
    }
  }

  #append(id: number, appends: readonly Append[]): void {
    if (this.#closed) return;
    const made = this.#log.appendInOrder(appends).then((answers) => {
      this.#options.onAppended?.(appends, answers);
      return answers;
    });
    this.#answer(id, made);
  }

  #answer(id: number, answer: Promise<unknown>): void {
    answer.then(
      (value) => this.#outbox.say({ kind: "answer", id, value }),
      (error: unknown) => this.#outbox.say({ kind: "failed", id, error: tellError(error) }),
    );
  }

  /** The other side is a {@link PortLog}, which has checked what its callers gave it. */
  async #call(name: CallName, args: readonly unknown[]): Promise<unknown> {
    const method = this.#log[name] as ((...given: readonly unknown[]) => Promise<unknown>) | undefined;
    return await method?.apply(this.#log, [...args]);
  }

  #open(id: number, opening: Opening): void {
    const reading: Reading = { stop: new AbortController(), onItsWay: 0, used: () => {} };
    this.#readings.set(id, reading);
    this.#read(id, reading, opening)
      .then(
        () => this.#outbox.say({ kind: "end", id }),
        (error: unknown) => this.#outbox.say({ kind: "failed", id, error: tellError(error) }),
      )
      .finally(() => this.#readings.delete(id));
  }

  async #read(id: number, reading: Reading, opening: Opening): Promise<void> {
    const { signal } = reading.stop;
    switch (opening.what) {
      case "read":
        return await this.#events(
          id,
          reading,
          this.#log.read(opening.stream, { ...opening.options, signal }),
        );
      case "readAll":
        return await this.#events(id, reading, this.#log.readAll({ ...opening.options, signal }));
      case "subscribe":
        return await this.#messages(
          id,
          reading,
          this.#log.subscribe(opening.stream, opening.from, { signal }),
          opening.along,
        );
      case "subscribeAll":
        return await this.#messages(id, reading, this.#log.subscribeAll(...opening.args, { signal }));
      case "streams":
        return await this.#infos(id, reading, this.#log.streams(...opening.args));
    }
  }

  /** Reads end, so a frame may wait until it is full. */
  async #events(id: number, reading: Reading, events: AsyncIterable<RecordedEvent>): Promise<void> {
    let frame: RecordedEvent[] = [];
    let cost = 0;
    for await (const event of events) {
      frame.push(event);
      cost += costOfEvent(event);
      if (cost < LIMITS.threadFrameBytes) continue;
      if (!(await this.#sayEvents(id, reading, frame))) return;
      frame = [];
      cost = 0;
    }
    if (frame.length > 0) await this.#sayEvents(id, reading, frame);
  }

  async #messages(
    id: number,
    reading: Reading,
    messages: AsyncIterable<SubscriptionMessage>,
    along = false,
  ): Promise<void> {
    for await (const message of messages) {
      if (message.kind !== "events") {
        if (!(await this.#say(reading, { kind: "message", id, message }, []))) return;
        continue;
      }
      for (const frame of inFrames(message.events)) {
        const referred = along ? await this.#referredBy(frame) : [];
        if (!(await this.#sayEvents(id, reading, frame, referred))) return;
      }
    }
  }

  async #infos(id: number, reading: Reading, infos: AsyncIterable<StreamInfo>): Promise<void> {
    for await (const info of infos) if (!(await this.#say(reading, { kind: "info", id, info }, []))) return;
  }

  #sayEvents(
    id: number,
    reading: Reading,
    events: readonly RecordedEvent[],
    referred: readonly RecordedEvent[] = [],
  ): boolean | Promise<boolean> {
    // What is not said must not count as known.
    if (reading.stop.signal.aborted) return false;
    const { heads, parts } = packEvents(events, this.#known);
    const along = packEvents(
      referred.filter((event) => this.#known.find(event) === undefined),
      this.#known,
    );
    const frame: FromLog = { kind: "events", id, events: heads, along: along.heads };
    return this.#say(reading, frame, [...parts, ...along.parts]);
  }

  /** What events refer to: little enough to be known still when it is asked for. */
  async #referredBy(events: readonly RecordedEvent[]): Promise<readonly RecordedEvent[]> {
    const { referredBy } = this.#options;
    const referred: RecordedEvent[] = [];
    if (referredBy === undefined) return referred;
    let room = LIMITS.threadAlongBytes;
    try {
      for (const { stream, from, count } of events.flatMap(referredBy)) {
        if (room <= 0) break;
        for await (const event of this.#log.read(stream, { from, limit: count, referred: true })) {
          referred.push(event);
          room -= costOfEvent(event);
        }
      }
    } catch {
      // Whoever asks for it will hear why it cannot be read.
    }
    return referred;
  }

  /** Says a frame, and waits while too much is on its way. Answers whether more is wanted. */
  #say(reading: Reading, frame: FromLog, parts: readonly Uint8Array[]): boolean | Promise<boolean> {
    if (reading.stop.signal.aborted) return false;
    reading.onItsWay += costOf(frame);
    this.#outbox.say(frame, parts);
    return reading.onItsWay < LIMITS.threadWindowBytes || room(reading);
  }
}

async function room(reading: Reading): Promise<boolean> {
  const { signal } = reading.stop;
  while (reading.onItsWay >= LIMITS.threadWindowBytes && !signal.aborted) {
    await new Promise<void>((resolve) => {
      reading.used = resolve;
    });
  }
  return !signal.aborted;
}

/** Cuts events into frames of a bounded size; one that is larger has its own. */
function* inFrames(events: readonly RecordedEvent[]): Iterable<readonly RecordedEvent[]> {
  let begun = 0;
  let cost = 0;
  for (const [at, event] of events.entries()) {
    const more = costOfEvent(event);
    if (cost > 0 && cost + more > LIMITS.threadFrameBytes) {
      yield events.slice(begun, at);
      begun = at;
      cost = 0;
    }
    cost += more;
  }
  if (begun < events.length) yield begun === 0 ? events : events.slice(begun);
}
