import type { WorkerInput } from "../../actors/worker.ts";
import { sha256 } from "../core/digest.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { Cursors, EffectRange, EventRange, SnapshotReference, StageColumns } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { encodeWatermarks, lastWatermark, type WatermarkStep } from "../core/watermark.ts";
import type { EncodedSteps, StepColumns } from "../engine/steps-encoder.ts";
import { currentCursors } from "./deployed-cursors.ts";
import type { HostContext } from "./host-context.ts";
import type { MergedBatch } from "./merge-reader.ts";
import { payloadDrafts, quarantineDrafts } from "./payload.ts";
import { type Draft, StreamTail } from "./stream-tail.ts";
import { chunkDrafts, UnitLog } from "./unit-log.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** What a partition has come to, as its last event says. */
export interface PartitionPlace {
  readonly epoch: number;
  readonly next: number;
  readonly cursors: Cursors;
  readonly through: number;
  /** The last step of the watermark that was worked off. */
  readonly watermark: WatermarkStep | undefined;
  readonly snapshot: SnapshotReference | undefined;
  /** Where results of effects begin that belong to the next input, or one after it; `undefined`: there were none. */
  readonly effectsFrom: number | undefined;
}

/** How far a batch has come. */
export type Progress = Pick<MergedBatch, "cursors" | "through" | "steps">;

/** A state as it is kept, and the N of the first input that it does not know. */
export interface TakenSnapshot {
  readonly bytes: Uint8Array;
  readonly next: number;
}

/** What one event of a partition records. */
export interface PartitionRecord {
  readonly at: Progress;
  /** `undefined`: nothing was taken, and only the promise, the watermark or the snapshot moves. */
  readonly steps: EncodedSteps | undefined;
  readonly snapshot: TakenSnapshot | undefined;
  /** Results of the effects of what was taken; `undefined`: there were none. */
  readonly effects: EffectRange | undefined;
}

export interface HeadOptions {
  readonly context: HostContext;
  readonly stream: string;
  readonly order: WorkerInput;
  readonly upstreams: readonly UpstreamSelection[];
  /** Aborts when the partition is let go of: nothing is claimed any more. */
  readonly signal: AbortSignal;
}

/**
 * The end of a partition's stream, where its owner alone appends. Each event says where the next owner goes on; what
 * is not appended is not there.
 */
export class PartitionHead {
  readonly #options: HeadOptions;
  readonly log: UnitLog;
  #place: PartitionPlace;

  private constructor(options: HeadOptions, log: UnitLog, place: PartitionPlace) {
    this.#options = options;
    this.log = log;
    this.#place = place;
  }

  /**
   * Appends the claim. From here on whoever owned the partition before can append nothing more. What a former owner
   * had on its way may come to the log between the look at its end and the claim: then this one looks again.
   *
   * @throws HeadwaterError OwnershipLost: somebody else has claimed it; Stopped: `signal` has aborted.
   */
  static async claim(options: HeadOptions): Promise<PartitionHead> {
    for (let attempt = 1; ; attempt++) {
      const head = await PartitionHead.#atEnd(options);
      try {
        await head.#claim();
        return head;
      } catch (error) {
        const lost = isHeadwaterError(error, "OwnershipLost");
        if (!lost || attempt === LIMITS.claimAttempts || !(await head.#isBehindFormerOwner())) throw error;
      }
    }
  }

  static async #atEnd(options: HeadOptions): Promise<PartitionHead> {
    const { context, stream, upstreams } = options;
    const log = await UnitLog.open(context.log, stream);
    const place = placeOf(log, context.deployedFrom);
    const cursors = await currentCursors(context, upstreams, place.cursors);
    return new PartitionHead(options, log, { ...place, cursors, epoch: place.epoch + 1 });
  }

  get place(): PartitionPlace {
    return this.#place;
  }

  get stream(): string {
    return this.#options.stream;
  }

  /** Whether what stands at the stream's end now is of an owner before this one: its claim, or its steps. */
  async #isBehindFormerOwner(): Promise<boolean> {
    const { context, order } = this.#options;
    const { last } = await StreamTail.open(context.log, this.stream);
    if (last?.type === "PartitionClaimed") return last.data.assignment < order.assignment;
    return last?.type === "StepsRecorded" && last.data.epoch < this.#place.epoch;
  }

