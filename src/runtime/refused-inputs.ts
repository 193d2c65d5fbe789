import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { EventRange, StepsRecorded } from "../core/events.ts";
import { besideStream } from "../core/streams.ts";
import type { RefusedInput } from "../engine/watch.ts";
import type { EventLog } from "../ports/event-log.ts";
import { seekRecord } from "./seek.ts";

/**
 * The inputs of the partition `stream`, from the one after a snapshot on, at which a stage was not called because it
 * had ended the thread that called it, or because the record was given up: whoever runs these inputs again must not call it either. Looks at events up to
 * the ordinal `upTo`, if it is given. Reads in proportion to what came since the snapshot, if anything was
 * quarantined at all.
 */
export async function refusedBefore(
  log: EventLog,
  stream: string,
  { snapshot }: { readonly snapshot?: { readonly next: number } | undefined },
  upTo = Number.MAX_SAFE_INTEGER,
): Promise<readonly RefusedInput[]> {
  if ((await log.streamInfo(besideStream(stream, "quarantine"))) === undefined) return [];
  const next = snapshot?.next ?? 0;
  const refused: RefusedInput[] = [];
  for await (const recorded of log.read(stream, { from: await seekRecord(log, stream, next) })) {
    const event = decodeEvent(recorded);
    if (event.type !== "StepsRecorded") continue;
    if (event.data.quarantine !== undefined) {
      const records = await lostIn(log, stream, event.data.quarantine);
      refused.push(...records.filter(({ n }) => n >= next));
    }
    if (event.data.through >= upTo) break;
  }
  return refused;
}

/** {@link refusedBefore}, of the inputs of one event. */
export async function refusedIn(
  log: EventLog,
  stream: string,
  { quarantine }: Pick<StepsRecorded, "quarantine">,
): Promise<readonly RefusedInput[]> {
  return quarantine === undefined ? [] : lostIn(log, stream, quarantine);
}

/** Such an input is alone in its event, so that its row there is its place among the rows of the input. */
async function lostIn(
  log: EventLog,
  stream: string,
  { revision, events }: EventRange,
): Promise<RefusedInput[]> {
  const refused: RefusedInput[] = [];
  const range = { from: revision, limit: events };
  for await (const recorded of log.read(besideStream(stream, "quarantine"), range)) {
    for (const { code, n, stage, row, message } of decodeEventAs(recorded, "RecordsQuarantined").records) {
      if (code === "NodeLost" || code === "Withdrawn") refused.push({ n, stage, row, message, code });
    }
  }
  return refused;
}
