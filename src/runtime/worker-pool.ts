import { fromPromise } from "xstate";
import { nodeMachine } from "../../actors/node.ts";
import { type WorkerInput, workerMachine } from "../../actors/worker.ts";
import { describeThrown, HeadwaterError, isHeadwaterError } from "../core/errors.ts";

/** One owner of a unit of work, as the actors drive it. */
export interface Worker {
  claim(): Promise<void>;
  restore(): Promise<void>;
  /** Resolves when the work is done or `signal` has aborted; what is in flight is finished first. */
  work(signal: AbortSignal): Promise<void>;
  dispose(): void | Promise<void>;
}

/** Makes the worker for an order. `attempt` counts how often the unit's batches turned out too large, from 0. */
export type MakeWorker = (order: WorkerInput, attempt: number) => Worker;

/** Gives the actors of a pipeline their workers: what the machines' `claim`, `restore` and `work` really do. */
export class WorkerPool {
  readonly #make: MakeWorker;
  readonly #workers = new Map<string, { readonly worker: Worker; readonly drain: AbortController }>();
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #tooLarge = new Map<string, number>();

  constructor(make: MakeWorker) {
    this.#make = make;
  }

  /** The worker machine with its parts provided. */
  get workerLogic() {
    return workerMachine.provide({
      actors: {
        claim: fromPromise<void, WorkerInput>(({ input, signal }) => {
          this.#begin(input);
          return this.#track(this.#watch(input, signal).claim());
        }),
        restore: fromPromise<void, WorkerInput>(({ input, signal }) =>
          this.#track(this.#restore(input, signal)),
        ),
        work: fromPromise<void, WorkerInput>(({ input, signal }) => this.#track(this.#work(input, signal))),
      },
      actions: {
        drain: ({ context }) => this.#workers.get(keyOf(context))?.drain.abort(),
        dispose: ({ context }) => this.#dispose(keyOf(context)),
      },
    });
  }

  /** The node machine whose partitions are such workers. */
  get nodeLogic() {
    return nodeMachine.provide({ actors: { partition: this.workerLogic } });
  }

  /** Lets go of all workers that are left. */
  async close(): Promise<void> {
    await Promise.all([...this.#workers.keys()].map((key) => this.#dispose(key)));
  }

  /**
   * Waits until nothing that was begun is under way any more. A worker that was let go of may still be appending;
   * if that came to the log after a successor's claim, it would be the successor that is fenced off.
   */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  #track<T>(step: Promise<T>): Promise<T> {
    const done = () => this.#underWay.delete(step);
    this.#underWay.add(step);
    step.then(done, done);
    return step;
  }

  #begin(order: WorkerInput): void {
    const worker = this.#make(order, this.#tooLarge.get(order.unit) ?? 0);
    this.#workers.set(keyOf(order), { worker, drain: new AbortController() });
  }

  /** A worker whose actor is stopped from outside is let go of, too: its `dispose` action would not run. */
  #watch(order: WorkerInput, signal: AbortSignal): Worker {
    const entry = this.#workers.get(keyOf(order));
    if (entry === undefined)
      throw new HeadwaterError("Internal", "a worker is gone before its end", { where: order.unit });
    signal.addEventListener("abort", () => this.#dispose(keyOf(order)), { once: true });
    return entry.worker;
  }

  async #restore(order: WorkerInput, signal: AbortSignal): Promise<void> {
    const worker = this.#watch(order, signal);
    await worker.restore();
    // Let go of in the meantime: what it has opened since then is let go of, too.
    if (!this.#workers.has(keyOf(order))) await worker.dispose();
  }

  async #work(order: WorkerInput, signal: AbortSignal): Promise<void> {
    const worker = this.#watch(order, signal);
    const entry = this.#workers.get(keyOf(order));
    try {
      await worker.work(AbortSignal.any([signal, ...(entry === undefined ? [] : [entry.drain.signal])]));
    } catch (error) {
      if (isHeadwaterError(error, "AppendTooLarge")) {
        this.#tooLarge.set(order.unit, (this.#tooLarge.get(order.unit) ?? 0) + 1);
      }
      // What a program's source or sink throws may be anything; nothing at all must not pass for success.
      throw error instanceof Error ? error : notAnError(order.unit, error);
    }
  }

  async #dispose(key: string): Promise<void> {
    const entry = this.#workers.get(key);
    this.#workers.delete(key);
    await entry?.worker.dispose();
  }
}

function notAnError(unit: string, thrown: unknown): Error {
  return new Error(`${unit} failed with a value that is no Error: ${describeThrown(thrown)}`, {
    cause: thrown,
  });
}

function keyOf(order: WorkerInput): string {
  return `${order.unit}#${order.assignment}`;
}
