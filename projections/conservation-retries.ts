import type { RecordsDiscarded, RetriesWithdrawn, RetryAsked } from "../src/core/events.ts";
import { LIMITS } from "../src/core/limits.ts";
import { besideStream, pipelineOf, retryStream } from "../src/core/streams.ts";
import { type AuditedEvent, fail } from "./audit.ts";
import { addTo, type ConservationState, eventAddress, unitOf } from "./conservation-state.ts";
import { IntervalSet } from "./interval-set.ts";
import type { PutBack } from "./put-back.ts";

/**
 * What is decided about refused records: I's go on without a gap, and each item is a record that the unit refused, and
 * about which nothing was decided before.
 */
export function applyDecision(
  state: ConservationState,
  item: AuditedEvent,
  event: RetryAsked | RecordsDiscarded,
): void {
  const { stream } = item;
  const { first, count, items } = event;
  const unit = unitOf(state, stream, event);
  if (first !== unit.next) {
    const message = `it goes on at ${stream}@${first}, and the one that is next is ${stream}@${unit.next}`;
    fail(state, eventAddress(item), "NotDense", message);
  }
  unit.next = first + count;
  const asks = item.type === "RetryAsked";
  if (asks && count !== items.length) {
    fail(state, eventAddress(item), "BadCount", `it asks for ${count} records, and names ${items.length}`);
  }
  if (pipelineOf(event.unit) !== pipelineOf(stream)) {
    fail(state, eventAddress(item), "NotRefused", `${event.unit} is not of this pipeline`);
  }
  for (const put of state.putBack.take(stream)) {
    const address = asks ? `${stream}@${put.item}` : eventAddress(item);
    checkDecision(state, address, put);
  }
  if (asks) addTo(state, stream, "pending", count);
  else addTo(state, stream, "discarded", items.length);
}

/** Only what was asked for before can be given up. */
export function applyWithdrawal(state: ConservationState, item: AuditedEvent, event: RetriesWithdrawn): void {
  const { stream } = item;
  const unit = unitOf(state, stream, event);
  const wrong = event.items.find((asked) => !Number.isSafeInteger(asked) || asked < 0 || asked >= unit.next);
  if (wrong === undefined) state.checked++;
  else fail(state, eventAddress(item), "NotAsked", `${stream}@${wrong} is given up, and was not asked for`);
}

function checkDecision(
  state: ConservationState,
  address: string,
  { unit, place, found, records }: PutBack,
): void {
  const quarantine = besideStream(unit, "quarantine");
  const where = `record ${place.index} of ${quarantine}@${place.revision}`;
  if (found !== "it") {
    // It counts if an event of its unit refers to it, and that may be gone, too.
    const gone = state.kept.isGone(quarantine, place.revision) || state.kept.isCut(unit);
    if (gone && found === "none") state.unverifiable++;
    else fail(state, address, "NotRefused", `${where} is ${found === "none" ? "not there" : "another one"}`);
    return;
  }
  let decided = state.decided.get(quarantine);
  if (decided === undefined) {
    decided = new IntervalSet(LIMITS.auditIntervals);
    state.decided.set(quarantine, decided);
  }
  const start = place.revision * PLACES + place.index;
  // The last one of an event is followed by the first one of the next.
  const end = place.index === records - 1 ? (place.revision + 1) * PLACES : start + 1;
  const added = decided.add(start, end);
  if (added === "there") fail(state, address, "DecidedTwice", `${where} was asked for, or discarded, before`);
  else if (added === "full") state.unverifiable++;
  else state.checked++;
}

/** More than one event of a quarantine can hold. */
const PLACES = 2 ** 20;

/**
 * A unit takes what was asked of it, in order: `taken` are the I's of what came of it, row by row; `may` says whether
 * nothing may have come of one.
 */
export function takeBack(
  state: ConservationState,
  unit: string,
  taken: readonly { readonly item: number; readonly address: string }[],
  mayBeNothing: boolean,
): void {
  const asked = state.putBack.take(unit);
  if (asked.length === 0 && taken.length === 0) return;
  const retries = retryStream(pipelineOf(unit));
  const left = new Set(asked.map(({ item }) => item));
  for (const { item, address } of taken) {
    if (left.delete(item)) continue;
    if (state.kept.isCut(retries)) {
      state.unverifiable++;
      continue;
    }
    const message = `it is said to be ${retries}@${item}, which was not asked of ${unit}, or was put back before`;
    fail(state, address, "NotAsked", message);
  }
  addTo(state, unit, "retried", asked.length);
  addTo(state, unit, "pending", -asked.length);
  for (const item of mayBeNothing ? [] : left) {
    const message = `${unit} is past it, and nothing came of it`;
    fail(state, `${retries}@${item}`, "PassedOver", message);
  }
}
