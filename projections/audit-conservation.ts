import { decodeDeltas, decodeRuns } from "../src/core/columns.ts";
import {
  type Cursors,
  type EventRange,
  type OutputsDelivered,
  type RecordsAccepted,
  type StepsRecorded,
  TAKEN_OF_GROUP,
} from "../src/core/events.ts";
import { isForkStream, retryStream } from "../src/core/streams.ts";
import {
  type Audit,
  type AuditedEvent,
  emptyTally,
  fail,
  isAuditedStream,
  sinkTaker,
  type Tally,
} from "./audit.ts";
import { EventsBeside } from "./events-beside.ts";
import { sectionsOf, stepRowsOf } from "./step-rows.ts";
import { addressOf, TakenRecords } from "./taken-records.ts";

interface State extends Tally {
  readonly pipeline: string | undefined;
  readonly counts: Counts;
  readonly taken: TakenRecords;
  readonly units: Map<string, Unit>;
  /** By the stream of a partition or source: the I's that were asked of it to be put back, and not taken yet. */
  readonly asked: Map<string, Set<number>>;
  /** What is before the first event of these is not kept. */
  readonly cut: Set<string>;
  readonly beside: EventsBeside;
  /** By the stream of a sink: the target that it delivered to last, and who it is. */
  readonly sinks: Map<string, SinkOwner>;
}

/** What became of the records. */
type Counts = Record<
  | "accepted"
  | "rejected"
  | "steps"
  | "filtered"
  | "aggregated"
  | "quarantined"
  | "late"
  | "delivered"
  | "pending",
  number
>;

interface SinkOwner {
  readonly taker: string;
  readonly deployment: Uint8Array | undefined;
}

/** A door, a partition, or a sink and a target: how far it is. */
interface Unit {
  /** The N that is next. */
  next: number;
  through: number;
  /** The cursors that the next event has to begin with; `undefined`: not known. */
  cursors: Cursors | undefined;
  deployment: Uint8Array | undefined;
}

/**
 * Every accepted record comes to an end, and none twice: the records that a source or partition hands on are those that
 * the partitions and sinks after it take, each once and in logical order, with nothing passed over; what goes into a
 * stage comes out, or is said to have failed, to be late or to be let go; outputs are counted without a gap. Counts the
 * records accepted, the inputs of partitions and the outputs of sinks.
 */
export const conservationAudit: Audit<State> = {
  name: "conservation",
  version: 1,
  init: ({ pipeline }) => ({
    ...emptyTally(),
    pipeline,
    counts: {
      accepted: 0,
      rejected: 0,
      steps: 0,
      filtered: 0,
      aggregated: 0,
      quarantined: 0,
      late: 0,
      delivered: 0,
      pending: 0,
    },
    taken: new TakenRecords(),
    units: new Map(),
    asked: new Map(),
    cut: new Set(),
    beside: new EventsBeside(),
    sinks: new Map(),
  }),
  apply: (state, item) => {
    if (item.kind === "upstream" && !isAuditedStream(state.pipeline, item.stream)) return state;
    if (item.kind === "event" && !isAuditedStream(state.pipeline, item.stream)) return state;
    state.taken.see(item);
    if (item.kind === "stream") {
      state.beside.startAt(item.stream, item.first);
      if (item.first > 0) state.cut.add(item.stream);
    }
    if (item.kind === "upstream" && item.pending) applyPending(state, item.taker, item.stream);
    if (item.kind === "end") applyEnd(state);
    if (item.kind === "event") {
      applyEvent(state, item);
      state.taken.release(item);
    }
    return state;
  },
};

function applyEvent(state: State, item: AuditedEvent): void {
  const { typed, stream } = item;
  switch (typed?.type) {
    case "DoorClaimed":
      goOn(state, item, unitOf(state, stream, typed.data), typed.data);
      break;
    case "RecordsAccepted":
    case "InputEnded":
      applyAccepted(state, item, typed.data);
      break;
    case "PartitionClaimed":
      applyClaim(state, item, typed.data);
      break;
    case "StepsRecorded":
      applySteps(state, item, typed.data);
      break;
    case "SinkClaimed":
      state.sinks.set(stream, {
        taker: stream,
        ...state.sinks.get(stream),
        deployment: typed.data.deployment,
      });
      break;
    case "SinkOpened":
      state.units.set(sinkTaker(stream, typed.data.target), {
        next: 0,
        through: -1,
        cursors: typed.data.cursors,
        deployment: undefined,
      });
      break;
    case "OutputsDelivered":
      applyDelivered(state, item, typed.data);
      break;
    case "RetryAsked": {
      const { unit, first, count } = typed.data;
      const asked = state.asked.get(unit) ?? new Set();
      for (let item = first; item < first + count; item++) asked.add(item);
      state.asked.set(unit, asked);
      break;
    }
    case "RecordsRejected":
    case "RecordsQuarantined":
      state.beside.add(stream, item.revision, typed);
      break;
  }
}

