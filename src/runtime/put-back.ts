import { decodeEvent } from "../core/event-codec.ts";
import { retryStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { retriedAs } from "./retry-requests.ts";
import { ordinalOfInput } from "./seek.ts";

/** Records that stages had refused, and that were put back in a window. */
export interface PutBack {
  readonly records: number;
  /** The address of the first, `retry_P@I`. */
  readonly first: string | undefined;
}

/** How many refused records partitions of a pipeline have taken back with ordinals from `from` up to and with `to`. */
export async function putBackIn(
  log: EventLog,
  pipeline: string,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<PutBack> {
  const stream = retryStream(pipeline);
  let records = 0;
  let first: string | undefined;
  if ((await log.streamInfo(stream)) === undefined) return { records, first };
  for await (const recorded of log.read(stream)) {
    const { type, data } = decodeEvent(recorded);
    // What a source takes back is a record like others from then on.
    if (type !== "RetryAsked" || !data.unit.startsWith("steps_")) continue;
    for (let item = data.first; item < data.first + data.count; item++) {
      const { n, fate } = (await retriedAs(log, pipeline, data.unit, item)) ?? {};
      if (n === undefined || fate === "withdrawn") continue;
      const ordinal = await ordinalOfInput(log, data.unit, n);
      if (ordinal < from || ordinal > to) continue;
      records++;
      first ??= `${stream}@${item}`;
    }
  }
  return { records, first };
}
