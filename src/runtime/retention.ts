import { digestInMetadata } from "../core/chain.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { StreamAdvance } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { comparePositions, type Position } from "../core/position.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { appendToPipeline } from "./pipeline-events.ts";
import { ReferredEvents } from "./referred-events.ts";
import { advanceOf, boundsOf, type KeptStream, tierOf } from "./retention-advance.ts";
import { cutOf, StreamSizes } from "./retention-cut.ts";
import { formerNeeds, leastNeeded, needsOf, type ReadersContext } from "./retention-needs.ts";
import { noteDefinedPolicy, RetentionSettings } from "./retention-policy.ts";
import { readOne } from "./seek.ts";
import { Sequencer } from "./sequencer.ts";

export interface RetentionOptions extends ReadersContext {
  readonly clock: Clock;
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
    const wanted = await this.#wanted();
    if (wanted.size === 0) return [];
    const advances = await this.#advances(wanted);
    if (advances.length === 0) return [];
    const event = { v: 1, wall: clock.now(), streams: advances } as const;
    await appendToPipeline(log, plan.definition.name, { type: "RetentionAdvanced", event }, confirm);
    for (const { stream, before } of advances) {
      await log.setMetadata(stream, { ...(await log.getMetadata(stream)), truncateBefore: before });
    }
    return advances;
  }

  /** Streams of which enough is beyond the policy, and the first revision of each that is not. */
  async #wanted(): Promise<Map<KeptStream, number>> {
    const { log, plan, clock } = this.#options;
    const { name } = plan.definition;
    const policy = this.#settings.inForce;
    const kinds = ["transit" as const, ...(Object.keys(policy) as (keyof typeof policy)[])];
    const kept: KeptStream[] = [];
    for await (const info of log.streams({ prefixes: kinds.map((kind) => `${kind}_${name}.`) })) {
      const { stream, firstRevision: first, lastRevision: last, deleted, tombstoned } = info;
      if (deleted || tombstoned || last <= first) continue;
      const tier = tierOf(stream);
      const counts = tier !== undefined && tier !== "transit" && policy[tier]?.bytes !== undefined;
      kept.push({ stream, first, last, bytes: counts ? await this.#sizes.bytesOf(info) : 0 });
    }
    const bounds = boundsOf(policy, kept, clock.now());
    const wanted = new Map<KeptStream, number>();
    for (const one of kept) {
      const of = bounds.get(one.stream);
      const cut =
        tierOf(one.stream) === "transit"
          ? one.last
          : of === undefined
            ? one.first
            : await cutOf(log, one, of);
      if (advanceOf(one, cut) !== undefined) wanted.set(one, cut);
    }
    return wanted;
  }

  async #advances(wanted: ReadonlyMap<KeptStream, number>): Promise<StreamAdvance[]> {
    const { log, clock } = this.#options;
    // What became a leaf or was taken after this has been looked at only makes more that could be let go of.
    const leaves = await Sequencer.sequencedUpTo(log, clock);
    this.#referred.refresh();
    const streams = [...wanted.keys()].map(({ stream }) => stream);
    const needed = leastNeeded([
      ...(await needsOf(this.#options, this.#referred)),
      ...(await formerNeeds(this.#options, streams)),
    ]);
    const advances: StreamAdvance[] = [];
    for (const [one, cut] of wanted) {
      if (advances.length === LIMITS.retentionStreams) break;
      let before = advanceOf(one, cut, needed.get(one.stream));
      if (before !== undefined && leaves !== undefined) {
        before = advanceOf(one, await firstAfter(log, one.stream, one.first, before, leaves));
      }
      if (before !== undefined) advances.push(await advanceTo(log, one.stream, before));
    }
    return advances;
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
  const partial = [...plan.captures.values()].some(({ level, rate }) => level === "none" || rate < 1);
  return partial || Object.keys(settings.inForce).length > 0;
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