interface Extent {
  readonly first: number;
  readonly through: number;
}

/**
 * The unit whose stream it is; new ones begin where they say, if what was before them may have been let go, or is in the
 * streams of the pipeline that they are a fork of.
 */
function unitOf(state: State, name: string, at: Extent | undefined): Unit {
  let unit = state.units.get(name);
  if (unit === undefined) {
    const next = at !== undefined && (state.cut.has(name) || isForkStream(name)) ? at.first : 0;
    unit = { next, through: -1, cursors: undefined, deployment: undefined };
    state.units.set(name, unit);
  }
  return unit;
}

/** N goes on without a gap, and `through` never falls. Answers whether it is so. */
function goOn(state: State, { stream, revision }: AuditedEvent, unit: Unit, at: Extent): boolean {
  const address = `${stream}@${revision}`;
  const dense = at.first === unit.next;
  if (!dense) {
    const message = `it goes on at ${stream}@${at.first}, and the one that is next is ${stream}@${unit.next}`;
    fail(state, address, "NotDense", message);
  } else if (at.through < unit.through) {
    fail(
      state,
      address,
      "BadThrough",
      `it is complete up to ${at.through}, and was up to ${unit.through} before`,
    );
  }
  unit.next = at.first;
  return dense;
}

function applyAccepted(state: State, item: AuditedEvent, event: RecordsAccepted): void {
  const { stream } = item;
  const unit = unitOf(state, stream, event);
  const { first, count, through, ordinals, rejected } = event;
  goOn(state, item, unit, event);
  state.counts.rejected += rejected?.count ?? 0;
  if (rejected !== undefined) {
    const found = countApart(state, stream, rejected);
    if (found !== undefined && found !== rejected.count) {
      const message = `${rejected.count} records are said to be rejected, and ${found} are kept`;
      fail(state, `${stream}@${item.revision}`, "BadCount", message);
    }
  }
  if (count > 0 && ordinals !== undefined) {
    let before = unit.through;
    for (const [row, ordinal] of decodeDeltas(ordinals, count).entries()) {
      if (ordinal <= before || ordinal > through) {
        const message = `its ordinal ${ordinal} is not above ${before}, or above what the door is complete up to`;
        fail(state, `${stream}@${first + row}`, "OutOfOrder", message);
        break;
      }
      before = ordinal;
    }
    const { retried } = event;
    for (const [at, retry] of retried === undefined ? [] : decodeDeltas(retried.items).entries()) {
      const row = decodeDeltas(retried?.rows ?? new Uint8Array())[at] ?? 0;
      takeAsked(state, stream, `${stream}@${first + row}`, retry);
    }
    // Throws for a record that goes to no partition, or to two.
    sectionsOf(event.sections, count);
    state.checked += count;
    state.counts.accepted += count;
  }
  unit.next = first + count;
  unit.through = Math.max(unit.through, through);
}

function applyClaim(
  state: State,
  item: AuditedEvent,
  claim: Extent & { readonly cursors: Cursors; readonly deployment: Uint8Array },
): void {
  const unit = unitOf(state, item.stream, claim);
  goOn(state, item, unit, claim);
  beginsWhere(state, item, unit.cursors, claim.cursors);
  unit.through = Math.max(unit.through, claim.through);
  unit.cursors = claim.cursors;
  unit.deployment = claim.deployment;
}

/** Of the streams that were read before, reading goes on where it was; another deployment may read others. */
function beginsWhere(
  state: State,
  { stream, revision }: AuditedEvent,
  before: Cursors | undefined,
  now: Cursors,
): void {
  if (before === undefined) return;
  for (const [name, n] of Object.entries(now)) {
    const cursor = before[name] ?? (name === TAKEN_OF_GROUP ? 0 : n);
    if (cursor === n) continue;
    const message = `it goes on at ${name}@${n}, and what is next is ${name}@${cursor}`;
    fail(state, `${stream}@${revision}`, "BadCursor", message);
    return;
  }
}

