import { parseUnitStream } from "../core/address.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { PipelineDeployed, RetryItem, StepsRecorded } from "../core/events.ts";
import { retryStream } from "../core/streams.ts";
import { pathSinceRetry, RETRIED_NAME, rootNamed } from "../engine/origins.ts";
import { StepGraph } from "../engine/step-graph.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { stagesOf } from "./lineage-places.ts";
import { placesIn, type RowPlace } from "./row-places.ts";
import { readUnlessGone, seekRecord } from "./seek.ts";

/** Where something would be that was put back, or comes of that, if it had not been refused. */
export interface Home extends RowPlace {
  /** The address of its root: see `rootName`. */
  readonly address: string;
}

/** Homes that are remembered: what comes of one record is asked for in a row, and stage by stage again. */
const HOMES_KEPT = 4_096;
/** Events of a partition that are: those that refused, and those that took back what was refused again. */
const EVENTS_KEPT = 4;

/**
 * The *homes* of records that were put back, and of what comes of them: the place that each would have if the stage had
 * not refused it, however often it was refused and put back. It is the place that the stage was given it at, with what
 * the path got since. A fork in which the stage takes it at once has it there.
 */
export class Homes {
  readonly #log: EventLog;
  readonly #history: Pick<DeploymentHistory, "pipeline" | "withIdentity">;
  readonly #known = new Map<number, Home | "gone">();
  readonly #events = new Map<string, KnownEvent[]>();
  readonly #firing = new Map<PipelineDeployed, ReadonlySet<string>>();
  #asked: { readonly first: number; readonly items: readonly RetryItem[]; readonly unit: string } | undefined;

  constructor(log: EventLog, history: Pick<DeploymentHistory, "pipeline" | "withIdentity">) {
    this.#log = log;
    this.#history = history;
  }

  /** The home of a row that descends from a record that was put back. `gone`: the event that refused it was let go of. */
  async of({ root, path }: RowPlace): Promise<Home | "gone"> {
    const given = await this.ofItem(root);
    return given === "gone" ? given : { ...given, path: given.path + pathSinceRetry(path) };
  }

  /** The home of a record that was put back as the I-th: where the stage that refused it was given it. */
  async ofItem(item: number): Promise<Home | "gone"> {
    const known = this.#known.get(item);
    if (known !== undefined) return known;
    const home = await this.#find(item);
    if (this.#known.size >= HOMES_KEPT) this.#known.clear();
    this.#known.set(item, home);
    return home;
  }

  /** The place of a row; of what descends from a record that was put back its home, if that is known. */
  async placeOf(place: RowPlace): Promise<RowPlace> {
    const home = place.origin === RETRIED_NAME ? await this.of(place) : place;
    return home === "gone" ? place : home;
  }

  async #find(item: number): Promise<Home | "gone"> {
    const asked = await this.#askedFor(item);
    const known = asked && (await this.#eventOf(asked.unit, asked.n));
    if (asked === undefined || known === undefined) return "gone";
    const { graph, deployed, placeOf } = known;
    const { event } = graph;
    const input = asked.n - event.first;
    const segment = parseUnitStream(asked.unit);
    const stages = stagesOf(deployed, segment?.kind === "steps" ? segment.segment : "");
    const at = stages.findIndex(({ name }) => name === asked.stage);
    // Where its stage was not there any more, it came in nowhere.
    const given = at < 0 || event.stages === undefined ? SEGMENT_INPUT : graph.shape.ahead(at);
    const row = given === SEGMENT_INPUT ? input : graph.rowsOf(given, input).start + (asked.k ?? 0);
    const place = placeOf({ stage: given, row });
    if (place.origin === RETRIED_NAME) return this.of(place);
    const { pipeline } = this.#history;
    const firing = this.#firingsOf(deployed).has(place.origin);
    return { ...place, address: rootNamed(pipeline, place.origin, firing, place.root) };
  }

  async #askedFor(item: number): Promise<(RetryItem & { readonly unit: string }) | undefined> {
    const within = () => this.#asked?.items[item - this.#asked.first];
    if (within() === undefined) {
      const stream = retryStream(this.#history.pipeline);
      const recorded = await readUnlessGone(this.#log, stream, await seekRecord(this.#log, stream, item));
      const typed = recorded && decodeEvent(recorded);
      if (typed?.type !== "RetryAsked") return undefined;
      this.#asked = typed.data;
    }
    const found = within();
    return found && this.#asked && { ...found, unit: this.#asked.unit };
  }

  async #eventOf(unit: string, n: number): Promise<KnownEvent | undefined> {
    const recent = this.#events.get(unit) ?? [];
    const at = recent.findIndex(({ graph: { event } }) => n >= event.first && n < event.first + event.count);
    if (at >= 0) return recent[at];
    const recorded = await readUnlessGone(this.#log, unit, await seekRecord(this.#log, unit, n));
    const typed = recorded && decodeEvent(recorded);
    if (typed?.type !== "StepsRecorded" || !has(typed.data, n)) return undefined;
    const graph = new StepGraph(typed.data);
    const deployed = this.#history.withIdentity(typed.data.deployment, typed.data.through);
    const known = { graph, deployed, placeOf: placesIn(graph) };
    this.#events.set(unit, [known, ...recent.slice(0, EVENTS_KEPT - 1)]);
    return known;
  }

  #firingsOf(deployed: PipelineDeployed): ReadonlySet<string> {
    let names = this.#firing.get(deployed);
    if (names === undefined) {
      const { origins, firingOrigins } = structureOf(deployed, this.#history.pipeline);
      names = new Set(origins.slice(0, firingOrigins));
      this.#firing.set(deployed, names);
    }
    return names;
  }
}

interface KnownEvent {
  readonly graph: StepGraph;
  readonly deployed: PipelineDeployed;
  readonly placeOf: ReturnType<typeof placesIn>;
}

function has({ first, count }: StepsRecorded, n: number): boolean {
  return n >= first && n < first + count;
}
