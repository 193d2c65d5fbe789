import { encodeCanonical } from "../core/canonical.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { EffectOutcome, EffectRequest, Outside } from "../engine/outside.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { EffectEvents, type EffectPlace } from "./effect-events.ts";
import { readOne, seekRecord } from "./seek.ts";

export interface ServedEffectsOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  /** The partition's own stream, whose inputs are run again. */
  readonly steps: string;
  readonly signal: AbortSignal;
  /**
   * What was never asked for then counts as failed: it may be asked for now because a stage ahead gives something else,
   * which is what is looked for. Absent: that is an error.
   */
  readonly unknown?: "failed";
}

/** Where the outcomes of one step event's inputs are, by input, key and turn. */
interface StepEffects {
  readonly first: number;
  /** The N after its last input. */
  readonly end: number;
  readonly places: ReadonlyMap<string, EffectPlace>;
}

interface Asked {
  readonly request: EffectRequest;
  resolve(outcome: EffectOutcome): void;
  reject(error: unknown): void;
}

/** Step events whose effects are kept in mind: a batch that is run again may have parts of several. */
const STEPS_KEPT = 4;

/**
 * The outside of whoever runs recorded inputs again: serves effects from the log and calls nothing. What is asked for
 * together is given in the order in which it was kept, so that of two effects the same comes first. Rejects with
 * `RecordGone` for what was let go of, and with `EffectMissing` for what was never there, unless that counts as failed.
 */
export class ServedEffects implements Outside {
  readonly signal: AbortSignal;
  readonly #options: ServedEffectsOptions;
  readonly #events: EffectEvents;
  readonly #steps: StepEffects[] = [];
  #asked: Asked[] = [];

  constructor(options: ServedEffectsOptions) {
    this.#options = options;
    this.signal = options.signal;
    this.#events = new EffectEvents(options.log, options.steps);
  }

  effect(request: EffectRequest): Promise<EffectOutcome> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ request, resolve, reject });
      if (this.#asked.length === 1) queueMicrotask(() => void this.#serve());
    });
  }

  async wait(ms: number): Promise<void> {
    await sleep(this.#options.clock, ms, this.signal);
    if (this.signal.aborted) throw this.signal.reason;
  }

  async #serve(): Promise<void> {
    const asked = this.#asked;
    this.#asked = [];
    try {
      const found: { readonly one: Asked; readonly place: EffectPlace }[] = [];
      const unknown: { readonly one: Asked; readonly outcome: EffectOutcome }[] = [];
      for (const one of asked) {
        const place = await this.#placeOf(one.request);
        if (place !== undefined) found.push({ one, place });
        else unknown.push({ one, outcome: this.#unknown(one.request) });
      }
      found.sort(({ place: a }, { place: b }) => a.revision - b.revision || a.row - b.row);
      const outcomes: EffectOutcome[] = [];
      for (const { place } of found) {
        const { kind, bytes, calls } = await this.#events.rowAt(place);
        outcomes.push({ kind, bytes, calls, served: true });
      }
      for (const [at, { one }] of found.entries()) one.resolve(outcomes[at] as EffectOutcome);
      for (const { one, outcome } of unknown) one.resolve(outcome);
    } catch (error) {
      for (const { reject } of asked) reject(error);
    }
  }

  async #placeOf({ n, key, turn }: EffectRequest): Promise<EffectPlace | undefined> {
    const steps = this.#steps.find(({ first, end }) => first <= n && n < end) ?? (await this.#load(n));
    return steps.places.get(idOf(n, key, turn));
  }

  /** The outcome of what was never asked for. */
  #unknown({ n, stage, name }: EffectRequest): EffectOutcome {
    const message = `the result of the effect ${name} is not in the log`;
    if (this.#options.unknown === "failed") {
      return { kind: "failed", bytes: encodeCanonical({ message }), calls: 1, served: true };
    }
    throw new HeadwaterError("EffectMissing", message, {
      where: `stage ${stage}, input ${this.#options.steps}@${n}`,
      hint: "What was recorded is run again and calls nothing. The stage now uses an effect that it did not use then, or under another name: give it the name that it had.",
    });
  }

  /** The effects of the step event that has the input N = `n`. */
  async #load(n: number): Promise<StepEffects> {
    const { log, steps: stream } = this.#options;
    const event = decodeEvent(await readOne(log, stream, await seekRecord(log, stream, n)));
    if ("first" in event.data && event.data.first > n) {
      throw new HeadwaterError(
        "RecordGone",
        `an input that is to be run again was let go of: ${stream}@${n}`,
      );
    }
    if (event.type !== "StepsRecorded" || event.data.first + event.data.count <= n) {
      throw new HeadwaterError("Internal", "an input is run again that was not recorded", {
        where: `${stream}@${n}`,
      });
    }
    const { first, count, effects } = event.data;
    const end = first + count;
    const places = new Map<string, EffectPlace>();
    if (effects !== undefined) {
      const { revision: begin, events } = effects;
      let next = begin;
      for await (const { revision, rows } of this.#events.read(begin, begin + events)) {
        if (revision !== next) break;
        next++;
        for (const [row, { n: input, key, turn }] of rows.entries()) {
          if (input >= first && input < end) places.set(idOf(input, key, turn), { revision, row });
        }
      }
      if (next < begin + events) await this.#mustBeKept(begin, `${stream}@${n}`);
    }
    const loaded = { first, end, places };
    this.#steps.push(loaded);
    if (this.#steps.length > STEPS_KEPT) this.#steps.shift();
    return loaded;
  }

  /** Tells what was let go of from what somebody took out. */
  async #mustBeKept(revision: number, input: string): Promise<void> {
    const { stream } = this.#events;
    const info = await this.#options.log.streamInfo(stream);
    if (info === undefined || info.firstRevision <= revision) return;
    const message = `results of effects that are to be served again were let go of: ${stream}@${revision}`;
    throw new HeadwaterError("RecordGone", message, { where: input });
  }
}

function idOf(n: number, key: string, turn: number): string {
  return `${n}/${key}/${turn}`;
}