function applySteps(state: State, item: AuditedEvent, event: StepsRecorded): void {
  const { stream, revision } = item;
  const unit = unitOf(state, stream, event);
  goOn(state, item, unit, event);
  beginsWhere(state, item, unit.cursors, event.from);
  const taking = state.taken.taking(item, event);
  if (taking === undefined) state.unverifiable += event.count;
  else {
    for (const { row, address, code, message } of taking.faults) {
      const input = row === undefined ? `${stream}@${revision}` : `${stream}@${event.first + row}`;
      fail(state, address ?? input, code, message);
    }
    state.unverifiable += taking.unverifiable;
    state.checked += event.count - taking.unverifiable;
  }
  if (event.entry !== undefined) {
    for (const [row, retry] of stepRowsOf(event).inputs.parents.entries()) {
      takeAsked(state, stream, `${stream}@${event.first + row}`, retry);
    }
  }
  if (event.count > 0) {
    checkOrder(state, item, event, unit.through);
    checkEnds(state, item, event);
  }
  unit.next = event.first + event.count;
  unit.through = Math.max(unit.through, event.through);
  unit.cursors = event.to;
  unit.deployment = event.deployment;
}

/** What is put back was asked of that unit, and is put back once. */
function takeAsked(state: State, unit: string, address: string, item: number): void {
  const retries = retryStream(pipelineOfUnit(unit));
  if (state.asked.get(unit)?.delete(item) || state.cut.has(retries)) return;
  const message = `it is said to be ${retries}@${item}, which was not asked of ${unit}, or was put back before`;
  fail(state, address, "NotAsked", message);
}

function pipelineOfUnit(unit: string): string {
  return unit.slice(unit.indexOf("_") + 1, unit.indexOf("."));
}

/** Inputs are in logical order, after all that the partition was complete up to. */
function checkOrder(state: State, { stream }: AuditedEvent, event: StepsRecorded, through: number): void {
  const { ordinals, source, paths } = stepRowsOf(event).inputs;
  for (let row = 0; row < event.count; row++) {
    const ordinal = ordinals[row] as number;
    const before = row === 0 ? through : (ordinals[row - 1] as number);
    let inOrder = ordinal > before;
    if (row > 0 && ordinal === before) {
      const [one, other] = [source?.[row - 1] ?? 0, source?.[row] ?? 0];
      inOrder = one < other || (one === other && (paths?.[row - 1] ?? "") < (paths?.[row] ?? ""));
    }
    if (inOrder) continue;
    fail(state, `${stream}@${event.first + row}`, "OutOfOrder", "the input comes before the one ahead of it");
    return;
  }
}

/** What goes into a stage comes out, or is said to have come to an end; whatever leaves goes to one partition. */
function checkEnds(state: State, { stream, revision }: AuditedEvent, event: StepsRecorded): void {
  const rows = stepRowsOf(event);
  const failed = new Set<string>();
  for (const [at, columns] of (event.stages ?? []).entries()) {
    const inputs = rows.count(columns.input);
    const results = columns.results && decodeRuns(columns.results, inputs);
    const origins = rows.rowsAhead(columns.input, -1);
    const addressOfInput = (row: number) => `${stream}@${event.first + (origins?.[row] ?? row)}`;
    const late = columns.late === undefined ? [] : decodeDeltas(columns.late);
    const failures = columns.failed === undefined ? [] : decodeDeltas(columns.failed);
    for (const row of [...late, ...failures]) {
      if (results?.[row] === 0) continue;
      fail(state, addressOfInput(row), "TwoEnds", "a record that failed, or was late, has results as well");
    }
    for (const row of failures) failed.add(`${event.first + (origins?.[row] ?? row)} ${row} ${at}`);
    state.counts.steps += inputs;
    state.counts.late += late.length;
    const nothing = results?.reduce((sum, count) => (count === 0 ? sum + 1 : sum), 0) ?? 0;
    const timed = columns.members !== undefined || columns.membersIn !== undefined || late.length > 0;
    const ended = nothing - late.length - failures.length;
    if (at === 0 && (timed || rows.inputs.firings.size > 0)) state.counts.aggregated += ended;
    else if (columns.digests === undefined && columns.select === undefined) state.counts.filtered += ended;
  }
  for (const outlet of event.outlets ?? []) sectionsOf(outlet.sections, rows.count(outlet.stage));
  state.counts.quarantined += failed.size;
  const found = event.quarantine && countApart(state, stream, event.quarantine);
  if (failed.size > 0 && event.quarantine === undefined) {
    fail(state, `${stream}@${revision}`, "Missing", "records failed, and are not in quarantine");
  } else if (found !== undefined && found !== failed.size) {
    const message = `${failed.size} records failed, and ${found} are in quarantine`;
    fail(state, `${stream}@${revision}`, "BadCount", message);
  }
}