  async #claim(): Promise<void> {
    const { context, order, signal } = this.#options;
    const { clock, deployment, process, probe } = context;
    const { cursors, epoch, next, snapshot, through, watermark, effectsFrom } = this.#place;
    await probe?.("claim:before");
    // The end of the stream may be a successor's claim already, which this one would fence off.
    if (signal.aborted) {
      throw new HeadwaterError("Stopped", "let go of before the claim", { where: this.stream });
    }
    await this.log.append("PartitionClaimed", () => ({
      v: 2,
      wall: clock.now(),
      epoch,
      node: order.node,
      process,
      assignment: order.assignment,
      deployment,
      first: next,
      through,
      cursors,
      ...(watermark !== undefined && { watermark: encodeWatermarks([watermark]) }),
      ...(snapshot !== undefined && { snapshot }),
      ...(effectsFrom !== undefined && { effects: { revision: effectsFrom, events: 0 } }),
    }));
    await probe?.("claim:after");
  }

  /** Appends one event, with what it refers to, and goes on behind it. */
  async append({ at, steps, snapshot, effects }: PartitionRecord): Promise<void> {
    const { clock, deployment, probe } = this.#options.context;
    const place = this.#place;
    const wall = clock.now();
    const count = steps?.inputs ?? 0;
    // The step in force comes first, so that whoever begins to read here knows it.
    const watermarks = [...(place.watermark === undefined ? [] : [place.watermark]), ...at.steps];
    const state: Draft[] = snapshot === undefined ? [] : chunkDrafts("SnapshotChunk", snapshot.bytes, wall);
    let reference = place.snapshot;
    await this.log.append(
      "StepsRecorded",
      (places) => {
        if (snapshot !== undefined && places.state !== undefined) {
          const { revision, events: chunks } = places.state;
          reference = { revision, chunks, digest: sha256(snapshot.bytes), next: snapshot.next };
        }
        return {
          v: 2,
          wall,
          epoch: place.epoch,
          node: this.#options.order.node,
          deployment,
          scheme: 1,
          first: place.next,
          count,
          through: at.through,
          from: place.cursors,
          to: at.cursors,
          ...(watermarks.length > 0 && { watermark: encodeWatermarks(watermarks) }),
          ...steps?.columns,
          ...(places.members !== undefined && membersAt(steps?.columns.stages, places.members)),
          ...(places.payload !== undefined && { payload: places.payload }),
          ...(places.transit !== undefined && { transit: places.transit }),
          ...(places.quarantine !== undefined && { quarantine: places.quarantine }),
          ...(reference !== undefined && { snapshot: reference }),
          ...(effects !== undefined && { effects }),
        };
      },
      {
        payload: steps === undefined ? [] : payloadDrafts(steps.payload, wall),
        transit: steps === undefined ? [] : payloadDrafts(steps.transit, wall),
        quarantine: steps === undefined ? [] : quarantineDrafts(steps.quarantined, wall),
        state,
        members:
          steps === undefined || steps.members.length === 0
            ? []
            : chunkDrafts("MembersNamed", steps.members, wall),
      },
      probe && ((point) => probe(`${snapshot === undefined ? "steps" : "snapshot"}:${point}`)),
    );
    this.#place = {
      ...place,
      next: place.next + count,
      cursors: at.cursors,
      through: at.through,
      watermark: at.steps.at(-1) ?? place.watermark,
      snapshot: reference,
      effectsFrom: effectsAfter(effects),
    };
  }
}

/** Where the range behind one begins. */
function effectsAfter(effects: EffectRange | undefined): number | undefined {
  return effects && (effects.next ?? effects.revision + effects.events);
}

/** The stages of a step event, of which the first refers to its members. */
function membersAt(
  stages: readonly StageColumns[] | undefined,
  membersIn: EventRange,
): Pick<StepColumns, "stages"> {
  const [first, ...others] = stages ?? [];
  return first === undefined ? {} : { stages: [{ ...first, membersIn }, ...others] };
}

/**
 * Where a partition goes on, with the cursors that it had: none if it has no history. What came before it was for
 * deployments that did not have it. Its first claim says so, because whoever replays its history later, when another
 * deployment runs, has to begin with the same step of the watermark.
 */
function placeOf(log: UnitLog, deployedFrom: number): PartitionPlace {
  const { last } = log.main;
  switch (last?.type) {
    case undefined:
      return {
        epoch: 0,
        next: 0,
        cursors: {},
        through: Math.max(THROUGH_NOTHING, deployedFrom - 1),
        watermark: undefined,
        snapshot: undefined,
        effectsFrom: undefined,
      };
    case "PartitionClaimed": {
      const { epoch, first, cursors, through, snapshot, effects } = last.data;
      return {
        epoch,
        next: first,
        cursors,
        through,
        watermark: lastWatermark(last.data.watermark),
        snapshot,
        effectsFrom: effectsAfter(effects),
      };
    }
    case "StepsRecorded": {
      const { epoch, first, count, to, through, snapshot, effects } = last.data;
      const watermark = lastWatermark(last.data.watermark);
      const effectsFrom = effectsAfter(effects);
      return { epoch, next: first + count, cursors: to, through, watermark, snapshot, effectsFrom };
    }
    default:
      throw new HeadwaterError("LogDamaged", `a partition's stream ends in ${last?.type}`, {
        where: log.main.stream,
      });
  }
}
