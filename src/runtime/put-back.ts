import { decodeByteTexts, decodeDeltas } from "../core/columns.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { StepsRecorded, TypedEvent } from "../core/events.ts";
import type { Path } from "../core/path.ts";
import { besideStream, retryStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import type { Homes } from "./homes.ts";
import { stagesOf } from "./lineage-places.ts";
import { readUnlessGone, seekLast } from "./seek.ts";

/** A record that a stage had refused, and that its partition has taken back. */
export interface PutBackRecord {
  /** Its I: it is `retry_P@I`. */
  readonly item: number;
  readonly ordinal: number;
  /** The stage at which it came in. */
  readonly stage: string;
  /** The one that it came in with. */
  readonly path: Path;
  /** Whether that stage took it; else it was refused again. */
  readonly wentOn: boolean;
}

/** Ordinals from `from` up to and with `to`. */
export interface OrdinalRange {
  readonly from: number;
  readonly to: number;
}

/** What was put back in a window. */
export interface PutBackIn {
  /** Records that stages had refused in the window, and that came back in it. */
  readonly records: number;
  /** The address of the first, `retry_P@I`. */
  readonly first: string | undefined;
  /** Records that came back in the window, and had been refused before it. */
  readonly earlier: number;
  /** Where all that came back in the window is, and what partitions further down made of it. */
  readonly ranges: readonly OrdinalRange[];
}

/** Ordinals between two ranges that are so close that it costs less to read on. */
const CLOSE = 4_096;

/** What partitions of a pipeline have taken back with ordinals of a window. */
export async function putBackIn(
  log: EventLog,
  history: Pick<DeploymentHistory, "pipeline" | "withIdentity">,
  homes: Homes,
  window: OrdinalRange,
): Promise<PutBackIn> {
  let records = 0;
  let earlier = 0;
  let first: number | undefined;
  const ordinals = new Set<number>();
  for await (const { item, ordinal } of putBackRecords(log, history)) {
    if (!within(window, ordinal)) continue;
    ordinals.add(ordinal);
    const home = await homes.ofItem(item);
    if (home === "gone" || home.ordinal < window.from) earlier++;
    else {
      records++;
      first = Math.min(first ?? item, item);
    }
  }
  return {
    records,
    first: first === undefined ? undefined : `${retryStream(history.pipeline)}@${first}`,
    earlier,
    ranges: rangesOf([...ordinals].sort((a, b) => a - b)),
  };
}

export function within({ from, to }: OrdinalRange, ordinal: number): boolean {
  return from <= ordinal && ordinal <= to;
}

function rangesOf(ordinals: readonly number[]): OrdinalRange[] {
  const ranges: { from: number; to: number }[] = [];
  for (const ordinal of ordinals) {
    const last = ranges.at(-1);
    if (last !== undefined && ordinal - last.to <= CLOSE) last.to = ordinal;
    else ranges.push({ from: ordinal, to: ordinal });
  }
  return ranges;
}

/**
 * The records that stages had refused and that partitions have taken back, event by event. Reads what was asked for, and
 * the events that took it, alone; what was let go of of these is passed over, as is what was given up.
 */
export async function* putBackRecords(
  log: EventLog,
  history: Pick<DeploymentHistory, "pipeline" | "withIdentity">,
): AsyncGenerator<PutBackRecord> {
  const retries = retryStream(history.pipeline);
  if ((await log.streamInfo(retries)) === undefined) return;
  /** Of each partition, below which I all is told. */
  const told = new Map<string, number>();
  for await (const recorded of log.read(retries)) {
    const { type, data } = decodeEvent(recorded);
    // What a source takes back is a record like others from then on.
    if (type !== "RetryAsked" || !data.unit.startsWith("steps_")) continue;
    const { unit, first, count } = data;
    for (let item = Math.max(first, told.get(unit) ?? 0); item < first + count; ) {
      const taken = await takenIn(log, retries, unit, item);
      if (taken === undefined) break;
      if (taken.event !== undefined) yield* recordsIn(log, history, unit, taken.event);
      item = Math.max(item + 1, taken.through);
      told.set(unit, item);
    }
  }
}

/**
 * The event with which a partition took the I = `item`, and below which I everything is taken with it. Without the event
 * where that was let go of; `undefined`: it is not taken yet.
 */
async function takenIn(
  log: EventLog,
  retries: string,
  unit: string,
  item: number,
): Promise<{ readonly event: StepsRecorded | undefined; readonly through: number } | undefined> {
  const info = await log.streamInfo(unit);
  if (info === undefined) return undefined;
  const before = (await seekLast(log, unit, ({ data }) => takenBelow(retries, data) <= item)) ?? 0;
  // Where the first that is left has taken it already, that is what is found.
  for (const revision of [before, before + 1]) {
    const recorded = revision > info.lastRevision ? undefined : await readUnlessGone(log, unit, revision);
    const typed = recorded && decodeEvent(recorded);
    const through = typed === undefined ? 0 : takenBelow(retries, typed.data);
    if (typed === undefined || through <= item) continue;
    const took = typed.type === "StepsRecorded" && (typed.data.from[retries] ?? 0) <= item;
    return { event: took && typed.data.entry !== undefined ? typed.data : undefined, through };
  }
  return undefined;
}

function takenBelow(retries: string, data: TypedEvent["data"]): number {
  if ("to" in data && typeof data.to === "object") return data.to[retries] ?? 0;
  return "cursors" in data ? (data.cursors[retries] ?? 0) : 0;
}

async function* recordsIn(
  log: EventLog,
  history: Pick<DeploymentHistory, "pipeline" | "withIdentity">,
  unit: string,
  event: StepsRecorded,
): AsyncGenerator<PutBackRecord> {
  const { entry: stage = "", count, deployment, through, parents, ordinals, paths } = event;
  if (await isWithdrawn(log, unit, event)) return;
  const segment = unit.slice(`steps_${history.pipeline}.`.length, -".0000".length);
  const at = stagesOf(history.withIdentity(deployment, through), segment).findIndex(
    ({ name }) => name === stage,
  );
  const failed = at < 0 ? undefined : event.stages?.[at]?.failed;
  const again = new Set(failed && decodeDeltas(failed));
  const items = decodeDeltas(parents ?? new Uint8Array(0), count);
  const placed = decodeDeltas(ordinals ?? new Uint8Array(0), count);
  const came = decodeByteTexts(paths ?? new Uint8Array(0), count);
  for (const [row, item] of items.entries()) {
    const wentOn = at >= 0 && !again.has(row);
    yield { item, ordinal: placed[row] ?? 0, stage, path: came[row] ?? "", wentOn };
  }
}

/** Whether the one record of an event was given up before it was taken. */
async function isWithdrawn(log: EventLog, unit: string, event: StepsRecorded): Promise<boolean> {
  const { count, quarantine } = event;
  if (count !== 1 || quarantine === undefined) return false;
  const recorded = await readUnlessGone(log, besideStream(unit, "quarantine"), quarantine.revision);
  return (
    recorded !== undefined && decodeEventAs(recorded, "RecordsQuarantined").records[0]?.code === "Withdrawn"
  );
}
