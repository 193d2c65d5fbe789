import { digestInMetadata } from "../core/chain.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { RETENTION_TIERS, type RetentionPolicy, type StreamAdvance } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { comparePositions, type Position } from "../core/position.ts";
import { supervisorStream } from "../core/streams.ts";
import type { Plan } from "../pipeline/plan.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { EventLog, StreamInfo } from "../ports/event-log.ts";
import type { Processes } from "../ports/processes.ts";
import { appendToPipeline } from "./pipeline-events.ts";
import { ReferredEvents } from "./referred-events.ts";
import { refusedRuns } from "./refused-runs.ts";
import {
  advanceOf,
  boundsOf,
  type KeptStream,
  type StreamBounds,
  TIER_KINDS,
  tierOf,
} from "./retention-advance.ts";
import { cutOf, StreamSizes } from "./retention-cut.ts";
import { formerNeeds, leastNeeded, needsOf, type ReadersContext } from "./retention-needs.ts";
import { noteDefinedPolicy, RetentionSettings } from "./retention-policy.ts";
import { readOne } from "./seek.ts";
import { Sequencer } from "./sequencer.ts";
import { forkAtWork } from "./supervision.ts";
import { unfinishedReplays } from "./unfinished-replays.ts";

export interface RetentionOptions extends ReadersContext {
  readonly clock: Clock;
  readonly processes: Processes;
  /** Throws `OwnershipLost` if another process supervises the pipeline now. */
  confirm(): Promise<void>;
}