/** How many records are in the quarantine that an event refers to; `undefined` if they are not kept any more. */
function countApart(state: State, main: string, range: EventRange): number | undefined {
  const found = state.beside.take(main, "quarantine", range);
  if (found === "gone") return undefined;
  if (found === "missing") return 0;
  return found.reduce((sum, { data }) => sum + ("records" in data ? data.records.length : 0), 0);
}

function applyDelivered(state: State, item: AuditedEvent, event: OutputsDelivered): void {
  const { stream, revision } = item;
  const taker = sinkTaker(stream, event.target);
  const deployment = state.sinks.get(stream)?.deployment;
  state.sinks.set(stream, { taker, deployment });
  const known = state.units.get(taker);
  const own = taker !== stream;
  const unit: Unit = known ?? { next: event.first, through: -1, cursors: undefined, deployment };
  goOn(state, item, own ? unit : { ...unit, through: -1 }, event);
  beginsWhere(state, item, unit.cursors, event.from);
  const reader = deployment && state.taken.reader(stream, deployment);
  if (reader === undefined) state.unverifiable += event.count;
  else {
    const gone = reader.edges.some((edge) =>
      state.taken.isGone(taker, edge.stream, event.from[edge.stream] ?? 0),
    );
    let handed = (event.to[TAKEN_OF_GROUP] ?? 0) - (event.from[TAKEN_OF_GROUP] ?? 0);
    for (const edge of reader.edges) {
      const { [edge.stream]: from = 0 } = event.from;
      const { [edge.stream]: to = 0 } = event.to;
      handed += state.taken.count(taker, edge, from, to);
    }
    if (handed === event.count) state.checked += event.count;
    else if (gone) state.unverifiable += event.count;
    else {
      const message = `${event.count} records are delivered of ${handed} that are handed on between its cursors`;
      fail(state, `${stream}@${revision}`, "BadCount", message);
    }
  }
  state.counts.delivered += event.count;
  const next = event.first + event.count;
  const through = Math.max(unit.through, event.through);
  state.units.set(taker, { next, through, cursors: event.to, deployment });
  // A target without content of its own goes on after whatever was delivered last.
  if (own) state.units.set(stream, { next, through, cursors: event.to, deployment });
}

/** What its taker has not taken: it must not have said that it is complete beyond it. */
function applyPending(state: State, taker: string, stream: string): void {
  const unit = state.units.get(taker);
  const [name = ""] = taker.split(" ");
  const reader = unit?.deployment && state.taken.reader(name, unit.deployment);
  if (unit?.cursors === undefined || reader === undefined) return;
  for (const edge of reader.edges) {
    if (edge.stream !== stream) continue;
    const head = state.taken.handed(taker, edge, unit.cursors[stream] ?? 0);
    for (; head.next !== undefined; head.advance()) {
      const { from, at } = head.next;
      if (head.next.from.ordinal(head.next.at) > (reader.upTo ?? Number.POSITIVE_INFINITY)) break;
      state.counts.pending++;
      if (from.ordinal(at) > unit.through || unit.cursors[TAKEN_OF_GROUP] !== undefined) continue;
      const message = `the record was not taken by ${name}, which says that it is complete up to there`;
      fail(state, addressOf(stream, from, at), "NotTaken", message);
      return;
    }
  }
  state.taken.forget(taker, stream);
}

/** What is left of the events that takers were in the middle of is pending, too. */
function applyEnd(state: State): void {
  const isOld = (taker: string) => taker.startsWith("sink_") && !isCurrent(state, taker);
  for (const [taker, unit] of state.units) {
    if (isOld(taker)) continue;
    for (const stream of Object.keys(unit.cursors ?? {})) applyPending(state, taker, stream);
  }
}

function isCurrent({ sinks }: State, taker: string): boolean {
  return sinks.get(taker.split(" ")[0] ?? "")?.taker === taker;
}
