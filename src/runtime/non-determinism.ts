import nodeCrypto from "node:crypto";
import type { Bundler } from "../ports/bundler.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { DeploymentHistory } from "./deployment-history.ts";
import { checkPartition, type Divergence } from "./history-check.ts";
import { inLocale, inTimeZone } from "./other-place.ts";
import { runtimeVersions } from "./versions.ts";

/** Why a step gives something else than it gave then, as far as that shows. */
export interface DivergenceCause {
  /**
   * It gives what it gave then in the `time-zone`, or in the `locale`, of then. Else: the stage reads the `clock`, or
   * `random` numbers; or it gives something else each time in one process, so that its module keeps something between
   * calls (`module-state`); or the same each time, but not what it gave then: what it depends on is `elsewhere`.
   */
  readonly kind: "time-zone" | "locale" | "clock" | "random" | "module-state" | "elsewhere";
  /** Where the pipeline's code reads the clock or random numbers, as line and column of the bundle in the log. */
  readonly where?: string;
  /** The time zone or locale of then, and that of now. */
  readonly was?: string;
  readonly is?: string;
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
 * Runs the inputs around a divergence again, in an instance of their own of the code that ran then: in the time zone and
 * locale of then, if those are others now; and while it looks at what that reads which is another each time; then once
 * more in the same instance. Nothing else is to run the code of pipelines in this process meanwhile.
 */
export async function causesOf(query: CauseQuery): Promise<readonly DivergenceCause[]> {
  const { log, bundler, pipeline } = query;
  const read = () => DeploymentHistory.read(log, bundler, pipeline);
  const history = await read();
  if (history === undefined) return [];
  const ofPlace = await placesOfThen(query, history, read);
  if (ofPlace.length > 0) return ofPlace;
  const watch = new ReadWatch();
  let once: Result;
  try {
    once = await resultNow(query, history);
  } finally {
    watch.end();
  }
  if (watch.reads.size > 0) return [...watch.reads].map(([kind, where]) => ({ kind, where }));
  const again = await resultNow(query, history);
  const isAlways = once === query.divergence.actual && again === once;
  return [{ kind: isAlways ? "elsewhere" : "module-state" }];
}

/** Which of the time zone and the locale of then make it give what it gave then. */
async function placesOfThen(
  query: CauseQuery,
  history: DeploymentHistory,
  read: () => Promise<DeploymentHistory | undefined>,
): Promise<readonly DivergenceCause[]> {
  const { version } = query.divergence;
  const deployed = history.last((one) => one.version === version);
  const now = runtimeVersions();
  for (const then of deployed === undefined ? [] : history.runtimesOf(deployed)) {
    const ways: DivergenceCause[] = [];
    if (then.timeZone !== now.timeZone)
      ways.push({ kind: "time-zone", was: then.timeZone, is: now.timeZone });
    if (then.locale !== undefined && then.locale !== now.locale)
      ways.push({ kind: "locale", was: then.locale, is: now.locale ?? "" });
    for (const tried of ways.length > 1 ? [...ways.map((way) => [way]), ways] : [ways]) {
      if (tried.length === 0) continue;
      const end = elsewhere(tried);
      try {
        // A module may have asked when it was loaded.
        const fresh = await read();
        if (fresh !== undefined && (await resultNow(query, fresh)) === AS_RECORDED) return tried;
      } finally {
        end();
      }
    }
  }
  return [];
}

/** Puts this process where it was then, as far as `tried` says; answers what brings it back. */
function elsewhere(tried: readonly DivergenceCause[]): () => void {
  const undo = tried.map(({ kind, was = "" }) => (kind === "locale" ? inLocale(was) : inTimeZone(was)));
  return () => {
    for (const one of undo.toReversed()) one();
  };
}

/** The digest of what diverges; `undefined` where it has no result, or {@link AS_RECORDED}. */
type Result = string | undefined | typeof AS_RECORDED;

/** It does not diverge any more. */
const AS_RECORDED = Symbol("as recorded");

async function resultNow(
  { log, clock, segment, partition, divergence, signal }: CauseQuery,
  history: DeploymentHistory,
): Promise<Result> {
  const { ordinal } = divergence;
  const window = { from: ordinal, to: ordinal };
  let ran = false;
  for await (const { first, steps } of checkPartition({
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
    ran ||= steps > 0;
    if (first?.address === divergence.address && first.stage === divergence.stage) return first.actual;
  }
  return ran ? AS_RECORDED : undefined;
}

/** The code of pipelines is known by the name that its bundle has. */
const PIPELINE_FRAME = /\(?(headwater:[^\s()]+:\d+:\d+)\)?/;

/** Functions of node:crypto whose results are by chance. */
const OF_CHANCE = [
  ...["randomUUID", "randomBytes", "randomInt", "randomFill", "randomFillSync"],
  ...["generateKey", "generateKeySync", "generateKeyPair", "generateKeyPairSync"],
] as const;

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
    const chance: readonly (readonly [object, string])[] = [
      [Math, "random"],
      ...["randomUUID", "getRandomValues"].map((name) => [crypto, name] as const),
      // Modules get this very object, by whichever of its names they import it.
      ...OF_CHANCE.map((name) => [nodeCrypto, name] as const),
    ];
    for (const [holder, name] of chance) this.#watch(holder, name, random);
    // The one below it first: it is read through the one above.
    this.#watch(process.hrtime, "bigint", clock);
    for (const [holder, name] of [
      [performance, "now"],
      [process, "hrtime"],
      [process, "uptime"],
    ] as const)
      this.#watch(holder, name, clock);
  }

  /** Has a function say when it is called. */
  #watch(holder: object, name: string, note: () => void): void {
    const real = Reflect.get(holder, name) as (...args: unknown[]) => unknown;
    const watched = new Proxy(real, {
      apply: (target, _self, args) => {
        note();
        return Reflect.apply(target, holder, args) as unknown;
      },
    });
    this.#replace(holder, name, watched);
  }

  end(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }

  #replace(holder: object, name: string, value: unknown): void {
    const own = Object.getOwnPropertyDescriptor(holder, name);
    // What cannot be watched explains nothing; it is no reason to fail.
    if (own?.configurable === false) return;
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
