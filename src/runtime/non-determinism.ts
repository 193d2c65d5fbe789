import type { Bundler } from "../ports/bundler.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { DeploymentHistory } from "./deployment-history.ts";
import { checkPartition, type Divergence } from "./history-check.ts";

/** Why a step gives something else than it gave then, as far as that shows. */
export interface DivergenceCause {
  /**
   * The stage reads the `clock`, or `random` numbers; or it gives something else each time in one process, so that its
   * module keeps something between calls (`module-state`); or the same each time, but not what it gave then: what it
   * depends on is `elsewhere`.
   */
  readonly kind: "clock" | "random" | "module-state" | "elsewhere";
  /** Where the pipeline's code does so, as line and column of the bundle in the log. */
  readonly where?: string;
}

export interface CauseQuery {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly bundler: Bundler;
  readonly pipeline: string;
  readonly segment: string;
  readonly partition: number;
  readonly divergence: Divergence;
  readonly signal: AbortSignal;
}

/**
 * Runs the inputs around a divergence again, in an instance of their own of the code that ran then, and looks at what that
 * reads which is another each time; then once more in the same instance. Nothing else is to run the code of pipelines in
 * this process meanwhile.
 */
export async function causesOf(query: CauseQuery): Promise<readonly DivergenceCause[]> {
  const { log, bundler, pipeline } = query;
  const history = await DeploymentHistory.read(log, bundler, pipeline);
  if (history === undefined) return [];
  const watch = new ReadWatch();
  let once: string | undefined;
  try {
    once = await resultNow(query, history);
  } finally {
    watch.end();
  }
  if (watch.reads.size > 0) return [...watch.reads].map(([kind, where]) => ({ kind, where }));
  const again = await resultNow(query, history);
  return [{ kind: again === once ? "elsewhere" : "module-state" }];
}

/** The digest of what diverges; `undefined` where it does not any more, or has no result. */
async function resultNow(
  { log, clock, segment, partition, divergence, signal }: CauseQuery,
  history: DeploymentHistory,
): Promise<string | undefined> {
  const { ordinal } = divergence;
  const window = { from: ordinal, to: ordinal };
  for await (const { first } of checkPartition({
    log,
    clock,
    history,
    segment,
    partition,
    ...window,
    signal,
    // The record that diverges was run: others of its batch need not be there.
    onGone: () => {},
  })) {
    if (first?.address === divergence.address && first.stage === divergence.stage) return first.actual;
  }
  return undefined;
}

/** The code of pipelines is known by the name that its bundle has. */
const PIPELINE_FRAME = /\(?(headwater:[^\s()]+:\d+:\d+)\)?/;

/** Notes where the code of pipelines reads the clock or random numbers, from when it is made until {@link end}. */
class ReadWatch {
  readonly reads = new Map<"clock" | "random", string>();
  readonly #undo: (() => void)[] = [];

  constructor() {
    const { Date: RealDate } = globalThis;
    const clock = () => this.#note("clock");
    const date = new Proxy(RealDate, {
      construct: (target, args, made) => {
        if (args.length === 0) clock();
        return Reflect.construct(target, args, made) as object;
      },
      apply: (target) => {
        clock();
        return target();
      },
      get: (target, name) => {
        if (name !== "now") return Reflect.get(target, name) as unknown;
        return () => {
          clock();
          return RealDate.now();
        };
      },
    });
    this.#replace(globalThis, "Date", date);
    const random = () => this.#note("random");
    for (const [holder, name, note] of [
      [Math, "random", random],
      [performance, "now", clock],
      [process, "hrtime", clock],
      [crypto, "randomUUID", random],
      [crypto, "getRandomValues", random],
    ] as const) {
      const real = Reflect.get(holder, name) as (...args: unknown[]) => unknown;
      const watched = new Proxy(real, {
        apply: (target, _self, args) => {
          note();
          return Reflect.apply(target, holder, args) as unknown;
        },
      });
      this.#replace(holder, name, watched);
    }
  }

  end(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }

  #replace(holder: object, name: string, value: unknown): void {
    const own = Object.getOwnPropertyDescriptor(holder, name);
    Object.defineProperty(holder, name, { configurable: true, writable: true, enumerable: false, value });
    this.#undo.push(() => {
      if (own === undefined) Reflect.deleteProperty(holder, name);
      else Object.defineProperty(holder, name, own);
    });
  }

  #note(kind: "clock" | "random"): void {
    const frame = PIPELINE_FRAME.exec(new Error("where").stack ?? "");
    if (frame?.[1] !== undefined && !this.reads.has(kind)) this.reads.set(kind, frame[1]);
  }
}
