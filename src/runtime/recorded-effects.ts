import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { DeployedFork, StepsRecorded } from "../core/events.ts";
import { stepsStream } from "../core/streams.ts";
import type { EffectRow } from "../engine/effect-columns.ts";
import type { EffectRequest } from "../engine/outside.ts";
import type { EventLog } from "../ports/event-log.ts";
import { type DeploymentHistory, deployedStage } from "./deployment-history.ts";
import type { CallResult, RecordedOutcomes } from "./effect-calls.ts";
import { EffectEvents, type EffectPlace } from "./effect-events.ts";
import { seekThrough } from "./seek.ts";

export interface RecordedEffectsOptions {
  readonly log: EventLog;
  /** Of the pipeline whose history it is. */
  readonly history: Pick<DeploymentHistory, "pipeline" | "at">;
  /** Of whoever asks: the same partition is looked into first. */
  readonly partition: number;
  readonly newEffects: DeployedFork["newEffects"];
}

/** The effects of one recorded step event, by key and turn. */
interface StepEffects {
  readonly revision: number;
  readonly lowest: number;
  readonly highest: number;
  readonly places: ReadonlyMap<string, EffectPlace>;
}

/** What is known of the effects of one recorded partition. */
interface RecordedUnit {
  readonly stream: string;
  readonly events: EffectEvents;
  readonly steps: StepEffects[];
}

interface Asked {
  readonly request: EffectRequest;
  resolve(outcome: CallResult | undefined): void;
  reject(error: unknown): void;
}

/** Step events whose effects are kept in mind of each partition. */
const STEPS_KEPT = 4;

/**
 * Finds what effects have given in the history of a pipeline, by the place of their record, stage and name: whichever
 * partition the record was in. What is asked for together is answered in the order in which it was kept then.
 */
export class RecordedEffects implements RecordedOutcomes {
  readonly #options: RecordedEffectsOptions;
  readonly #units = new Map<string, RecordedUnit>();
  #asked: Asked[] = [];
  #serving: Promise<void> = Promise.resolve();

  constructor(options: RecordedEffectsOptions) {
    this.#options = options;
  }

  outcomeOf(request: EffectRequest): Promise<CallResult | undefined> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ request, resolve, reject });
      if (this.#asked.length > 1) return;
      this.#serving = this.#serving.then(() => this.#serve());
    });
  }

  async #serve(): Promise<void> {
    const asked = this.#asked;
    this.#asked = [];
    const found: { readonly one: Asked; readonly unit: RecordedUnit; readonly place: EffectPlace }[] = [];
    for (const one of asked) {
      try {
        const at = await this.#find(one.request);
        if (at !== undefined) found.push({ one, ...at });
        else if (this.#options.newEffects === "called") one.resolve(undefined);
        else one.reject(notRecorded(one.request));
      } catch (error) {
        one.reject(error);
      }
    }
    found.sort(({ place: a }, { place: b }) => a.revision - b.revision || a.row - b.row);
    for (const { one, unit, place } of found) {
      try {
        one.resolve(resultOf(await unit.events.rowAt(place)));
      } catch (error) {
        one.reject(error);
      }
    }
  }

  async #find({ key, turn, stage, ordinal }: EffectRequest) {
    const { history, partition } = this.#options;
    const deployed = history.at(ordinal);
    const segment = deployedStage(deployed, stage)?.segment;
    if (segment === undefined) return undefined;
    const id = idOf(key, turn);
    const others = Array.from({ length: deployed.partitions }, (_, other) => other);
    for (const other of [partition, ...others.filter((one) => one !== partition)]) {
      const unit = this.#unit(stepsStream(history.pipeline, segment, other));
      const place = placeIn(unit.steps, ordinal, id) ?? placeIn(await this.#load(unit, ordinal), ordinal, id);
      if (place !== undefined) return { unit, place };
    }
    return undefined;
  }

  #unit(stream: string): RecordedUnit {
    let unit = this.#units.get(stream);
    if (unit === undefined) {
      unit = { stream, events: new EffectEvents(this.#options.log, stream), steps: [] };
      this.#units.set(stream, unit);
    }
    return unit;
  }

  /** The step events with records of an ordinal. */
  async #load(unit: RecordedUnit, ordinal: number): Promise<readonly StepEffects[]> {
    const { log } = this.#options;
    const loaded: StepEffects[] = [];
    // Of an ordinal that is still going on an event is complete up to the one before.
    const from = await seekThrough(log, unit.stream, ordinal - 2);
    if (from === undefined) return loaded;
    for await (const recorded of log.read(unit.stream, { from })) {
      const { type, data } = decodeEvent(recorded);
      if (type !== "StepsRecorded" || data.ordinals === undefined) continue;
      const ordinals = decodeDeltas(data.ordinals, data.count);
      const lowest = ordinals[0] ?? 0;
      if (lowest > ordinal) break;
      const highest = ordinals.at(-1) ?? 0;
      if (highest < ordinal) continue;
      const { revision } = recorded;
      const known = unit.steps.find((step) => step.revision === revision);
      loaded.push(known ?? { revision, lowest, highest, places: await placesOf(unit.events, data) });
    }
    for (const step of loaded) if (!unit.steps.includes(step)) unit.steps.push(step);
    while (unit.steps.length > Math.max(STEPS_KEPT, loaded.length)) unit.steps.shift();
    return loaded;
  }
}

function placeIn(steps: readonly StepEffects[], ordinal: number, id: string): EffectPlace | undefined {
  for (const { lowest, highest, places } of steps) {
    const place = lowest <= ordinal && ordinal <= highest ? places.get(id) : undefined;
    if (place !== undefined) return place;
  }
  return undefined;
}

async function placesOf(
  events: EffectEvents,
  { first, count, effects }: StepsRecorded,
): Promise<ReadonlyMap<string, EffectPlace>> {
  const places = new Map<string, EffectPlace>();
  if (effects === undefined) return places;
  const { revision: from, events: of } = effects;
  for await (const { revision, rows } of events.read(from, from + of)) {
    for (const [row, { n, key, turn }] of rows.entries()) {
      if (n >= first && n < first + count) places.set(idOf(key, turn), { revision, row });
    }
  }
  return places;
}

function idOf(key: string, turn: number): string {
  return `${key}/${turn}`;
}

/** Nothing is called for it, and nothing waited for. */
function resultOf({ kind, bytes }: EffectRow): CallResult {
  return { kind, bytes, calls: 0, millis: 0 };
}

function notRecorded({ stage, name, ordinal }: EffectRequest): HeadwaterError {
  return new HeadwaterError("EffectMissing", `the effect ${name} has no recorded result`, {
    where: `stage ${stage}, ordinal ${ordinal}`,
    hint: "A replay calls nothing unless it is told to: --new-effects call lets it call effects that were not recorded.",
  });
}