/**
 * Lets go of a pipeline's history as far as its policy wants it and nobody needs it: see RetentionAdvanced in
 * docs/format.md. Of the process that supervises the pipeline.
 */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #settings: RetentionSettings;
  readonly #sizes: StreamSizes;
  readonly #referred: ReferredEvents;
  /** Replays for which nothing has to be kept any more. */
  readonly #finished = new Set<string>();

  constructor(options: RetentionOptions) {
    const { log, plan } = options;
    this.#options = options;
    this.#settings = new RetentionSettings(log, plan.definition.name);
    this.#sizes = new StreamSizes(log);
    this.#referred = new ReferredEvents(log);
  }

  /** Lets go of what can be let go of now. Answers what was. */
  async advance(): Promise<readonly StreamAdvance[]> {
    const { log, plan, clock, confirm } = this.#options;
    await this.#settings.refresh();
    this.#referred.refresh();
    const wanted = await this.#wanted();
    if (wanted.size === 0) return [];
    const { processes } = this.#options;
    const pipeline = plan.definition.name;
    if (await forkAtWork({ log, clock, processes, pipeline })) return [];
    // Whoever goes on with a replay needs what it has not come to, and all of it to compare with.
    const unfinished = await unfinishedReplays(log, pipeline, this.#finished);
    if (unfinished.some(({ until }) => clock.now() < until)) return [];
    const advances = await this.#advances(wanted);
    if (advances.length === 0) return [];
    const event = { v: 1, wall: clock.now(), streams: advances } as const;
    await appendToPipeline(log, plan.definition.name, { type: "RetentionAdvanced", event }, confirm);
    for (const { stream, before } of advances) {
      await log.setMetadata(stream, { ...(await log.getMetadata(stream)), truncateBefore: before });
    }
    return advances;
  }

  /**
   * Streams of which something is beyond the policy, and the first revision of each that is not; none, unless it is
   * enough of one of them. What goes at the same time is said in the same event.
   */
  async #wanted(): Promise<Map<KeptStream, number>> {
    const { log, plan, clock } = this.#options;
    const { name } = plan.definition;
    const policy = this.#settings.inForce;
    const kept: KeptStream[] = [];
    const begins = new Map<string, number>();
    for await (const info of streamsOf(log, name, policy)) {
      const { stream, firstRevision: first, lastRevision: last, deleted, tombstoned } = info;
      begins.set(stream, first);
      if (deleted || tombstoned || last <= first) continue;
      const tier = tierOf(stream);
      const counts = tier !== undefined && policy[tier]?.bytes !== undefined;
      kept.push({ stream, first, last, bytes: counts ? await this.#sizes.bytesOf(info) : 0 });
    }
    const bounds = boundsOf(policy, kept, clock.now());
    const wanted = new Map<KeptStream, number>();
    let due = false;
    for (const one of kept) {
      const of = bounds.get(one.stream) ?? this.#unbounded(one.stream, policy);
      const within = of === undefined ? one.first : await cutOf(log, one, of);
      const cut = Math.max(within, await this.#unreferred(one.stream, begins));
      if (advanceOf(one, cut, undefined, "along") === undefined) continue;
      wanted.set(one, cut);
      due ||= advanceOf(one, cut) !== undefined;
    }
    return due ? wanted : new Map();
  }

  /** Of who lived, and was assigned what, nobody looks at more than the last word. */
  #unbounded(stream: string, { steps }: RetentionPolicy): StreamBounds | undefined {
    const { plan, clock } = this.#options;
    if (steps !== undefined || stream !== supervisorStream(plan.definition.name)) return undefined;
    return { olderThan: clock.now() - LIMITS.supervisorKeptMs };
  }

  /** The revision below which nothing of a stream is referred to any more; in transit is what is needed, no more. */
  async #unreferred(stream: string, begins: ReadonlyMap<string, number>): Promise<number> {
    const at = stream.indexOf("_");
    const kind = stream.slice(0, at);
    if (kind === "transit") return Number.POSITIVE_INFINITY;
    if (kind !== "payload" && kind !== "effects" && kind !== "members") return 0;
    for (const owner of ["steps", "source"]) {
      const main = `${owner}${stream.slice(at)}`;
      const first = begins.get(main) ?? 0;
      if (first > 0) return this.#referred.first(main, kind, first);
    }
    return 0;
  }

  async #advances(wanted: ReadonlyMap<KeptStream, number>): Promise<StreamAdvance[]> {
    const { log, clock } = this.#options;
    // What became a leaf or was taken after this has been looked at only makes more that could be let go of.
    const leaves = await Sequencer.sequencedUpTo(log, clock);
    const streams = [...wanted.keys()].map(({ stream }) => stream);
    const needed = leastNeeded([
      ...(await needsOf(this.#options, this.#referred)),
      ...(await formerNeeds(this.#options, streams)),
    ]);
    const advances: StreamAdvance[] = [];
    let due = false;
    for (const [one, cut] of wanted) {
      if (advances.length === LIMITS.retentionStreams) break;
      let before = advanceOf(one, cut, needed.get(one.stream), "along");
      if (before !== undefined && leaves !== undefined) {
        const most = await firstAfter(log, one.stream, one.first, before, leaves);
        before = advanceOf(one, most, undefined, "along");
      }
      if (before === undefined) continue;
      const { refused, before: most } = await refusedRuns(log, one.stream, one.first, before);
      if (most <= one.first) continue;
      const advance = await advanceTo(log, one.stream, most);
      advances.push(refused === undefined ? advance : { ...advance, refused });
      due ||= advanceOf(one, most) !== undefined;
    }
    return due ? advances : [];
  }

  /** Lets go every `tickMs`, until `signal` aborts; `failed` is told what it could not be done for. */
  async follow(tickMs: number, signal: AbortSignal, failed: (error: unknown) => void): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      let pauseMs = tickMs;
      try {
        await this.advance();
      } catch (error) {
        if (
          signal.aborted ||
          isHeadwaterError(error, "LogClosed") ||
          isHeadwaterError(error, "OwnershipLost")
        ) {
          return;
        }
        if (!isHeadwaterError(error, "LogUnavailable")) failed(error);
        pauseMs = Math.max(tickMs, LIMITS.retentionAgainMs);
      }
      await sleep(clock, pauseMs, signal);
    }
  }
}

/**
 * Notes what a pipeline's definition says of its retention; answers whether anything of its history may be let go of:
 * by a policy, or because records are in transit.
 */
export async function beginRetention(
  { log, clock, plan }: Pick<RetentionOptions, "log" | "clock" | "plan">,
  confirm: () => Promise<void>,
): Promise<boolean> {
  const { name, retention } = plan.definition;
  await noteDefinedPolicy({ log, clock }, name, retention, confirm);
  const settings = new RetentionSettings(log, name);
  await settings.refresh();
  return keepsPart(plan) || Object.keys(settings.inForce).length > 0;
}

/** Whether records of a pipeline may be let go of that a sink has not got: by the policy that is to be in force, or in transit. */
export async function mayLoseRecords(log: EventLog, plan: Plan): Promise<boolean> {
  const { name, retention } = plan.definition;
  const settings = new RetentionSettings(log, name);
  await settings.refresh();
  const { payload, steps } = settings.byCommand ?? retention ?? {};
  return keepsPart(plan) || payload !== undefined || steps !== undefined;
}

/** Whether not all records are kept, so that some are in transit until they are taken. */
function keepsPart({ captures }: Plan): boolean {
  return [...captures.values()].some(({ level, rate }) => level === "none" || rate < 1);
}

/** The streams of a pipeline that may be let go of under a policy. */
async function* streamsOf(log: EventLog, name: string, policy: RetentionPolicy): AsyncGenerator<StreamInfo> {
  const tiers = RETENTION_TIERS.filter((tier) => policy[tier] !== undefined);
  const kinds = new Set(["transit", ...tiers.flatMap((tier): readonly string[] => TIER_KINDS[tier])]);
  // What steps refer to goes with them.
  if (policy.steps !== undefined) for (const kind of ["payload", "effects", "members"]) kinds.add(kind);
  kinds.delete("supervisor");
  yield* log.streams({ prefixes: [...kinds].map((kind) => `${kind}_${name}.`) });
  yield* log.streams({ stream: supervisorStream(name) });
}

/** The first revision of a stream, from `first` up to `last`, that is no leaf yet where all are up to a position. */
async function firstAfter(
  log: EventLog,
  stream: string,
  first: number,
  last: number,
  leaves: Position,
): Promise<number> {
  const isLeaf = async (revision: number) =>
    comparePositions((await readOne(log, stream, revision)).position, leaves) <= 0;
  if (last === first || (await isLeaf(last - 1))) return last;
  let low = first;
  let high = last - 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await isLeaf(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function advanceTo(log: EventLog, stream: string, before: number): Promise<StreamAdvance> {
  const digest = digestInMetadata((await readOne(log, stream, before - 1)).metadata);
  if (digest !== undefined) return { stream, before, digest };
  throw new HeadwaterError("LogDamaged", "an event's metadata does not hold its digest", {
    where: `${stream}@${before - 1}`,
    hint: 'It is not let go of: "headwater audit" says more.',
  });
}
