import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { StepsRecorded } from "../core/events.ts";
import { StepGraph } from "../engine/step-graph.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { readRefused } from "./quarantine.ts";
import type { OutputPlace } from "./recorded-outputs.ts";
import type { RefusalReason } from "./refused-again.ts";
import { branchInto } from "./refused-in-fork.ts";
import { readUnlessGone, seekRecord } from "./seek.ts";
import { rowPlaces } from "./selection.ts";
import { givenPart } from "./selection-event.ts";

/** Records that a stage of a fork refuses, and that were not refused there in its pipeline. */
export interface NewlyRefused {
  readonly stage: string;
  readonly records: number;
  /** The first of them in the order of records; its address is one in the fork: `steps_P~ID.G.Q@N.K/stage`. */
  readonly first: RefusalReason & { readonly address: string };
}

/** What is compared with what. */
export interface NewlyRefusedQuery {
  readonly log: EventLog;
  /** Of the pipeline, and of its fork. */
  readonly history: DeploymentHistory;
  readonly forked: DeploymentHistory;
  readonly from: number;
  readonly to: number;
  readonly signal: AbortSignal;
  /** Which records of the fork are told of; all if absent. */
  told?(of: OutputPlace): boolean;
}

/**
 * What stages of a fork have refused beyond what they had refused in the pipeline, stage by stage. A record is the same
 * where it is at the same place (ordinal, origin and path). Where the fork refused nothing, nothing else is read; memory
 * is that of what is refused at one ordinal.
 */
export async function newlyRefused(query: NewlyRefusedQuery): Promise<NewlyRefused[]> {
  const { forked, history, told } = query;
  const now = inOrder(await refusedIn(query, forked));
  const found = new Map<string, NewlyRefused>();
  let before: AsyncGenerator<readonly RefusedPlace[]> | undefined;
  let then: readonly RefusedPlace[] | undefined;
  try {
    for await (const group of now) {
      const ordinal = group[0]?.ordinal ?? 0;
      if (before === undefined) {
        before = inOrder(await refusedIn(query, history));
        then = (await before.next()).value ?? undefined;
      }
      while (then?.[0] !== undefined && then[0].ordinal < ordinal)
        then = (await before.next()).value ?? undefined;
      const known = new Set(
        then?.[0]?.ordinal === ordinal ? then.flatMap(({ names }) => names.slice(0, 1)) : [],
      );
      for (const { stage, names, reason, address, at } of group) {
        if (names.some((name) => known.has(name)) || told?.(at) === false) continue;
        const one = found.get(stage);
        found.set(stage, {
          stage,
          records: (one?.records ?? 0) + 1,
          first: one?.first ?? { address, ...reason },
        });
      }
    }
  } finally {
    await before?.return(undefined);
  }
  const order = forked.current.stages.map(({ name }) => name);
  return [...found.values()].sort((a, b) => order.indexOf(a.stage) - order.indexOf(b.stage));
}

interface RefusedPlace {
  readonly ordinal: number;
  readonly stage: string;
  /** Stage and place; in a fork that has cut a segment also the place that it had before. */
  readonly names: readonly string[];
  readonly address: string;
  readonly reason: RefusalReason;
  readonly at: OutputPlace;
}

/** What each partition of a pipeline or fork has refused in the window. */
async function refusedIn(
  query: NewlyRefusedQuery,
  history: DeploymentHistory,
): Promise<AsyncGenerator<RefusedPlace>[]> {
  const units: string[] = [];
  const prefix = `quarantine_${history.pipeline}.`;
  for await (const { stream, deleted } of query.log.streams({ prefixes: [prefix] })) {
    if (!deleted && /\.\d{4}$/.test(stream)) units.push(`steps${stream.slice(stream.indexOf("_"))}`);
  }
  return units.sort().map((unit) => placesIn(query, history, unit));
}

/** In the order of records. What was let go of has no place any more, and is passed over. */
async function* placesIn(
  { log, from, to, signal }: NewlyRefusedQuery,
  history: DeploymentHistory,
  unit: string,
): AsyncGenerator<RefusedPlace> {
  let known: { readonly event: StepsRecorded; readonly graph: StepGraph } | undefined;
  for await (const { address, place, record } of readRefused(log, history.pipeline, { unit })) {
    if (signal.aborted) throw new HeadwaterError("Stopped", "stopped while refused records were looked for");
    if (record.kind !== "quarantined") continue;
    const { n, row, stage, code, message } = record.quarantined;
    if (known === undefined || n >= known.event.first + known.event.count) {
      const recorded = await readUnlessGone(log, unit, await seekRecord(log, unit, n));
      const typed = recorded && decodeEvent(recorded);
      if (typed?.type !== "StepsRecorded" || n < typed.data.first) continue;
      known = { event: typed.data, graph: new StepGraph(typed.data) };
    }
    const { event, graph } = known;
    const { ordinal, source: origin } = graph.input(n - event.first);
    if (ordinal < from) continue;
    if (ordinal > to) return;
    const deployed = history.withIdentity(event.deployment, ordinal);
    const name = unit.slice(unit.indexOf(".") + 1, -".0000".length);
    const segment = structureOf(deployed, history.pipeline).segments.find((other) => other.name === name);
    if (segment === undefined) continue;
    const at = segment.stages.findIndex(({ definition }) => definition.name === stage);
    const given = segment.stages[at]?.input ?? SEGMENT_INPUT;
    const where = rowPlaces(graph)({ stage: given, row });
    const branch = branchInto(segment, at);
    const cut = branch !== "" && where.endsWith(branch) ? [where.slice(0, -branch.length)] : [];
    const k = given === SEGMENT_INPUT ? 0 : (place.k ?? 0);
    yield {
      ...{ ordinal, stage, address, reason: { code, message } },
      names: [where, ...cut].map((one) => `${stage} ${one}`),
      at: { stream: unit, part: givenPart(segment, stage), n, k, origin, deployed },
    };
  }
}

/** Merges what several have, each in order; what is of one ordinal comes together. */
async function* inOrder(
  all: readonly AsyncGenerator<RefusedPlace>[],
): AsyncGenerator<readonly RefusedPlace[]> {
  const heads: { readonly of: RefusedPlace; readonly from: AsyncIterator<RefusedPlace> }[] = [];
  const load = async (from: AsyncIterator<RefusedPlace>) => {
    const { done, value } = await from.next();
    if (!done) heads.push({ of: value, from });
  };
  try {
    for (const one of all) await load(one);
    while (heads.length > 0) {
      const ordinal = Math.min(...heads.map(({ of }) => of.ordinal));
      const group: RefusedPlace[] = [];
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
