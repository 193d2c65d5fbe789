import { auditLog } from "../../src/app/audit.ts";
import { decodeCanonical } from "../../src/core/canonical.ts";
import { decodeEvent, decodeEventAs } from "../../src/core/event-codec.ts";
import type {
  PipelineDeployed,
  QuarantinedRecord,
  RejectedRecord,
  TypedEvent,
} from "../../src/core/events.ts";
import { decodeEffects, type EffectRow } from "../../src/engine/effect-columns.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { openLog } from "../../src/runtime/compose.ts";
import type { Workplace } from "./command.ts";
import { checkChains } from "./log-chain.ts";
import { type LogContent, readContent } from "./log-content.ts";

/**
 * Checks everything that can be checked of a log, and answers what it holds of `pipeline`.
 *
 * @param where its folder, or a connection string
 */
export async function inspectLog(where: string, pipeline: string): Promise<LogContent> {
  return withLog(where, async (log) => {
    await checkLog(log);
    return readContent(log, pipeline);
  });
}

/** Throws unless the log's chains are whole and its audits find nothing: what holds after whatever was done. */
export async function mustBeSound(where: string): Promise<void> {
  await withLog(where, checkLog);
}

/** Clears a place after a test, and throws unless all logs that are left there are sound. */
export async function clearSound(place: Workplace): Promise<void> {
  try {
    await place.end();
    for (const log of place.logs()) await mustBeSound(log);
  } finally {
    await place.clear();
  }
}

async function checkLog(log: EventLog): Promise<void> {
  await checkChains(log);
  const { checks } = await auditLog(log, { checkpoints: [] });
  const failures = checks.flatMap(({ name, failures }) =>
    failures.map(({ address, code, message }) => `${name}: ${address}: ${code}: ${message}`),
  );
  if (failures.length > 0) throw new Error(`an audit fails:\n${failures.join("\n")}`);
}

async function withLog<T>(where: string, use: (log: EventLog) => Promise<T>): Promise<T> {
  const log = await openLog(where.includes("://") ? where : `lmdb:${where}`, { readOnly: true });
  try {
    return await use(log);
  } finally {
    await log.close();
  }
}

/** How many events the log in `folder` holds. */
export async function countEvents(folder: string): Promise<number> {
  return withLog(folder, async (log) => Number((await log.size()).position.commit));
}

/** How long a sink's file is by what the log says: `of` is `pipeline.sink`. */
export async function deliveredBytes(folder: string, of: string): Promise<number> {
  const last = (await eventsOf(folder, `sink_${of}`)).findLast(({ type }) => type === "OutputsDelivered");
  return last?.type === "OutputsDelivered" ? last.data.bytes : 0;
}

/** Every deployment of `pipeline`, the first first. */
export async function deployments(folder: string, pipeline: string): Promise<PipelineDeployed[]> {
  const events = await eventsOf(folder, `pipeline_${pipeline}`);
  return events.flatMap(({ type, data }) => (type === "PipelineDeployed" ? [data] : []));
}

/** The records that a source refused: `of` is `pipeline.source`. */
export async function rejectedRecords(folder: string, of: string): Promise<RejectedRecord[]> {
  const events = await eventsOf(folder, `quarantine_${of}`);
  return events.flatMap(({ type, data }) => (type === "RecordsRejected" ? data.records : []));
}

/** The records that failed in a stage: `of` is `pipeline.segment.partition`. */
export async function quarantinedRecords(
  folder: string,
  of: string,
): Promise<(QuarantinedRecord & { readonly value: unknown })[]> {
  const events = await eventsOf(folder, `quarantine_${of}`);
  return events
    .flatMap(({ type, data }) => (type === "RecordsQuarantined" ? data.records : []))
    .map((record) => ({ ...record, value: decodeCanonical(record.record) }));
}

/** What is kept of effects in all streams, in the order in which it was written. */
export async function keptEffects(folder: string): Promise<EffectRow[]> {
  return withLog(folder, async (log) => {
    const rows: EffectRow[] = [];
    for await (const event of log.readAll()) {
      if (event.type === "EffectsRecorded")
        rows.push(...decodeEffects(decodeEventAs(event, "EffectsRecorded")));
    }
    return rows;
  });
}

async function eventsOf(folder: string, stream: string): Promise<TypedEvent[]> {
  return withLog(folder, async (log) => {
    const events: TypedEvent[] = [];
    if ((await log.streamInfo(stream)) === undefined) return events;
    for await (const event of log.read(stream)) events.push(decodeEvent(event));
    return events;
  });
}
