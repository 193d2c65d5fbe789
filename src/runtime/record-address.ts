import { type Address, looksLikeAddress, parseAddress } from "../core/address.ts";
import { decodeTexts } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { hashText, idTerm } from "../core/index-terms.ts";
import { pipelineStream, sourceStream } from "../core/streams.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import type { LineageReader } from "./lineage-reader.ts";
import type { LineageView } from "./lineage-view.ts";
import { addressOfOutput, isOutputKey } from "./output-by-key.ts";
import { readUnlessGone } from "./seek.ts";
import { addressOfDelivered } from "./sink-position.ts";

/** How a record may be named: see {@link resolveRecord}. */
type RecordName =
  | { readonly kind: "address"; readonly address: Address }
  | {
      readonly kind: "id";
      readonly pipeline: string | undefined;
      readonly source: string;
      readonly id: string;
    }
  | {
      readonly kind: "output";
      readonly pipeline: string | undefined;
      readonly sink: string;
      readonly n: number;
    }
  | {
      readonly kind: "key";
      readonly pipeline: string | undefined;
      readonly sink: string;
      readonly key: string;
    };

export interface ResolveContext {
  readonly log: EventLog;
  readonly reader: LineageReader;
  readonly signal?: AbortSignal;
  /** Finds the N of a sender's id; without it the source's stream is gone through. */
  readonly findId?: (stream: string, id: string) => Promise<number | "gone" | undefined>;
}

/**
 * The address that RECORD means: an address, `[PIPELINE/]SOURCE:ID` with the sender's own id (of several records with
 * it, the latest), `[PIPELINE/]SINK#N`, the N-th output of a sink, or `[PIPELINE/]SINK@KEY`, the one that its receiver knows
 * by this key. Without PIPELINE it is the one that has such a
 * source or sink. Throws `BadUsage` for anything else and where several pipelines have it, `UnknownPipeline`,
 * `UnknownSource`, `UnknownSink`, `RecordNotFound`, and `RecordGone`.
 */
export async function resolveRecord(context: ResolveContext, text: string): Promise<Address> {
  const name = parseRecord(text);
  if (name.kind === "address") return name.address;
  const pipeline = await pipelineOf(context, name);
  if (name.kind !== "id") {
    const { log, reader } = context;
    const query = { log, reader, pipeline, sink: name.sink };
    return name.kind === "key" ? addressOfOutput(query, name.key) : addressOfDelivered(query, name.n);
  }
  const stream = sourceStream(pipeline, name.source);
  const n = await (context.findId ?? ((of, id) => scanForId(context, of, id)))(stream, name.id);
  if (n === "gone") throw idGone(pipeline, name);
  if (n !== undefined) return { stream, n };
  throw await unknownId(context.log, stream, pipeline, name);
}

interface IdName {
  readonly source: string;
  readonly id: string;
}

function idGone(pipeline: string, { source, id }: IdName): HeadwaterError {
  return new HeadwaterError("RecordGone", "the record with this id is not kept any more", {
    where: `${pipeline}/${source}:${id}`,
    hint: "What was made of it may still be there: ask for one of its outputs.",
  });
}

async function unknownId(
  log: EventLog,
  stream: string,
  pipeline: string,
  { source, id }: IdName,
): Promise<HeadwaterError> {
  const where = `${pipeline}/${source}:${id}`;
  const first = await firstKept(log, stream);
  if (first === 0) {
    return new HeadwaterError("RecordNotFound", "the source has accepted no record with this id", {
      where,
      hint: "Ids are compared as text, as the sender gave them.",
    });
  }
  return new HeadwaterError("RecordNotFound", "no record with this id is among those that are kept", {
    where,
    hint: `The records before ${stream}@${first} are not kept any more. Ids are compared as text, as the sender gave them.`,
  });
}

/** The N of the first record of a source that its stream still has; 0 if nothing was let go of. */
async function firstKept(log: EventLog, stream: string): Promise<number> {
  if (((await log.streamInfo(stream))?.firstRevision ?? 0) === 0) return 0;
  for await (const recorded of log.read(stream, { limit: 1 })) {
    const { data } = decodeEvent(recorded);
    return "first" in data ? data.first : 0;
  }
  return 0;
}

