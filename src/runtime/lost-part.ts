import { isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { OutputsDelivered, OutputsPrepared } from "../core/events.ts";
import { sinkStream } from "../core/streams.ts";
import { deploymentsOf } from "./deployment-history.ts";
import type { HostContext } from "./host-context.ts";
import { recordedOutputs } from "./recorded-outputs.ts";
import type { SinkHistory, SinkPlace } from "./sink-history.ts";
import { type MissingOutput, type SinkTarget, toJson } from "./sink-target.ts";
import { isUnreadable } from "./unreadable.ts";

type LostContext = Pick<HostContext, "log" | "clock" | "plan" | "decode" | "probe">;

/**
 * Looks for the last file of a target that has several. Where it is gone, and may not have been complete, it is written
 * again, of what the log has of its records. `undefined`: it is there, or complete.
 */
export async function restoreLost(
  context: LostContext,
  sink: string,
  target: SinkTarget,
  { place, last, pending }: SinkHistory,
  confirm: () => Promise<void>,
  signal: AbortSignal,
): Promise<MissingOutput | undefined> {
  const file = await target.missing?.(place, pending?.preparation);
  if (file === undefined) return undefined;
  const lost = await beginningOf(context, sink, target, place);
  const lines = lost && linesOf(context, sink, lost, place.next, signal);
  const rewritten = lines !== undefined && (await target.rewrite?.(place, last, lines, confirm)) === true;
  return { file, bytes: place.bytes, rewritten };
}

/** The batch with which a file was begun. What of the batch came before is in other files. */
interface Beginning {
  readonly prepared: OutputsPrepared;
  /** Bytes of the file after the batch. */
  readonly bytes: number;
}

/** `undefined`: the log does not have it any more. */
async function beginningOf(
  { log, plan }: LostContext,
  sink: string,
  target: SinkTarget,
  { part }: SinkPlace,
): Promise<Beginning | undefined> {
  if (part === undefined || plan.fork !== undefined) return undefined;
  let delivered: OutputsDelivered | undefined;
  for await (const recorded of log.read(sinkStream(plan.definition.name, sink), { direction: "backwards" })) {
    const { type, data } = decodeEvent(recorded);
    if (!("target" in data) || data.target !== target.id) continue;
    if (type === "SinkOpened") return undefined;
    if (type === "OutputsDelivered") delivered = data;
    if (type !== "OutputsPrepared" || !data.parts?.includes(part)) continue;
    // One after which nothing was delivered is none of these.
    if (delivered?.first === data.first) return { prepared: data, bytes: delivered.bytes };
  }
  return undefined;
}

/** The lines of a file, from its beginning up to the record `#end`; fewer where not all of them are kept. */
async function* linesOf(
  { log, clock, plan, decode, probe }: LostContext,
  sink: string,
  { prepared, bytes }: Beginning,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<readonly string[]> {
  const pipeline = plan.definition.name;
  const all = await deploymentsOf(log, pipeline);
  const outputs = recordedOutputs({
    ...{ log, clock, signal },
    history: { pipeline, all, after: ({ version }) => all.find((other) => other.version > version) },
    of: { sink },
    from: prepared.through + 1,
    to: Number.MAX_SAFE_INTEGER,
    begin: prepared.from,
  });
  let left = end - prepared.first;
  const batch: string[] = [];
  try {
    for await (const { rows } of outputs) {
      const lines: string[] = [];
      for (let row = 0; row < rows.count && left > 0; row++, left--) {
        const buffer = rows.buffers[row];
        if (buffer === undefined || rows.digested?.has(row)) return;
        const line = `${toJson(decode(buffer, rows.starts[row] ?? 0, rows.ends[row] ?? 0))}\n`;
        if (batch.length === prepared.count) lines.push(line);
        else {
          batch.push(line);
          if (batch.length === prepared.count) lines.push(...endOf(batch, bytes));
        }
      }
      await probe?.("rewrite:between");
      yield lines;
      if (left === 0) {
        await probe?.("rewrite:after");
        return;
      }
    }
  } catch (error) {
    // What is not all there is not what the file had.
    if (!isHeadwaterError(error, "RecordGone") && !isUnreadable(error)) throw error;
  }
}

/** The last of `lines`, of so many bytes together. */
function endOf(lines: readonly string[], bytes: number): readonly string[] {
  let left = bytes;
  let first = lines.length;
  while (first > 0 && left > 0) left -= Buffer.byteLength(lines[--first] as string);
  return left === 0 ? lines.slice(first) : [];
}
