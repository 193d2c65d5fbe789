import type { Address } from "../core/address.ts";
import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { StepsRecorded } from "../core/events.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { isRetryStream } from "../core/streams.ts";
import { originNamed, RETRIED_NAME } from "../engine/origins.ts";
import { StepGraph, type StepRow } from "../engine/step-graph.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import { retriedAs } from "./retry-requests.ts";
import { upstreamsOfSink } from "./routes.ts";
import { placesIn, type RowPlace } from "./row-places.ts";
import { ordinalOfInput, readUnlessGone, seekRecord, seekThrough } from "./seek.ts";
import type { SinkQuery } from "./sink-rows.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** A key as a sink's receiver knows it: the address of the record's root, and behind `~` its path in hexadecimal digits. */
const KEY = /^((?:source|firing|retry)_[^@\s~]+(?:~[^@\s~]+)?)@(\d{1,15})(?:~((?:[0-9a-f]{2})+))?$/;

export function isOutputKey(text: string): boolean {
  return KEY.test(text);
}

/**
 * The address of the output of a sink that has a key, whether it was delivered or not: it is looked for at its place in
 * logical order. Throws `RecordNotFound`, and `RecordGone` where what would tell its place was let go of.
 */
export async function addressOfOutput(query: SinkQuery, key: string): Promise<Address> {
  const { log, reader, pipeline, sink } = query;
  const [, stream = "", digits, hex = ""] = KEY.exec(key) ?? [];
  const n = Number(digits);
  const ordinal = await ordinalOfRoot(query, stream, n);
  const history = await reader.history(pipeline);
  const plan = structureOf(history.at(ordinal), pipeline);
  // A replay has the roots of its pipeline.
  const [, of] = /^[a-z]+_([^.]*)/.exec(stream) ?? [];
  const planned = of === plan.definition.name ? plan.sinks.find(({ name }) => name === sink) : undefined;
  const path = Buffer.from(hex, "hex").toString("latin1");
  const origin = isRetryStream(stream) ? RETRIED_NAME : originNamed(`${stream}@${n}`, path);
  for (const selection of planned === undefined ? [] : upstreamsOfSink(plan, planned.upstream, false)) {
    if (selection.stream.startsWith("source_")) {
      if (selection.stream === stream && path === selection.branch) return { stream, n };
      continue;
    }
    const found = await outputAt(log, selection, { ordinal, origin, root: n, path });
    if (found === undefined) continue;
    const { stage, ...address } = found;
    if (!("results" in selection.from)) return address;
    const segment = plan.segments.find(({ name }) => selection.stream.split(".")[1] === name);
    return { ...address, stage: segment?.stages[stage]?.definition.name ?? "" };
  }
  throw new HeadwaterError("RecordNotFound", "the sink has no output with this key", {
    where: `${pipeline}/${sink}@${key}`,
    hint: "Keys are those that receivers get, and that the differences of a replay name.",
  });
}

/** The ordinal of what descends from a root. */
async function ordinalOfRoot({ log, pipeline, sink }: SinkQuery, stream: string, n: number): Promise<number> {
  if (stream.startsWith("firing_")) return n;
  const retried = isRetryStream(stream);
  const ordinal = retried ? await ordinalOfRetry(log, stream, n) : await ordinalOfAccepted(log, stream, n);
  if (ordinal !== undefined) return ordinal;
  const gone = ((await log.streamInfo(stream))?.firstRevision ?? 0) > 0;
  throw new HeadwaterError(
    gone ? "RecordGone" : "RecordNotFound",
    "the log does not have what it came from",
    {
      where: `${pipeline}/${sink}@${stream}@${n}`,
    },
  );
}

async function ordinalOfAccepted(log: EventLog, stream: string, n: number): Promise<number | undefined> {
  if ((await log.streamInfo(stream)) === undefined) return undefined;
  const recorded = await readUnlessGone(log, stream, await seekRecord(log, stream, n));
  const typed = recorded && decodeEvent(recorded);
  if (typed?.type !== "RecordsAccepted" || typed.data.ordinals === undefined) return undefined;
  return decodeDeltas(typed.data.ordinals)[n - typed.data.first];
}

async function ordinalOfRetry(log: EventLog, stream: string, item: number): Promise<number | undefined> {
  if ((await log.streamInfo(stream)) === undefined) return undefined;
  const recorded = await readUnlessGone(log, stream, await seekRecord(log, stream, item));
  const typed = recorded && decodeEvent(recorded);
  if (typed?.type !== "RetryAsked" || !typed.data.unit.startsWith("steps_")) return undefined;
  const { unit } = typed.data;
  const { n } = (await retriedAs(log, stream.slice("retry_".length), unit, item)) ?? {};
  const ordinal = n === undefined ? THROUGH_NOTHING : await ordinalOfInput(log, unit, n);
  return ordinal === THROUGH_NOTHING ? undefined : ordinal;
}

/** An output of an upstream stream at a place; `stage` is the index of the one that gave it. */
async function outputAt(
  log: EventLog,
  { stream, from, branch }: UpstreamSelection,
  wanted: RowPlace,
): Promise<
  { readonly stream: string; readonly n: number; readonly k: number; readonly stage: number } | undefined
> {
  // Of an ordinal that is still going on an event is complete up to the one before.
  const begin = await seekThrough(log, stream, wanted.ordinal - 2);
  if (begin === undefined) return undefined;
  for await (const recorded of log.read(stream, { from: begin })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "StepsRecorded" || data.count === 0) continue;
    const graph = new StepGraph(data);
    if (graph.input(0).ordinal > wanted.ordinal) return undefined;
    if (graph.input(data.count - 1).ordinal < wanted.ordinal) continue;
    const stage = stageOf(from, data);
    if (stage === undefined) continue;
    const placeOf = placesIn(graph);
    for (let row = 0; row < graph.shape.stage(stage).count; row++) {
      const { ordinal, origin, root, path } = placeOf({ stage, row });
      if (ordinal !== wanted.ordinal || origin !== wanted.origin || root !== wanted.root) continue;
      if (path + branch === wanted.path) return { stream, stage, ...numbersOf(graph, from, { stage, row }) };
    }
  }
  return undefined;
}

function stageOf(from: UpstreamSelection["from"], { outlets }: StepsRecorded): number | undefined {
  if ("results" in from) return from.results;
  return "outlet" in from ? outlets?.[from.outlet]?.stage : undefined;
}

function numbersOf(
  graph: StepGraph,
  from: UpstreamSelection["from"],
  at: StepRow,
): { readonly n: number; readonly k: number } {
  const { input, k } = graph.placeOf(at);
  const n = graph.event.first + input;
  if (!("outlet" in from)) return { n, k };
  return { n, k: graph.shape.outputNumbers(from.outlet)?.[at.row] ?? 0 };
}
