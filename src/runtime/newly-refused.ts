import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { PipelineDeployed, StepsRecorded } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { retryStream } from "../core/streams.ts";
import { RETRIED_NAME, rootNamed } from "../engine/origins.ts";
import { sortedInPasses } from "../engine/sorted-passes.ts";
import { StepGraph } from "../engine/step-graph.ts";
import { type Plan, SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import type { Homes } from "./homes.ts";
import { putBackRecords, within } from "./put-back.ts";
import { readRefused } from "./quarantine.ts";
import type { OutputPlace } from "./recorded-outputs.ts";
import type { RefusalReason } from "./refused-again.ts";
import { branchInto } from "./refused-in-fork.ts";
import { placesIn, placeText, type RowPlace } from "./row-places.ts";
import { readUnlessGone, seekRecord } from "./seek.ts";
import { givenPart } from "./selection-event.ts";

/** Bytes that a place takes beside its text. */
const PLACE_BYTES = 128;

/** Records that a stage of a fork refuses, and that its pipeline went on with. */
export interface NewlyRefused {
  readonly stage: string;
  readonly records: number;
  /**
   * The first of them in the order of records. Its address is that of what it descends from (`source_P.S@N`, or
   * `firing_P.T@ordinal`): where it is in the fork depends on what was run there.
   */
  readonly first: RefusalReason & { readonly address: string };
}

/** What a fork refuses, stage by stage in the order of the pipeline. */
export interface RefusedInFork {
  /** What its pipeline did not refuse there. */
  readonly newly: readonly NewlyRefused[];
  /** What its pipeline refused there, too, and went on with when it was put back. */
  readonly putBack: readonly NewlyRefused[];
}

/** The deployments of a pipeline, or that of a fork. */
type Versions = Pick<DeploymentHistory, "pipeline" | "all" | "withIdentity">;

/** What is compared with what. */
export interface NewlyRefusedQuery {
  readonly log: EventLog;
  /** Of the pipeline, and of its fork. */
  readonly history: Versions;
  readonly forked: Versions;
  readonly from: number;
  readonly to: number;
  readonly signal: AbortSignal;
  /** Where what was put back in the pipeline would be if it had not been refused. */
  readonly homes: Homes;
  /** Which records of the fork are told of; all if absent. */
  told?(of: OutputPlace): boolean;
}

/**
 * What stages of a fork have refused and the pipeline has not, or not for good. A record is the same where it is at the
 * same place (ordinal, origin and path); what was put back in the pipeline is where it would be if it had not been
 * refused. Where the fork refused nothing, nothing else is read. Memory is that of what is refused at one ordinal, and of
 * so much of what was put back as is brought into order at a time.
 */
export async function newlyRefused(query: NewlyRefusedQuery): Promise<RefusedInFork> {
  const { forked, told } = query;
  const newly = new Map<string, NewlyRefused>();
  const putBack = new Map<string, NewlyRefused>();
  let before: AsyncGenerator<readonly KnownPlace[]> | undefined;
  let then: readonly KnownPlace[] | undefined;
  const units = await unitsThatRefused(query, forked.pipeline);
  try {
    for await (const group of inOrder(units.map((unit) => placesOf(query, forked, unit)))) {
      const ordinal = group[0]?.ordinal ?? 0;
      if (before === undefined) {
        before = await refusedThen(query);
        then = (await before.next()).value ?? undefined;
      }
      while (then?.[0] !== undefined && then[0].ordinal < ordinal)
        then = (await before.next()).value ?? undefined;
      const known = new Map<string, boolean>();
      for (const { ordinal: at, name, wentOn } of then ?? []) {
        if (at === ordinal) known.set(name, wentOn || known.get(name) === true);
      }
      for (const place of [...group].sort(byName)) {
        const ends = place.names.flatMap((name) => known.get(name) ?? []);
        const into = ends.includes(true) ? putBack : ends.length === 0 ? newly : undefined;
        if (into === undefined || told?.(place.at) === false) continue;
        const { stage, address, reason } = place;
        const one = into.get(stage);
        const first = one?.first ?? { address, ...reason };
        into.set(stage, { stage, records: (one?.records ?? 0) + 1, first });
      }
    }
  } finally {
    await before?.return(undefined);
  }
  const order = forked.all.at(-1)?.stages.map(({ name }) => name) ?? [];
  const sorted = (found: ReadonlyMap<string, NewlyRefused>) =>
    [...found.values()].sort((a, b) => order.indexOf(a.stage) - order.indexOf(b.stage));
  return { newly: sorted(newly), putBack: sorted(putBack) };
}

/** What was refused in a pipeline, and whether it went on when it was put back. */
interface KnownPlace {
  readonly ordinal: number;
  /** Stage and place. */
  readonly name: string;
  readonly wentOn: boolean;
}

interface RefusedPlace {
  readonly ordinal: number;
  readonly stage: string;
  readonly place: RowPlace;
  /** Stage and place; in a fork that has cut a segment also the place that it had before: that is the last. */
  readonly names: readonly string[];
  /** Of what it descends from. */
  readonly address: string;
  readonly reason: RefusalReason;
  readonly at: OutputPlace;
}

function byName(a: RefusedPlace, b: RefusedPlace): number {
  const [one = "", other = ""] = [a.names.at(-1), b.names.at(-1)];
  return one < other ? -1 : one > other ? 1 : 0;
}

/** Which partitions of a pipeline or fork have refused records. */
async function unitsThatRefused({ log }: NewlyRefusedQuery, pipeline: string): Promise<string[]> {
  const units: string[] = [];
  for await (const { stream, deleted } of log.streams({ prefixes: [`quarantine_${pipeline}.`] })) {
    if (!deleted && /\.\d{4}$/.test(stream)) units.push(`steps${stream.slice(stream.indexOf("_"))}`);
  }
  return units.sort();
}

/** What the pipeline has refused in the window, in order. */
async function refusedThen(query: NewlyRefusedQuery): Promise<AsyncGenerator<readonly KnownPlace[]>> {
  const { log, history } = query;
  const units = await unitsThatRefused(query, history.pipeline);
  const atOnce = units.map((unit) => refusedAtOnce(query, unit));
  const isAsked = (await log.streamInfo(retryStream(history.pipeline))) !== undefined;
  return inOrder(isAsked ? [...atOnce, refusedAtHome(query, units)] : atOnce);
}

/** What a partition has refused that had not been put back before. */
async function* refusedAtOnce(query: NewlyRefusedQuery, unit: string): AsyncGenerator<KnownPlace> {
  for await (const { ordinal, names, place } of placesOf(query, query.history, unit)) {
    if (place.origin !== RETRIED_NAME) yield { ordinal, name: names[0] ?? "", wentOn: false };
  }
}

/** What was refused of records that had been put back, and what had been refused and went on: each at its home. */
function refusedAtHome(query: NewlyRefusedQuery, units: readonly string[]): AsyncGenerator<KnownPlace> {
  const { log, history, homes, from, to } = query;
  const home = async (stage: string, place: RowPlace, wentOn: boolean): Promise<KnownPlace> => {
    const { ordinal, ...rest } = await homes.placeOf(place);
    return { ordinal, name: `${stage} ${placeText({ ordinal, ...rest })}`, wentOn };
  };
  return sortedInPasses<KnownPlace>({
    async *pass() {
      for (const unit of units) {
        for await (const { stage, place } of placesOf(query, history, unit)) {
          if (place.origin === RETRIED_NAME) yield home(stage, place, false);
        }
      }
      for await (const { item, ordinal, stage, wentOn } of putBackRecords(log, history)) {
        if (!wentOn || !within({ from, to }, ordinal)) continue;
        const place = await homes.ofItem(item);
        if (place !== "gone") yield home(stage, place, true);
      }
    },
    // Of those that are alike one is enough.
    order: (a, b) =>
      a.ordinal - b.ordinal ||
      (a.name < b.name ? -1 : a.name > b.name ? 1 : Number(a.wentOn) - Number(b.wentOn)),
    hold: (one) => one,
    bytesOf: ({ name }) => PLACE_BYTES + name.length,
    bytesMost: LIMITS.putBackSortedBytes,
  });
}

/** What a partition has refused, in the order of records. What was let go of has no place any more, and is passed over. */
async function* placesOf(
  { log, from, to, signal }: NewlyRefusedQuery,
  history: Versions,
  unit: string,
): AsyncGenerator<RefusedPlace> {
  const name = unit.slice(unit.indexOf(".") + 1, -".0000".length);
  let known: EventOfRefused | undefined;
  // An event's are kept stage by stage.
  let ofEvent: RefusedPlace[] = [];
  const sorted = () => ofEvent.sort((a, b) => a.ordinal - b.ordinal);
  let isOver = false;
  for await (const { place: kept, record } of readRefused(log, history.pipeline, { unit })) {
    if (signal.aborted) throw new HeadwaterError("Stopped", "stopped while refused records were looked for");
    if (record.kind !== "quarantined") continue;
    const { n, row, stage, code, message } = record.quarantined;
    if (known === undefined || n >= known.event.first + known.event.count) {
      const recorded = await readUnlessGone(log, unit, await seekRecord(log, unit, n));
      const typed = recorded && decodeEvent(recorded);
      if (typed?.type !== "StepsRecorded" || n < typed.data.first) continue;
      yield* sorted();
      ofEvent = [];
      if (isOver) return;
      known = eventOf(history, typed.data, name);
    }
    const { event, graph, deployed, plan, segment, placeOf } = known;
    const { ordinal } = graph.input(n - event.first);
    if (ordinal < from) continue;
    isOver ||= ordinal > to;
    if (ordinal > to || segment === undefined) continue;
    const at = segment.stages.findIndex(({ definition }) => definition.name === stage);
    const given = at < 0 || event.stages === undefined ? SEGMENT_INPUT : graph.shape.ahead(at);
    const place = placeOf({ stage: given, row });
    const { origin, root, path } = place;
    const branch = branchInto(segment, at);
    const cut = branch !== "" && path.endsWith(branch) ? [path.slice(0, -branch.length)] : [];
    const k = given === SEGMENT_INPUT ? 0 : (kept.k ?? 0);
    const firing = plan.origins.indexOf(origin) < plan.firingOrigins;
    ofEvent.push({
      ...{ ordinal, stage, place, reason: { code, message } },
      names: [path, ...cut].map((one) => `${stage} ${placeText({ ...place, path: one })}`),
      address: rootNamed(plan.definition.name, origin, firing, root),
      at: { stream: unit, part: givenPart(segment, stage), n, k, origin, deployed },
    });
  }
  yield* sorted();
}

interface EventOfRefused {
  readonly event: StepsRecorded;
  readonly graph: StepGraph;
  readonly deployed: PipelineDeployed;
  readonly plan: Plan;
  /** `undefined`: the deployment does not have it. */
  readonly segment: Segment | undefined;
  readonly placeOf: ReturnType<typeof placesIn>;
}

function eventOf(history: Versions, event: StepsRecorded, name: string): EventOfRefused {
  const graph = new StepGraph(event);
  const deployed = history.withIdentity(event.deployment, event.through);
  const plan = structureOf(deployed, history.pipeline);
  const segment = plan.segments.find((other) => other.name === name);
  return { event, graph, deployed, plan, segment, placeOf: placesIn(graph) };
}

/** Merges what several have, each in order; what is of one ordinal comes together. */
async function* inOrder<T extends { readonly ordinal: number }>(
  all: readonly AsyncGenerator<T>[],
): AsyncGenerator<readonly T[]> {
  const heads: { readonly of: T; readonly from: AsyncIterator<T> }[] = [];
  const load = async (from: AsyncIterator<T>) => {
    const { done, value } = await from.next();
    if (!done) heads.push({ of: value, from });
  };
  try {
    for (const one of all) await load(one);
    while (heads.length > 0) {
      const ordinal = Math.min(...heads.map(({ of }) => of.ordinal));
      const group: T[] = [];
      for (;;) {
        const at = heads.findIndex(({ of }) => of.ordinal <= ordinal);
        const [head] = at < 0 ? [] : heads.splice(at, 1);
        if (head === undefined) break;
        group.push(head.of);
        await load(head.from);
      }
      yield group;
    }
  } finally {
    for (const one of all) await one.return(undefined);
  }
}
