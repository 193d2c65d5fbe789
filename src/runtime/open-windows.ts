import { decodeEvent } from "../core/event-codec.ts";
import { sourceStream } from "../core/streams.ts";
import { decodeWatermarks, type Watermark } from "../core/watermark.ts";
import { isTimed } from "../pipeline/definition.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { seekThrough } from "./seek.ts";

/**
 * The stages of a plan that may have windows open, or records that wait to be joined, behind the ordinal `to` of a
 * pipeline's history: its windows and joins, unless the inputs of all sources with event time have ended by then, which
 * closes everything.
 */
export async function openWindows(
  log: EventLog,
  pipeline: string,
  { definition: { stages }, sources }: Plan,
  to: number,
): Promise<string[]> {
  const timed = stages.filter(isTimed);
  if (timed.length === 0) return [];
  for (const { name, eventTime } of sources) {
    if (eventTime === undefined) continue;
    const watermark = await watermarkAt(log, sourceStream(pipeline, name), to);
    if (watermark?.status !== "ended") return timed.map(({ name }) => name);
  }
  return [];
}

/** What a source said last of its event time, up to an ordinal. */
async function watermarkAt(log: EventLog, stream: string, to: number): Promise<Watermark | undefined> {
  const info = await log.streamInfo(stream);
  if (info === undefined) return undefined;
  // The event that is complete later may have begun before.
  const from = Math.min(info.lastRevision, ((await seekThrough(log, stream, to)) ?? info.firstRevision) + 1);
  for await (const recorded of log.read(stream, { from, direction: "backwards" })) {
    const { data } = decodeEvent(recorded);
    if (!("watermark" in data) || data.watermark === undefined) continue;
    const said = decodeWatermarks(data.watermark).findLast(({ ordinal }) => ordinal <= to);
    if (said !== undefined) return said.watermark;
  }
  return undefined;
}
