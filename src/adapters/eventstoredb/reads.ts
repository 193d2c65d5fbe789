import type { ReadReq, ReadResp } from "@eventstore/db-client/generated/streams_pb.js";
import { comparePositions, END, type Position, START } from "../../core/position.ts";
import type { Direction, StreamFilter } from "../../ports/event-log.ts";
import { filterTest, notFoundError } from "../../ports/event-log-rules.ts";
import { BOUNDS } from "./bounds.ts";
import { type Connection, type Node, Retries } from "./connection.ts";
import { answerBytes, LOG_STREAM, readEvent, type ServerEvent } from "./events.ts";
import { toHeadwaterError } from "./failures.ts";
import { Incoming } from "./incoming.ts";
import type { Names } from "./names.ts";
import { allRead, streamRead } from "./requests.ts";
import { NO_SETTINGS, readSettings, type StreamSettings, settingsStream } from "./settings.ts";

export interface StreamChunks {
  readonly stream: string;
  readonly direction: Direction;
  /** Forwards the start if absent, backwards the end. */
  readonly from?: number | undefined;
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
}

export interface AllChunks {
  readonly direction: Direction;
  /** Forwards inclusive, backwards exclusive. */
  readonly from: Position;
  readonly filter: StreamFilter | undefined;
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
}

/** Where a stream ends. */
export interface StreamEnd {
  readonly lastRevision: number;
  /** The last event, unless it is not readable any more. */
  readonly event: ServerEvent | undefined;
}

/**
 * Reads. A read that breaks off goes on where it was, on another connection if need be. Its deadline is for each
 * next answer: how long the whole takes depends on who reads.
 */
export class Reads {
  /** Where the log begins: what others have written before it need not be looked through. */
  birth: Position = START;
  readonly #connection: Connection;
  readonly #names: Names;

  constructor(connection: Connection, names: Names) {
    this.#connection = connection;
    this.#names = names;
  }

  /** The events of a stream, some at a time, each time at least one. Throws what `EventLog.read` throws. */
  stream(options: StreamChunks): AsyncGenerator<readonly ServerEvent[], void, undefined> {
    return this.#ofServerStream(this.#names.toServer(options.stream), options);
  }

  /** Where a stream ends; `undefined` if there is none, or it is deleted. Throws `StreamTombstoned`. */
  async end(stream: string): Promise<StreamEnd | undefined> {
    const found = await this.#one(stream, "backwards", undefined);
    return found === undefined ? undefined : { lastRevision: found.lastRevision, event: found.event };
  }

  /** Where what can be read of a stream begins, and where it ends. Throws `StreamTombstoned`. */
  async begin(stream: string): Promise<StreamEnd | undefined> {
    return this.#one(stream, "forwards", undefined);
  }

