import { type PartitionClaimed, type StepsRecorded, TAKEN_OF_GROUP } from "../src/core/events.ts";
import { type Audit, type AuditedEvent, emptyTally, fail, isAudited } from "./audit.ts";
import { applyAccepted, applyDoorClaim } from "./conservation-doors.ts";
import { applyDecision, applyWithdrawal, takeBack } from "./conservation-retries.ts";
import { applyDelivered, applyOpened, applyPrepared, applySinkClaim } from "./conservation-sinks.ts";
import { checkEnds } from "./conservation-stages.ts";
import {
  addTo,
  beginsWhere,
  type ConservationState,
  countGone,
  eventAddress,
  forgetUnit,
  goOn,
  neverFalls,
  noCounts,
  unitOf,
} from "./conservation-state.ts";
import { EventsBeside } from "./events-beside.ts";
import { KeptStreams } from "./kept-streams.ts";
import { PutBackRecords } from "./put-back.ts";
import { stepRowsOf } from "./step-rows.ts";
import { addressOf, TakenRecords } from "./taken-records.ts";

/**
 * Every accepted record comes to an end, and none twice: the records that a source or partition hands on are those that
 * the partitions and sinks after it take, each once and in logical order, with nothing passed over; what goes into a
 * stage comes out, or is said to have failed, to be late or to be let go; outputs are counted without a gap. Counts the
 * records accepted, the inputs of partitions and the outputs of sinks, and says how many of each were let go of.
 */
export const conservationAudit: Audit<ConservationState> = {
  name: "conservation",
  version: 3,
  init: ({ pipeline }) => {
    const kept = new KeptStreams();
    return {
      ...emptyTally(),
      pipeline,
      counts: noCounts(),
      gone: { accepted: 0, inputs: 0, delivered: 0 },
      uncounted: [],
      kept,
      taken: new TakenRecords(kept),
      putBack: new PutBackRecords(),
      beside: new EventsBeside(kept),
      units: new Map(),
      sinks: new Map(),
      targets: new Map(),
      inputs: new Map(),
      decided: new Map(),
    };
  },
  apply: (state, item) => {
    state.kept.see(item);
    if (!isAudited(state.pipeline, item)) return state;
    state.taken.see(item);
    state.putBack.see(item);
    if (item.kind === "upstream" && item.pending) applyPending(state, item.taker, item.stream);
    if (item.kind === "end") applyEnd(state);
    if (item.kind === "event") {
      if (state.kept.isAfterGap(item)) forgetUnit(state, item.stream);
      countGone(state, item);
      applyEvent(state, item);
      state.taken.release(item);
    }
    return state;
  },
};

function applyEvent(state: ConservationState, item: AuditedEvent): void {
  const { typed, stream } = item;
  switch (typed?.type) {
    case "DoorClaimed":
      applyDoorClaim(state, item, typed.data);
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
      applySinkClaim(state, stream, typed.data.deployment);
      break;
    case "SinkOpened":
      applyOpened(state, item, typed.data);
      break;
    case "OutputsPrepared":
      applyPrepared(state, item, typed.data);
      break;
    case "OutputsDelivered":
      applyDelivered(state, item, typed.data);
      break;
    case "RetryAsked":
    case "RecordsDiscarded":
      applyDecision(state, item, typed.data);
      break;
    case "RetriesWithdrawn":
      applyWithdrawal(state, item, typed.data);
      break;
    case "RecordsRejected":
    case "RecordsQuarantined":
      state.beside.add(stream, item.revision, typed);
      break;
  }
}

function applyClaim(state: ConservationState, item: AuditedEvent, claim: PartitionClaimed): void {
  const unit = unitOf(state, item.stream, claim);
  goOn(state, item, unit, claim);
  if (unit.cursors === undefined) beginsAtAll(state, item, claim);
  beginsWhere(state, item, unit.cursors, claim.cursors);
  unit.through = Math.max(unit.through, claim.through);
  unit.cursors = claim.cursors;
  unit.deployment = claim.deployment;
}

