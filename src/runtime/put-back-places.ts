import { hashText } from "../core/index-terms.ts";
import { LIMITS } from "../core/limits.ts";
import { readIndexElement } from "../core/path.ts";
import { retryStream } from "../core/streams.ts";
import type { RecordPlace } from "../engine/effect-key.ts";
import { retriedPath } from "../engine/origins.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import type { Homes } from "./homes.ts";
import { type PutBackRecord, putBackRecords } from "./put-back.ts";

export interface PutBackPlacesOptions {
  readonly log: EventLog;
  /** Of the pipeline in which they were put back. */
  readonly history: Pick<DeploymentHistory, "pipeline" | "withIdentity">;
  readonly homes: Homes;
  /** Records that are known at a time, of each part of history; LIMITS.putBackPlaces if absent. */
  readonly most?: number;
}

/** Where something is whose home a place is, if it came of a record that was put back. */
export interface PutBackPlace {
  /** Of the record that was put back, and the stage at which it came in. */
  readonly ordinal: number;
  readonly entry: string;
  readonly at: RecordPlace;
}

/** A record that was put back, as it is found by the hash of its home. */
interface Known extends Pick<PutBackRecord, "item" | "ordinal" | "stage"> {
  readonly hash: number;
  /** The ordinal of its home. */
  readonly home: number;
  /** See {@link retriedPath}. */
  readonly segmentsAfter: number;
  /** Another one with this hash. */
  next: Known | undefined;
}

/** The records whose homes have ordinals from `from` up to and with `through`, by hash. */
interface Part {
  readonly from: number;
  readonly through: number;
  readonly known: ReadonlyMap<number, Known>;
}

/** Parts of history that are kept: partitions ask at ordinals that are near to each other. */
const PARTS_KEPT = 4;

/**
 * Finds what was put back by its home: the other way round than {@link Homes}. Reads nothing until it is asked. All
 * records that were put back are gone through for each part of history; mostly that is one.
 */
export class PutBackPlaces {
  readonly #options: PutBackPlacesOptions;
  /** The last one that was read first. */
  #parts: Part[] = [];
  #reading: Promise<unknown> = Promise.resolve();

  constructor(options: PutBackPlacesOptions) {
    this.#options = options;
  }

  /**
   * Where that is whose home a place is: one for each record that was put back and has its home there, or ahead of it.
   * The last one first.
   */
  async of(ordinal: number, { root, path }: RecordPlace): Promise<readonly PutBackPlace[]> {
    const { history, homes } = this.#options;
    const { known } = await this.#partWith(ordinal);
    if (known.size === 0) return [];
    const found: { readonly item: number; readonly place: PutBackPlace }[] = [];
    let hash = hashOf(ordinal, root);
    for (let length = 0; ; length++) {
      for (let one = known.get(hash); one !== undefined; one = one.next) {
        const home = await homes.ofItem(one.item);
        if (home === "gone" || home.ordinal !== ordinal || home.address !== root) continue;
        if (home.path !== path.slice(0, length)) continue;
        const { item, ordinal: at, stage: entry, segmentsAfter } = one;
        const since = path.slice(length);
        found.push({
          item,
          place: {
            ordinal: at,
            entry,
            at: {
              root: `${retryStream(history.pipeline)}@${item}`,
              path: retriedPath(segmentsAfter, item, home.origin) + since,
            },
          },
        });
      }
      if (length === path.length) break;
      hash = hashText(path.charAt(length), hash);
    }
    return found.sort((a, b) => b.item - a.item).map(({ place }) => place);
  }

  #partWith(ordinal: number): Promise<Part> {
    const known = this.#parts.find(({ from, through }) => from <= ordinal && ordinal <= through);
    if (known !== undefined) return Promise.resolve(known);
    const reading = this.#reading.then(() => this.#readUpTo(ordinal));
    this.#reading = reading.catch(() => {});
    return reading;
  }

  async #readUpTo(ordinal: number): Promise<Part> {
    for (;;) {
      let from = 0;
      for (const part of this.#parts) {
        if (part.from <= ordinal && ordinal <= part.through) return part;
        if (part.through < ordinal) from = Math.max(from, part.through + 1);
      }
      const part = await this.#read(from);
      this.#parts = [part, ...this.#parts.slice(0, PARTS_KEPT - 1)];
    }
  }

  /** As many as have room, of those whose homes have ordinals from `from` on; all of an ordinal have room. */
  async #read(from: number): Promise<Part> {
    const { log, history, homes, most = LIMITS.putBackPlaces } = this.#options;
    let all: Known[] = [];
    let through = Number.POSITIVE_INFINITY;
    const cut = () => {
      all.sort((a, b) => a.home - b.home);
      const last = all[most - 1]?.home;
      const end = last === undefined ? -1 : all.findIndex(({ home }) => home > last);
      if (last === undefined || end < 0) return;
      all = all.slice(0, end);
      through = last;
    };
    let room = 2 * most;
    for await (const { item, ordinal, stage, path } of putBackRecords(log, history)) {
      const home = await homes.ofItem(item);
      if (home === "gone" || home.ordinal < from || home.ordinal > through) continue;
      const hash = hashText(home.path, hashOf(home.ordinal, home.address));
      const segmentsAfter = readIndexElement(path, 0).index;
      all.push({ hash, item, ordinal, stage, home: home.ordinal, segmentsAfter, next: undefined });
      if (all.length < room) continue;
      cut();
      room = all.length + most;
    }
    if (all.length > most) cut();
    const known = new Map<number, Known>();
    for (const one of all) {
      one.next = known.get(one.hash);
      known.set(one.hash, one);
    }
    return { from, through, known };
  }
}

/** A home's hash goes on from this with its path, so that all beginnings of a path are tried by going through it once. */
function hashOf(ordinal: number, root: string): number {
  return hashText(`${ordinal} ${root} `);
}
