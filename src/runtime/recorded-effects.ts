import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { DeployedFork, StepsRecorded } from "../core/events.ts";
import { stepsStream } from "../core/streams.ts";
import type { EffectRow } from "../engine/effect-columns.ts";
import { effectKey, type RecordPlace } from "../engine/effect-key.ts";
import type { EffectRequest } from "../engine/outside.ts";
import type { EventLog } from "../ports/event-log.ts";
import { type DeploymentHistory, deployedStage } from "./deployment-history.ts";
import type { CallResult, RecordedOutcomes } from "./effect-calls.ts";
import { EffectEvents, type EffectPlace } from "./effect-events.ts";
import type { PutBackPlace, PutBackPlaces } from "./put-back-places.ts";
import { seekThrough } from "./seek.ts";

export interface RecordedEffectsOptions {
  readonly log: EventLog;
  /** Of the pipeline whose history it is. */
  readonly history: Pick<DeploymentHistory, "pipeline" | "at">;
  /** Of whoever asks: the same partition is looked into first. */
  readonly partition: number;
  /** What was put back in it. */
  readonly putBack: PutBackPlaces;
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
  /** By ordinals that were looked for lately, the last one last: all that have records of it, in their order. */
  readonly whole: Map<number, readonly StepEffects[]>;
}

interface Asked {
  readonly request: EffectRequest;
  resolve(outcome: CallResult | undefined): void;
  reject(error: unknown): void;
}

/** A place of a result, in its partition. */
interface Found {
  readonly unit: RecordedUnit;
  readonly place: EffectPlace;
}

/** Step events whose effects are kept in mind of each partition. */
const STEPS_KEPT = 4;
/** Ordinals of which it is known which step events have their records, of each partition. */
const ORDINALS_KEPT = 4;

/**
 * Finds what effects have given in the history of a pipeline, by the place of their record, stage and name: whichever
 * partition the record was in. What is not there, as the record had been refused there, or ahead, and was put back, is
 * found where it came to then. What is asked for together is answered in the order in which it was kept then.
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
    const found: (Found & { readonly one: Asked })[] = [];
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

  async #find(request: EffectRequest): Promise<Found | undefined> {
    const { key, turn, stage, ordinal, at } = request;
    const own = await this.#at(stage, ordinal, idOf(key, turn));
    return own ?? this.#findPutBack(request, await this.#options.putBack.of(ordinal, at));
  }

  /** Looks at what came of the last try to put the record back first: where that went on, it is what the pipeline went on with. */
  async #findPutBack(request: EffectRequest, tries: readonly PutBackPlace[]): Promise<Found | undefined> {
    if (tries.length === 0) return undefined;
    const { key, stage, name, ordinal } = request;
    // Failures before it was refused come before those after it was put back.
    let turn = request.turn;
    for (let before = 0; before < request.turn; before++) {
      if ((await this.#at(stage, ordinal, idOf(key, before))) !== undefined) turn--;
    }
    const keyAt = (at: RecordPlace) => effectKey(this.#options.history.pipeline, at, stage, name);
    // Where a record comes in, its effects have the key of the place that it had before: at home, or by a try further up.
    const keysBefore = () => [
      key,
      ...tries.filter(({ entry }) => entry !== stage).map(({ at }) => keyAt(at)),
    ];
    for (const { entry, ordinal: when, at } of tries) {
      const possible = entry === stage ? keysBefore() : [keyAt(at)];
      for (const one of possible) {
        const found = await this.#at(stage, when, idOf(one, turn), "again");
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  /** Of a record with this ordinal. What was put back may have come `again` with the same one: the last time counts. */
  async #at(stage: string, ordinal: number, id: string, again?: "again"): Promise<Found | undefined> {
    const { history, partition } = this.#options;
    const deployed = history.at(ordinal);
    const segment = deployedStage(deployed, stage)?.segment;
    if (segment === undefined) return undefined;
    const others = Array.from({ length: deployed.partitions }, (_, other) => other);
    for (const other of [partition, ...others.filter((one) => one !== partition)]) {
      const unit = this.#unit(stepsStream(history.pipeline, segment, other));
      const known = again ? undefined : placeIn(unit.steps, ordinal, id);
      const place = known ?? placeIn(await this.#stepsWith(unit, ordinal), ordinal, id);
      if (place !== undefined) return { unit, place };
    }
    return undefined;
  }

  #unit(stream: string): RecordedUnit {
    let unit = this.#units.get(stream);
    if (unit === undefined) {
      const events = new EffectEvents(this.#options.log, stream);
      unit = { stream, events, steps: [], whole: new Map() };
      this.#units.set(stream, unit);
    }
    return unit;
  }

  /** All step events with records of an ordinal. */
  async #stepsWith(unit: RecordedUnit, ordinal: number): Promise<readonly StepEffects[]> {
    // Records with the first and last ordinal of an event may be in others, too.
    const within = unit.steps.find(({ lowest, highest }) => lowest < ordinal && ordinal < highest);
    if (within !== undefined) return [within];
    const steps = unit.whole.get(ordinal) ?? (await this.#load(unit, ordinal));
    unit.whole.delete(ordinal);
    unit.whole.set(ordinal, steps);
    const [oldest] = unit.whole.keys();
    if (oldest !== undefined && unit.whole.size > ORDINALS_KEPT) unit.whole.delete(oldest);
    return steps;
  }

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

/** In the last of several. */
function placeIn(steps: readonly StepEffects[], ordinal: number, id: string): EffectPlace | undefined {
  let found: EffectPlace | undefined;
  for (const { lowest, highest, places } of steps) {
    if (lowest <= ordinal && ordinal <= highest) found = places.get(id) ?? found;
  }
  return found;
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