function parseRecord(text: string): RecordName {
  if (looksLikeAddress(text)) return { kind: "address", address: parseAddress(text) };
  const output = /^(?:([a-z0-9~-]+)\/)?([a-z0-9-]+)#(\d{1,15})$/.exec(text);
  if (output !== null) {
    return { kind: "output", pipeline: output[1], sink: output[2] ?? "", n: Number(output[3]) };
  }
  const [, pipeline, sink = "", key = ""] = /^(?:([a-z0-9~-]+)\/)?([a-z0-9-]+)@(.+)$/.exec(text) ?? [];
  if (isOutputKey(key)) return { kind: "key", pipeline, sink, key };
  const id = /^(?:([a-z0-9~-]+)\/)?([a-z0-9-]+):(.+)$/s.exec(text);
  if (id !== null) return { kind: "id", pipeline: id[1], source: id[2] ?? "", id: id[3] ?? "" };
  throw new HeadwaterError("BadUsage", `not a record: ${JSON.stringify(text)}`, {
    where: "RECORD",
    hint: "Give an address (steps_orders.sums.0003@17.0), [PIPELINE/]SOURCE:ID with the sender's own id, [PIPELINE/]SINK#N for a sink's N-th output, from 0, or [PIPELINE/]SINK@KEY for that with a key.",
  });
}

/** The pipeline that is named, or else the only one that has such a source or sink. */
async function pipelineOf(
  { log, reader }: ResolveContext,
  name: Exclude<RecordName, { readonly kind: "address" }>,
): Promise<string> {
  const [kind, wanted] =
    name.kind === "id" ? (["source", name.source] as const) : (["sink", name.sink] as const);
  const has = async (pipeline: string) => {
    const history = await reader.history(pipeline);
    return history.last((each) =>
      (kind === "source" ? each.sources : each.sinks).some((it) => it.name === wanted),
    );
  };
  const unknown = (hint: string) =>
    new HeadwaterError(
      kind === "source" ? "UnknownSource" : "UnknownSink",
      `there is no ${kind} of this name`,
      {
        where: wanted,
        hint,
      },
    );
  if (name.pipeline !== undefined) {
    if ((await has(name.pipeline)) !== undefined) return name.pipeline;
    const { sources, sinks } = (await reader.history(name.pipeline)).current;
    const names = (kind === "source" ? sources : sinks).map((each) => each.name);
    throw unknown(`The pipeline ${name.pipeline} has ${names.length === 0 ? "none" : names.join(", ")}.`);
  }
  const found: string[] = [];
  for await (const { stream, deleted } of log.streams({ prefixes: [pipelineStream("")] })) {
    const pipeline = stream.slice(pipelineStream("").length);
    // A replay has its own copy of everything; it has to be named.
    if (!deleted && !pipeline.includes("~") && (await has(pipeline)) !== undefined) found.push(pipeline);
  }
  const [only] = found;
  if (only === undefined) throw unknown("No pipeline in this log has one.");
  if (found.length === 1) return only;
  throw new HeadwaterError("BadUsage", `several pipelines have a ${kind} of this name: ${found.join(", ")}`, {
    where: wanted,
    hint: `Say which one, such as ${only}/${wanted}${restOf(name)}.`,
  });
}

function restOf(name: Exclude<RecordName, { readonly kind: "address" }>): string {
  if (name.kind === "id") return `:${name.id}`;
  return name.kind === "key" ? `@${name.key}` : `#${name.n}`;
}

/**
 * The N of the latest record of a source with this id, by a view that has come to the end of the log. `gone`: the view
 * knows such a record, and the log does not have it any more.
 */
export async function latestWithId(
  log: EventLog,
  view: LineageView,
  stream: string,
  id: string,
): Promise<number | "gone" | undefined> {
  let gone = false;
  for (const place of view.find(idTerm(hashText(stream), id)).reverse()) {
    if (place.stream !== stream) continue;
    const recorded = await readUnlessGone(log, stream, place.revision);
    if (recorded === undefined) {
      gone = true;
      continue;
    }
    const n = lastWithId(recorded, id);
    if (n !== undefined) return n;
  }
  return gone ? "gone" : undefined;
}

/** The N of the last record of an event with this id. */
function lastWithId(recorded: RecordedEvent, id: string): number | undefined {
  const { type, data } = decodeEvent(recorded);
  if (type !== "RecordsAccepted" || data.ids === undefined) return undefined;
  const row = decodeTexts(data.ids, data.count).lastIndexOf(id);
  return row < 0 ? undefined : data.first + row;
}

/** The latest record of a source with this id. */
async function scanForId(
  { log, signal }: Pick<ResolveContext, "log" | "signal">,
  stream: string,
  id: string,
): Promise<number | undefined> {
  if ((await log.streamInfo(stream)) === undefined) return undefined;
  for await (const recorded of log.read(stream, { direction: "backwards", ...(signal && { signal }) })) {
    const n = lastWithId(recorded, id);
    if (n !== undefined) return n;
  }
  if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before the record was found");
  return undefined;
}