  /** At most `count` events from a revision on; none if there is no such stream. */
  async some(stream: string, from: number, count: number): Promise<readonly ServerEvent[]> {
    const events: ServerEvent[] = [];
    try {
      for await (const chunk of this.stream({ stream, direction: "forwards", from, limit: count })) {
        events.push(...chunk);
      }
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return events;
  }

  /** One event, also one that is truncated, as long as it was not scavenged. Slow in that case. */
  async find(stream: string, revision: number): Promise<ServerEvent | undefined> {
    const [event] = await this.some(stream, revision, 1);
    if (event?.revision === revision) return event;
    const filter = { stream };
    for await (const chunk of this.all({ direction: "forwards", from: START, filter, limit: Infinity })) {
      const found = chunk.find((one) => one.revision === revision);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The last event of a stream, also of one that is deleted or ended; looks through all events for it. */
  async lastOfAll(stream: string): Promise<ServerEvent | undefined> {
    for await (const [event] of this.all({
      direction: "backwards",
      from: END,
      filter: { stream },
      limit: 1,
    })) {
      return event;
    }
    return undefined;
  }

  /** Throws `StreamTombstoned`. */
  async settings(stream: string): Promise<StreamSettings> {
    const event = await this.lastOfServerStream(settingsStream(this.#names.toServer(stream)), stream);
    return event === undefined ? NO_SETTINGS : readSettings(event.data, event.revision);
  }

  /** The last event of a stream by the name that the server has for it. */
  async lastOfServerStream(name: string, stream = name): Promise<ServerEvent | undefined> {
    try {
      for await (const [event] of this.#ofServerStream(name, { stream, direction: "backwards", limit: 1 })) {
        return event;
      }
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return undefined;
  }

  /** The position of the server's last event, whosever it is; `START` if there is none. */
  async lastPosition(): Promise<Position> {
    const request = allRead({ direction: "backwards", from: END, filter: undefined, count: 1 });
    const answers = await this.#connection.attempt((node) => this.#collect(node, request));
    const recorded = answers.map((answer) => answer.getEvent()?.getEvent()).find((one) => one !== undefined);
    return recorded === undefined ? START : readEvent(recorded, "").position;
  }

  /** Events of all streams of the log, some at a time, each time at least one. */
  async *all(options: AllChunks): AsyncGenerator<readonly ServerEvent[], void, undefined> {
    const { direction, limit, signal } = options;
    const passes = filterTest(options.filter);
    const forwards = direction === "forwards";
    const filter = this.#names.filter(options.filter, !forwards);
    if (filter === undefined) return;
    const retries = new Retries(
      this.#connection,
      this.#connection.outageMs,
      signal ?? this.#connection.closing,
    );
    let from = forwards ? later(options.from, this.birth) : options.from;
    let left = limit;
    // Forwards a call begins with the event that the one before it ended with.
    let seen: Position | undefined;
    while (left > 0) {
      if (signal?.aborted) return;
      const node = this.#connection.node();
      let incoming: Incoming<ReadResp> | undefined;
      const count = left + (seen === undefined ? 0 : 1);
      let received = 0;
      try {
        incoming = await this.#open(node, allRead({ direction, from, filter, count }), signal);
        for (;;) {
          const answers = await incoming.next(BOUNDS.scanMs);
          if (answers === undefined) break;
          const chunk: ServerEvent[] = [];
          let begun = false;
          for (const answer of answers) {
            const recorded = answer.getEvent()?.getEvent();
            if (recorded === undefined) continue;
            received += 1;
            const event = readEvent(recorded, this.#names.prefix);
            if (forwards && seen !== undefined && comparePositions(event.position, seen) <= 0) continue;
            from = event.position;
            seen = event.position;
            begun = !forwards && comparePositions(event.position, this.birth) <= 0;
            if (begun) break;
            if (passes(event.stream) && event.stream !== LOG_STREAM && !event.endsStream) chunk.push(event);
          }
          retries.reset();
          left -= chunk.length;
          if (chunk.length > 0) yield chunk;
          if (begun) return;
        }
        if (received < count) return;
      } catch (thrown) {
        if (signal?.aborted) return;
        await this.#again(retries, node, thrown);
      } finally {
        incoming?.cancel();
      }
    }
  }

  async *#ofServerStream(
    name: string,
    { stream, direction, limit, signal, ...options }: StreamChunks,
  ): AsyncGenerator<readonly ServerEvent[], void, undefined> {
    const retries = new Retries(
      this.#connection,
      this.#connection.outageMs,
      signal ?? this.#connection.closing,
    );
    let { from } = options;
    let left = limit;
    while (left > 0 && (from ?? 0) >= 0) {
      if (signal?.aborted) return;
      const node = this.#connection.node();
      let incoming: Incoming<ReadResp> | undefined;
      try {
        incoming = await this.#open(node, streamRead({ stream: name, direction, from, count: left }), signal);
        for (;;) {
          const answers = await incoming.next(BOUNDS.answerMs);
          if (answers === undefined) return;
          const chunk: ServerEvent[] = [];
          for (const answer of answers) {
            if (answer.hasStreamNotFound()) throw notFoundError(stream);
            const recorded = answer.getEvent()?.getEvent();
            if (recorded !== undefined) chunk.push(readEvent(recorded, this.#names.prefix));
          }
          const last = chunk.at(-1);
          if (last === undefined) continue;
          retries.reset();
          left -= chunk.length;
          from = direction === "forwards" ? last.revision + 1 : last.revision - 1;
          yield chunk;
        }
      } catch (thrown) {
        if (signal?.aborted) return;
        await this.#again(retries, node, thrown, stream);
      } finally {
        incoming?.cancel();
      }
    }
  }

  /** The first event from one end of a stream, and what its last revision is. */
  async #one(stream: string, direction: Direction, from: number | undefined): Promise<StreamEnd | undefined> {
    const name = this.#names.toServer(stream);
    const request = streamRead({ stream: name, direction, from, count: 1 });
    try {
      return await this.#connection.attempt(async (node) => {
        let event: ServerEvent | undefined;
        let lastRevision = -1;
        for (const answer of await this.#collect(node, request)) {
          if (answer.hasStreamNotFound()) return undefined;
          const recorded = answer.getEvent()?.getEvent();
          if (recorded !== undefined) event = readEvent(recorded, this.#names.prefix);
          if (answer.hasLastStreamPosition()) lastRevision = Number(answer.getLastStreamPosition());
        }
        return { event, lastRevision: Math.max(lastRevision, event?.revision ?? -1) };
      });
    } catch (error) {
      throw toHeadwaterError(error, stream);
    }
  }

  async #collect(node: Node, request: ReadReq): Promise<readonly ReadResp[]> {
    const incoming = await this.#open(node, request, undefined);
    const all: ReadResp[] = [];
    for (;;) {
      const answers = await incoming.next(BOUNDS.answerMs);
      if (answers === undefined) return all;
      all.push(...answers);
    }
  }

  async #open(node: Node, request: ReadReq, signal: AbortSignal | undefined): Promise<Incoming<ReadResp>> {
    const streams = await node.client.streams();
    const call = streams.read(request, ...node.client.call());
    return new Incoming<ReadResp>(call, [node.ended, signal], this.#connection.clock, answerBytes);
  }

  /** Resolves when a read that failed is to go on; throws an error for people if not. */
  async #again(retries: Retries, node: Node, thrown: unknown, stream?: string): Promise<void> {
    try {
      await retries.afterFailure(node, thrown);
    } catch (error) {
      throw toHeadwaterError(error, stream ?? this.#connection.where);
    }
  }
}

function later(a: Position, b: Position): Position {
  return comparePositions(a, b) < 0 ? b : a;
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "StreamNotFound";
}
