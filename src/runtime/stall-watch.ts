import { beatsOf, seenWork } from "./work-marks.ts";

/** A unit of work that is watched. */
export interface WatchedUnit {
  readonly unit: string;
  readonly stream: string;
  /** Names of its stages, in their order. */
  readonly stages: readonly string[];
}

/** A run that is watched from beside its thread. Plain data. */
export interface WatchedRun {
  /** In the order of the marks. */
  readonly units: readonly WatchedUnit[];
  /** Of the process, for people. */
  readonly pid: number;
  /** How often it is looked whether it goes on, and after how long without a beat somebody is to know, in milliseconds. */
  readonly lookMs: number;
  readonly toldMs: number;
}

const MS_PER_SECOND = 1_000;

/** Sees that a thread stands still, because a function does not return, and that it goes on again. */
export class StallWatch {
  readonly #run: WatchedRun;
  readonly #shared: SharedArrayBuffer;
  readonly #names: readonly string[];
  #beats = -1;
  /** Looks in a row without a beat. Not a time: who is stopped together with what it watches would see one pass. */
  #still = 0;
  #told: string | undefined;

  constructor(run: WatchedRun, shared: SharedArrayBuffer) {
    this.#run = run;
    this.#shared = shared;
    this.#names = run.units.map(({ unit }) => unit);
  }

  /** To be called each `lookMs`. Answers what somebody should know. */
  look(): string | undefined {
    const beats = beatsOf(this.#shared);
    if (beats !== this.#beats) {
      const told = this.#told;
      this.#beats = beats;
      this.#still = 0;
      this.#told = undefined;
      return told === undefined ? undefined : `headwater: ${told} goes on`;
    }
    this.#still++;
    const { lookMs, toldMs, pid } = this.#run;
    if (this.#told !== undefined || this.#still * lookMs < toldMs) return undefined;
    const { who, what } = this.#place();
    this.#told = who;
    return `headwater: ${who} has been ${what} for ${toldMs / MS_PER_SECOND} s without a break, and lets nothing else go on, no Ctrl-C or SIGTERM either. Where it never ends, kill -9 ${pid} does, and loses nothing; with --executor threads such a record is refused, and the rest goes on.`;
  }

  #place(): { readonly who: string; readonly what: string } {
    const { inside } = seenWork(this.#shared, this.#names);
    const watched = this.#run.units.find(({ unit }) => unit === inside?.unit);
    const stage = watched?.stages[inside?.stage ?? 0];
    if (inside === undefined || watched === undefined || stage === undefined)
      return { who: "a function in this process", what: "at work" };
    return { who: `stage ${stage}`, what: `at input ${inside.n} of ${watched.stream}` };
  }
}
