import { HeadwaterError } from "../../core/errors.ts";
import { type Clock, sleep } from "../../ports/clock.ts";
import type { RecordedEvent } from "../../ports/event-log.ts";
import { closedError } from "../../ports/event-log-rules.ts";
import { BOUNDS } from "./bounds.ts";
import { Courtesy } from "./courtesy.ts";
import { exitGuard } from "./exit-guard.ts";
import { commitFault, freeBytes, fullError } from "./faults.ts";
import type { Job } from "./jobs.ts";
import type { LockWatch } from "./lock-watch.ts";
import type { Store } from "./store.ts";
import { HeadCache, Transaction } from "./transaction.ts";

/** A job that waits for its commit. */
interface Pending {
  readonly bytes: number;
  prepare(): void;
  run(transaction: Transaction): void;
  /** Called in place of `run`. */
  refuse(error: HeadwaterError): void;
  /** Answers the caller, with what `run` or `refuse` said. */
  settle(): void;
  reject(error: unknown): void;
}

export interface WriterOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly lockWatch: LockWatch;
  /** The log may not grow beyond this. */
  readonly bytesMost: number;
  /** Whether it makes room for other writers: see {@link Courtesy}. */
  readonly courteous: boolean;
  /** Called after each commit, before its appends are answered; `before` is the position it came after. */
  readonly onCommit: (events: readonly RecordedEvent[], before: number) => void;
}

/**
 * Runs jobs in write transactions, one at a time, each taking all that wait when it begins: the cost of a flush
 * is shared by everyone who writes at that moment. A job is answered when its commit is durable.
 */
