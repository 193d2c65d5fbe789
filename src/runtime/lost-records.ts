import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { RecordsAccepted } from "../core/events.ts";
import { NumberSet } from "../core/number-set.ts";
import { besideStream, sourceStream } from "../core/streams.ts";
import { acceptedRows } from "../engine/outlet-decoder.ts";
import type { EventLog } from "../ports/event-log.ts";
import { readOne, seekRecord } from "./seek.ts";
import { firstFromOrdinal } from "./seek-time.ts";

/** Records that a source has accepted in a window and that are not kept any more. */
export interface LostOfSource {
  /** The N's of those from {@link LostRecords.begin} on. */
  readonly ns: NumberSet;
  /** The ordinal of the first of these; `undefined`: there is none. */
  readonly since: number | undefined;
}

/** Records of a window that were let go of, by retention or because only a sample of them is kept. */
export interface LostRecords {
  /** How many, and the address of the first. */
  readonly records: number;
  readonly first: string | undefined;
  /** From here on all sources have records that are kept: before it one has none. The window's beginning if all have. */
  readonly begin: number;
  readonly sources: ReadonlyMap<string, LostOfSource>;
}

interface LostQuery {
  readonly log: EventLog;
  readonly pipeline: string;
  readonly sources: Iterable<string>;
  readonly from: number;
  readonly to: number;
  /** Where what is run has begun: {@link LostRecords.begin}, if that is not to be found. */
  readonly begun?: number;
  readonly signal: AbortSignal;
}

/** Finds what is not kept any more of a window's records. Reads the sources' events where something was let go of. */
export async function lostRecords(query: LostQuery): Promise<LostRecords> {
  const { pipeline, from, begun } = query;
  let records = 0;
  let begin = from;
  let first: { readonly address: string; readonly ordinal: number } | undefined;
  const lists = new Map<string, LostEvent[]>();
  for (const source of query.sources) {
    const stream = sourceStream(pipeline, source);
    const lost: LostEvent[] = [];
    for await (const event of lostIn(query, stream)) {
      lost.push(event);
      records += event.lost.length + event.missing;
    }
    const [earliest] = lost;
    if (earliest !== undefined && (first === undefined || earliest.ordinal < first.ordinal)) {
      first = { address: `${stream}@${earliest.first}`, ordinal: earliest.ordinal };
    }
    begin = begun ?? Math.max(begin, endOfPrefix(lost, from));
    lists.set(source, lost);
  }
  const sources = new Map<string, LostOfSource>();
  for (const [source, lost] of lists) {
    const ns = new NumberSet();
    let since: number | undefined;
    for (const event of lost) {
      for (const [at, row] of event.lost.entries()) {
        const ordinal = event.ordinals[at] as number;
        if (ordinal < begin) continue;
        since ??= ordinal;
        ns.add(row);
      }
    }
    sources.set(source, { ns, since });
  }
  return { records, first: first?.address, begin, sources };
}

interface LostEvent {
  readonly first: number;
  /** Of its first lost record. */
  readonly ordinal: number;
  /** N's of lost records, and their ordinals. */
  readonly lost: readonly number[];
  readonly ordinals: readonly number[];
  /** Records whose events are gone, too, of which the N is not in `lost`. */
  readonly missing: number;
  /** Whether nothing of it is kept, and nothing before it in the window. */
  readonly prefix: boolean;
  readonly last: number;
}

/** The ordinal after the events at the beginning of which nothing is kept. */
function endOfPrefix(lost: readonly LostEvent[], from: number): number {
  let end = from;
  for (const event of lost) {
    if (!event.prefix) break;
    end = Math.max(end, event.last + 1);
  }
  return end;
}

async function* lostIn({ log, from, to, signal }: LostQuery, stream: string): AsyncGenerator<LostEvent> {
  const info = await log.streamInfo(stream);
  if (info === undefined) return;
  const kept = await keptFrom(log, stream);
  const nothingGone = kept.payload === 0 && kept.transit === 0 && info.firstRevision === 0;
  if (nothingGone) return;
  const goneBefore = await goneAtBeginning(log, stream, info.firstRevision, from);
  if (goneBefore !== undefined) yield goneBefore;
  const begin = await firstFromOrdinal(log, stream, from);
  if (begin === undefined) return;
  let prefix = true;
  for await (const recorded of log.read(stream, { from: await seekRecord(log, stream, begin.n) })) {
    if (signal.aborted) throw new HeadwaterError("Stopped", "stopped while what is kept was looked for");
    const { type, data } = decodeEvent(recorded);
    if (type !== "RecordsAccepted" || data.count === 0) continue;
    const ordinals = decodeDeltas(data.ordinals ?? new Uint8Array(0), data.count);
    if ((ordinals[0] ?? 0) > to) return;
    const isKept = keptRows(data, kept);
    const lost = [...ordinals.keys()].filter((row) => {
      const ordinal = ordinals[row] as number;
      return from <= ordinal && ordinal <= to && !isKept(row);
    });
    prefix &&= lost.length === ordinals.filter((ordinal) => from <= ordinal && ordinal <= to).length;
    const at = lost.map((row) => ordinals[row] as number);
    if (lost.length === 0) continue;
    yield {
      ...{
        first: data.first + (lost[0] as number),
        missing: 0,
        prefix,
        ordinal: at[0] as number,
        ordinals: at,
      },
      ...{ lost: lost.map((row) => data.first + row), last: at.at(-1) as number },
    };
  }
}

/**
 * The part of a window whose records' events are gone, too, as the first one that is left tells it. Where the window does
 * not begin with the history it is not known how many they were: then the last of them stands for all.
 */
async function goneAtBeginning(
  log: EventLog,
  stream: string,
  revision: number,
  from: number,
): Promise<LostEvent | undefined> {
  if (revision === 0) return undefined;
  const { data } = decodeEvent(await readOne(log, stream, revision));
  if (!("first" in data) || !("through" in data) || data.first === 0) return undefined;
  const ordinals = "ordinals" in data && data.ordinals !== undefined ? decodeDeltas(data.ordinals) : [];
  const last = ordinals[0] === undefined ? data.through : ordinals[0] - 1;
  if (last < from) return undefined;
  const missing = from === 0 ? data.first : 1;
  return { first: data.first - missing, missing, prefix: true, ordinal: from, lost: [], ordinals: [], last };
}

/** From which revision on the records beside a stream are kept. */
interface KeptFrom {
  readonly payload: number;
  readonly transit: number;
}

async function keptFrom(log: EventLog, stream: string): Promise<KeptFrom> {
  const first = async (beside: "payload" | "transit") => {
    const info = await log.streamInfo(besideStream(stream, beside));
    return info === undefined ? 0 : info.firstRevision;
  };
  return { payload: await first("payload"), transit: await first("transit") };
}

function keptRows(event: RecordsAccepted, kept: KeptFrom): (row: number) => boolean {
  const { payload, transit } = acceptedRows(event);
  const inPayload = payload && new Set(payload);
  const passing = new Set(transit);
  const payloadKept = event.payload === undefined || event.payload.revision >= kept.payload;
  const transitKept = event.transit === undefined || event.transit.revision >= kept.transit;
  return (row) => {
    if (passing.has(row)) return transitKept;
    return payloadKept && (inPayload === undefined || inPayload.has(row));
  };
}