/** A partition that the first deployment has begins with the first record of each stream. */
function beginsAtAll(
  state: ConservationState,
  item: AuditedEvent,
  { cursors, deployment }: PartitionClaimed,
): void {
  const { stream } = item;
  if (state.kept.isCut(stream) || !state.taken.isFromTheBeginning(stream, deployment)) return;
  for (const [upstream, n] of Object.entries(cursors)) {
    if (n === 0) continue;
    const message = `${stream} begins at ${upstream}@${n}, and nothing is known of what became of it there`;
    fail(state, `${upstream}@0`, "PassedOver", message);
    return;
  }
}

function applySteps(state: ConservationState, item: AuditedEvent, event: StepsRecorded): void {
  const { stream } = item;
  const unit = unitOf(state, stream, event);
  goOn(state, item, unit, event);
  beginsWhere(state, item, unit.cursors, event.from);
  neverFalls(state, item, event.from, event.to);
  const taking = state.taken.taking(item, event);
  if (taking === undefined) state.unverifiable += event.count;
  else {
    for (const { row, address, code, message } of taking.faults) {
      const input = row === undefined ? eventAddress(item) : `${stream}@${event.first + row}`;
      fail(state, address ?? input, code, message);
    }
    state.unverifiable += taking.unverifiable;
    state.checked += event.count - taking.unverifiable;
  }
  const parents = event.entry === undefined ? [] : stepRowsOf(event).inputs.parents;
  const taken = parents.map((retry, row) => ({ item: retry, address: `${stream}@${event.first + row}` }));
  takeBack(state, stream, taken, false);
  if (event.count > 0) {
    checkOrder(state, item, event, unit.through);
    checkEnds(state, item, event, taking?.reader);
  }
  unit.next = event.first + event.count;
  unit.through = Math.max(unit.through, event.through);
  unit.cursors = event.to;
  unit.deployment = event.deployment;
}

/** Inputs are in logical order, after all that the partition was complete up to. */
function checkOrder(
  state: ConservationState,
  { stream }: AuditedEvent,
  event: StepsRecorded,
  through: number,
): void {
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

/** What its taker has not taken: it must not have said that it is complete beyond it. */
function applyPending(state: ConservationState, taker: string, stream: string): void {
  const unit = state.units.get(taker);
  const [name = ""] = taker.split(" ");
  const reader = unit?.deployment && state.taken.reader(name, unit.deployment);
  if (unit?.cursors === undefined || reader === undefined) return;
  for (const edge of reader.edges) {
    if (edge.stream !== stream) continue;
    const head = state.taken.handed(taker, edge, unit.cursors[stream] ?? 0, reader);
    for (; head.next !== undefined; head.advance()) {
      const { from, at } = head.next;
      if (head.next.from.ordinal(head.next.at) > (reader.upTo ?? Number.POSITIVE_INFINITY)) break;
      addTo(state, name, "pending", 1);
      if (from.ordinal(at) > unit.through || unit.cursors[TAKEN_OF_GROUP] !== undefined) continue;
      const message = `the record was not taken by ${name}, which says that it is complete up to there`;
      fail(state, addressOf(stream, from, at), "NotTaken", message);
      return;
    }
  }
  state.taken.forget(taker, stream);
}

/** What is left of the events that takers were in the middle of is pending, too. */
function applyEnd(state: ConservationState): void {
  for (const stream of state.kept.uncounted()) {
    if (isAudited(state.pipeline, { kind: "stream", stream, first: 0, last: 0 }))
      state.uncounted.push(stream);
  }
  const isOld = (taker: string) => taker.startsWith("sink_") && !isCurrent(state, taker);
  for (const [taker, unit] of state.units) {
    if (isOld(taker)) continue;
    for (const stream of Object.keys(unit.cursors ?? {})) applyPending(state, taker, stream);
  }
}

function isCurrent({ sinks }: ConservationState, taker: string): boolean {
  return sinks.get(taker.split(" ")[0] ?? "")?.taker === taker;
}
