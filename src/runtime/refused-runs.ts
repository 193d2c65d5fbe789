import { decodePlain, encodePlain } from "../core/columns.ts";
import { isHeadwaterError } from "../core/errors.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { EventRange, TypedEvent } from "../core/events.ts";
import { besideStream, pipelineStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";

/**
 * Which events in quarantine events of a unit's stream referred to that are let go of: see RetentionAdvanced in
 * docs/format.md. Read when it is first asked for.
 */
export class GoneReferences {
  readonly #log: EventLog;
  readonly #pipeline: string;
  readonly #unit: string;
  #runs: readonly EventRange[] | undefined;

  constructor(log: EventLog, pipeline: string, unit: string) {
    this.#log = log;
    this.#pipeline = pipeline;
    this.#unit = unit;
  }

  async include(revision: number): Promise<boolean> {
    this.#runs ??= await this.#read();
    return this.#runs.some((run) => revision >= run.revision && revision < run.revision + run.events);
  }

  async #read(): Promise<EventRange[]> {
    const runs: EventRange[] = [];
    const stream = pipelineStream(this.#pipeline);
    if ((await this.#log.streamInfo(stream)) === undefined) return runs;
    for await (const recorded of this.#log.read(stream)) {
      const { type, data } = decodeEvent(recorded);
      if (type !== "RetentionAdvanced") continue;
      for (const { stream, refused } of data.streams) {
        if (stream !== this.#unit || refused === undefined) continue;
        const numbers = decodePlain(refused);
        for (let at = 0; at + 1 < numbers.length; at += 2) {
          runs.push({ revision: numbers[at] as number, events: numbers[at + 1] as number });
        }
      }
    }
    return runs;
  }
}

/** What the events of a source or partition from `first` up to `before` refer to in quarantine, and how far. */
export interface RefusedRuns {
  /** As RetentionAdvanced has it; `undefined`: nothing. */
  readonly refused: Uint8Array | undefined;
  /** The revision up to which they may be let go of: what an older one refers to does not say enough by itself. */
  readonly before: number;
}

export async function refusedRuns(
  log: EventLog,
  unit: string,
  first: number,
  before: number,
): Promise<RefusedRuns> {
  const nothing = { refused: undefined, before };
  const quarantine = besideStream(unit, "quarantine");
  if (!/^(?:steps|source)_/.test(unit) || (await log.streamInfo(quarantine)) === undefined) return nothing;
  const runs: { revision: number; events: number }[] = [];
  for await (const recorded of log.read(unit, { from: first, limit: before - first })) {
    if (recorded.revision >= before) break;
    const range = refusedIn(decodeEvent(recorded));
    if (range === undefined) continue;
    if (!(await saysAll(log, quarantine, range))) return { ...encoded(runs), before: recorded.revision };
    const last = runs.at(-1);
    if (last !== undefined && last.revision + last.events === range.revision) last.events += range.events;
    else runs.push({ revision: range.revision, events: range.events });
  }
  return { ...encoded(runs), before };
}

function encoded(runs: readonly EventRange[]): Pick<RefusedRuns, "refused"> {
  if (runs.length === 0) return { refused: undefined };
  return { refused: encodePlain(runs.flatMap(({ revision, events }) => [revision, events])) };
}

function refusedIn({ data }: TypedEvent): EventRange | undefined {
  if ("quarantine" in data) return data.quarantine;
  return "rejected" in data ? data.rejected : undefined;
}

/** Whether quarantined records say themselves what they came in as. */
async function saysAll(log: EventLog, stream: string, { revision, events }: EventRange): Promise<boolean> {
  try {
    for await (const recorded of log.read(stream, { from: revision, limit: events })) {
      if (recorded.type !== "RecordsQuarantined") return true;
      const { records } = decodeEventAs(recorded, "RecordsQuarantined");
      if (records.some(({ input, k }) => input === undefined || k === undefined)) return false;
    }
  } catch (error) {
    if (!isHeadwaterError(error, "StreamNotFound")) throw error;
  }
  return true;
}