export class Writer {
  readonly #options: WriterOptions;
  readonly #heads = new HeadCache();
  /** Admitted, prepared. */
  #queue: Pending[] = [];
  #queuedBytes = 0;
  /** Not admitted yet. */
  readonly #waiting: Pending[] = [];
  #draining: Promise<void> | undefined;
  #closed = false;
  #room: number | undefined;
  #readersChecked = 0;
  readonly #courtesy: Courtesy | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#readersChecked = options.clock.monotonic();
    this.#courtesy = options.courteous ? new Courtesy() : undefined;
  }

  submit<T>(job: Job<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(closedError());
      let settle = () => {};
      this.#enqueue({
        bytes: job.bytes,
        prepare: () => job.prepare?.(),
        run: (transaction) => {
          try {
            const value = job.run(transaction);
            settle = () => resolve(value);
          } catch (thrown) {
            if (!(thrown instanceof HeadwaterError)) throw thrown;
            settle = () => reject(thrown);
          }
        },
        refuse: (error) => {
          settle = () => reject(error);
        },
        settle: () => settle(),
        reject,
      });
    });
  }

  /** Refuses new jobs and waits for those there are. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#draining;
  }

  #enqueue(pending: Pending): void {
    if (this.#waiting.length > 0 || this.#isFull()) this.#waiting.push(pending);
    else this.#admit(pending);
    this.#draining ??= this.#drain();
  }

  #admit(pending: Pending): void {
    try {
      pending.prepare();
    } catch (thrown) {
      pending.reject(thrown);
      return;
    }
    this.#queue.push(pending);
    this.#queuedBytes += pending.bytes;
  }

  #isFull(): boolean {
    return this.#queue.length >= BOUNDS.queuedJobs || this.#queuedBytes >= BOUNDS.queuedBytes;
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      await this.#options.store.ready();
      await this.#commitGroup();
      let admitted = 0;
      while (admitted < this.#waiting.length && !this.#isFull()) {
        const pending = this.#waiting[admitted];
        if (pending !== undefined) this.#admit(pending);
        admitted += 1;
      }
      this.#waiting.splice(0, admitted);
    }
    // In the same turn as the last look at the queue: who comes now begins anew.
    this.#draining = undefined;
  }

  async #commitGroup(): Promise<void> {
    const { store, lockWatch, onCommit, clock } = this.#options;
    const courtesy = this.#courtesy;
    let lockedAt = 0;
    let group: readonly Pending[] = [];
    let transaction: Transaction | undefined;
    lockWatch.waiting();
    exitGuard.enter();
    try {
      await store.environment.root.transaction(() => {
        lockWatch.over();
        lockedAt = clock.monotonic();
        courtesy?.begins(store.tail().position, lockedAt);
        group = this.#takeGroup(courtesy?.bytesAt(lockedAt, this.#queuedBytes) ?? BOUNDS.commitBytes);
        transaction = this.#run(group);
      });
    } catch (thrown) {
      lockWatch.over();
      await this.#fail(group.length > 0 ? group : this.#takeGroup(BOUNDS.commitBytes), thrown);
      return;
    } finally {
      exitGuard.leave();
    }
    if (transaction !== undefined) {
      transaction.committed();
      if (transaction.events.length > 0) onCommit(transaction.events, transaction.before);
    }
    for (const pending of group) pending.settle();
    if (courtesy === undefined || transaction === undefined) return;
    const now = clock.monotonic();
    const restMs = courtesy.ends(transaction.position, now - lockedAt, now);
    if (restMs > 0 && !this.#closed) await sleep(clock, restMs);
  }

  #run(group: readonly Pending[]): Transaction {
    const { store, clock } = this.#options;
    const transaction = new Transaction(store, this.#heads, clock.now());
    let room = Math.min(freeBytes(store.dir) - BOUNDS.spareBytes, this.#roomLeft(bytesOf(group)));
    for (const pending of group) {
      // What makes room needs none, and may use what is spare.
      if (pending.bytes > 0 && pending.bytes > room) {
        pending.refuse(fullError(store.dir));
        continue;
      }
      room -= pending.bytes;
      pending.run(transaction);
    }
    transaction.finish();
    this.#checkReaders();
    return transaction;
  }

  /**
   * Nothing of the group has been made. Also those are told so that conflicted with others of the group: what
   * they were judged by never came to be.
   */
  async #fail(group: readonly Pending[], thrown: unknown): Promise<void> {
    const { store } = this.#options;
    this.#heads.clear();
    this.#room = undefined;
    const error = await commitFault(thrown, store.dir, bytesOf(group) + BOUNDS.spareBytes);
    if (!(thrown instanceof HeadwaterError)) await store.reopen();
    for (const pending of group) pending.reject(error);
  }

  #takeGroup(bytesMost: number): readonly Pending[] {
    let count = 0;
    let bytes = 0;
    for (const pending of this.#queue) {
      if (count >= BOUNDS.commitJobs || (count > 0 && bytes + pending.bytes > bytesMost)) break;
      count += 1;
      bytes += pending.bytes;
    }
    const group = this.#queue.slice(0, count);
    this.#queue = this.#queue.slice(count);
    this.#queuedBytes -= bytes;
    return group;
  }

  /**
   * Bytes that the log may still grow by, of its own limit. LMDB would notice by itself that its medium is full,
   * but it knows no limit, and it writes what it notices to the console.
   */
  #roomLeft(wanted: number): number {
    const { store, bytesMost } = this.#options;
    if (bytesMost === Number.POSITIVE_INFINITY) return bytesMost;
    if (this.#room === undefined || this.#room < wanted) this.#room = bytesMost - store.usedBytes();
    const room = this.#room;
    this.#room -= wanted;
    return room;
  }

  /** A reader that died keeps what is let go from being used again, until someone looks. */
  #checkReaders(): void {
    const { store, clock } = this.#options;
    const now = clock.monotonic();
    if (now - this.#readersChecked < BOUNDS.readerCheckMs) return;
    this.#readersChecked = now;
    store.environment.root.readerCheck();
  }
}

function bytesOf(group: readonly Pending[]): number {
  return group.reduce((sum, pending) => sum + pending.bytes, 0);
}
