import { setMaxListeners } from "node:events";
import { HeadwaterError } from "../../core/errors.ts";
import { type Clock, sleep } from "../../ports/clock.ts";
import { closedError } from "../../ports/event-log-rules.ts";
import type { Ids } from "../../ports/ids.ts";
import { BOUNDS } from "./bounds.ts";
import { NodeClient } from "./client.ts";
import { type CallFailure, readFailure, toHeadwaterError } from "./failures.ts";
import { describeTarget, type Endpoint, type Target } from "./target.ts";

/** One connection, for as long as it is of use. */
export interface Node {
  readonly client: NodeClient;
  /** Aborted when the connection was given up, or the log closed: calls on it have to be ended. */
  readonly ended: AbortSignal;
}

interface CurrentNode extends Node {
  readonly controller: AbortController;
}

export interface ConnectionOptions {
  readonly target: Target;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Only the leader of a cluster will do: what is read there is all that was acknowledged. */
  readonly requiresLeader: boolean;
}

/**
 * The way to the server: makes a connection when one is needed, and another one after it broke or its node has said
 * who leads. Calls are repeated through {@link Connection.attempt}.
 */
export class Connection {
  readonly clock: Clock;
  readonly ids: Ids;
  /** How the server is named in errors. */
  readonly where: string;
  /** Calls are repeated for this long: not for so long while the log is being opened. */
  outageMs: number = BOUNDS.openMs;
  readonly #options: ConnectionOptions;
  readonly #closing = new AbortController();
  #current: CurrentNode | undefined;
  #leader: Endpoint | undefined;

  constructor(options: ConnectionOptions) {
    // Every call listens; there may be many.
    setMaxListeners(0, this.closing);
    this.#options = options;
    this.clock = options.clock;
    this.ids = options.ids;
    this.where = describeTarget(options.target);
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** What calls are to be made on now. Throws `LogClosed`. */
  node(): Node {
    if (this.closing.aborted) throw closedError();
    if (this.#current === undefined) {
      const { target, requiresLeader } = this.#options;
      const controller = new AbortController();
      setMaxListeners(0, controller.signal);
      const client = new NodeClient(target, requiresLeader, this.#leader);
      this.#current = { client, controller, ended: controller.signal };
    }
    return this.#current;
  }

  /** Takes note of how a call on `node` failed: if that is of no more use, the next call makes a new connection. */
  report(node: Node, failure: CallFailure): void {
    if (!failure.breaksConnection || node !== this.#current) return;
    this.#leader = failure.leader;
    this.#letGo();
  }

  /**
   * Makes a call, and again, for `outageMs`, as long as it fails in a way that allows it. Throws what it failed
   * with in the end: an error for people, or a {@link CallFailure} that is an answer.
   */
  async attempt<T>(call: (node: Node) => Promise<T>, signal: AbortSignal = this.closing): Promise<T> {
    const retries = new Retries(this, this.outageMs, signal);
    for (;;) {
      const node = this.node();
      try {
        return await call(node);
      } catch (thrown) {
        await retries.afterFailure(node, thrown);
      }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#letGo();
  }

  async #letGo(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    current?.controller.abort();
    await current?.client.close();
  }
}

/** Decides whether a call is made again, and waits until then. */
export class Retries {
  readonly #connection: Connection;
  readonly #outageMs: number;
  readonly #signal: AbortSignal;
  #since: number | undefined;
  #delay: number = BOUNDS.backOffMs;

  constructor(connection: Connection, outageMs: number, signal: AbortSignal) {
    this.#connection = connection;
    this.#outageMs = outageMs;
    this.#signal = signal;
  }

  /** Says that something was achieved: the next failure is the first one. */
  reset(): void {
    this.#since = undefined;
    this.#delay = BOUNDS.backOffMs;
  }

  /** Resolves when the call is to be made again; throws if it is not. */
  async afterFailure(node: Node, thrown: unknown): Promise<void> {
    if (thrown instanceof HeadwaterError) throw thrown;
    const connection = this.#connection;
    const failure = readFailure(thrown);
    connection.report(node, failure);
    if (connection.closing.aborted) throw closedError();
    if (failure.isAnswer) throw failure;
    if (!failure.retryable) throw toHeadwaterError(failure, connection.where);
    const now = connection.clock.monotonic();
    this.#since ??= now;
    if (now - this.#since >= this.#outageMs) throw toHeadwaterError(failure, connection.where);
    // Who leads was told: nothing to wait for.
    if (failure.leader !== undefined && this.#delay === BOUNDS.backOffMs) {
      this.#delay *= 2;
      return;
    }
    await sleep(connection.clock, this.#delay * (1 + chance(connection.ids) / 2), this.#signal);
    if (connection.closing.aborted) throw closedError();
    this.#delay = Math.min(this.#delay * 2, BOUNDS.backOffMostMs);
  }
}

/** A number from 0 to below 1. */
function chance(ids: Ids): number {
  return Number.parseInt(ids.uuid().slice(0, 8), 16) / 2 ** 32;
}
