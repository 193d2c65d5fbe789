import { decodeDeltas } from "../src/core/columns.ts";
import type { Cursors, DoorClaimed, EventRange, InputProgress, RecordsAccepted } from "../src/core/events.ts";
import { pipelineOf, retryStream } from "../src/core/streams.ts";
import { type AuditedEvent, fail } from "./audit.ts";
import { takeBack } from "./conservation-retries.ts";
import {
  addTo,
  beginsWhere,
  type ConservationState,
  eventAddress,
  goOn,
  type Unit,
  unitOf,
} from "./conservation-state.ts";
import { rowNumbers, sectionsOf } from "./step-rows.ts";

/** A door goes on where it was. */
export function applyDoorClaim(state: ConservationState, item: AuditedEvent, claim: DoorClaimed): void {
  const unit = unitOf(state, item.stream, claim);
  goOn(state, item, unit, claim);
  const retries = retryStream(pipelineOf(item.stream));
  const before = unit.cursors ?? (state.kept.isCut(item.stream) ? undefined : {});
  unit.cursors = cursorOf(retries, claim.retry);
  beginsWhere(state, item, before, unit.cursors);
  if (claim.input !== undefined) addsUp(state, item, claim.input);
  state.inputs.set(item.stream, claim.input);
}

/** Records come in without a gap and in order, each for one partition, and the door counts what it is given. */
export function applyAccepted(state: ConservationState, item: AuditedEvent, event: RecordsAccepted): void {
  const { stream } = item;
  const unit = unitOf(state, stream, event);
  const { first, count, through, ordinals, rejected } = event;
  goOn(state, item, unit, event);
  addTo(state, stream, "rejected", rejected?.count ?? 0);
  const again = rejected === undefined ? [] : checkRejected(state, item, rejected);
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
    // Throws for a record that goes to no partition, or to two.
    sectionsOf(event.sections, count);
    state.checked += count;
    addTo(state, stream, "accepted", count);
  }
  // What is put back is in batches of its own, and of no input.
  if (!checkRetried(state, item, unit, event, again)) checkInput(state, item, event);
  unit.next = first + count;
  unit.through = Math.max(unit.through, through);
  unit.deployment = event.deployment;
}

/** As many are kept as are said to be rejected. Answers the I's of those that were put back. */
function checkRejected(
  state: ConservationState,
  item: AuditedEvent,
  rejected: EventRange & { readonly count: number },
): number[] {
  const { stream, revision } = item;
  const found = state.beside.take(stream, "quarantine", rejected);
  if (found === "gone") return [];
  const events = found === "missing" ? [] : found;
  const records = events.flatMap(({ type, data }) => (type === "RecordsRejected" ? data.records : []));
  if (records.length !== rejected.count) {
    const message = `${rejected.count} records are said to be rejected, and ${records.length} are kept`;
    fail(state, eventAddress(item), "BadCount", message);
  }
  for (const { type, data } of events) {
    if (type !== "RecordsRejected" || data.main === undefined || data.main === revision) continue;
    fail(state, eventAddress(item), "NotRefused", `what it rejected names ${stream}@${data.main} for it`);
    break;
  }
  return records.flatMap(({ item: retry }) => (retry === undefined ? [] : [retry]));
}

/**
 * What was put back came in again, was rejected again, or had come in before by another way. Answers whether the event
 * is about what was put back.
 */
function checkRetried(
  state: ConservationState,
  item: AuditedEvent,
  unit: Unit,
  { first, count, retried, retry, deployment }: RecordsAccepted,
  rejectedAgain: readonly number[],
): boolean {
  const { stream } = item;
  const retries = retryStream(pipelineOf(stream));
  if (unit.cursors === undefined && state.kept.isCut(stream)) {
    // How far it was before is gone, so that it is not known which of those that were asked for it takes.
    unit.cursors = cursorOf(retries, retry);
    state.putBack.take(stream);
    return retried !== undefined;
  }
  const before = unit.cursors?.[retries] ?? 0;
  const now = retry ?? 0;
  if (now < before) {
    fail(
      state,
      eventAddress(item),
      "BadCursor",
      `it is at ${retries}@${now}, and was at ${retries}@${before}`,
    );
  }
  unit.cursors = cursorOf(retries, retry);
  const rows = retried === undefined ? [] : decodeDeltas(retried.rows);
  const items = retried === undefined ? [] : decodeDeltas(retried.items);
  const isRetry = now > before || retried !== undefined;
  if (isRetry) {
    const all = rowNumbers(count).every((row) => rows[row] === row);
    if (!all || rows.length !== count || items.length !== count) {
      const message = `${items.length} of its ${count} records are said to have been put back`;
      fail(state, eventAddress(item), "BadCount", message);
    }
  }
  const taken = [
    ...items.map((of, at) => ({ item: of, address: `${stream}@${first + (rows[at] ?? 0)}` })),
    ...rejectedAgain.map((of) => ({ item: of, address: eventAddress(item) })),
  ];
  takeBack(state, stream, taken, state.taken.hasIds(stream, deployment));
  return isRetry;
}

/** How much was taken of the input goes on from what it was. */
function checkInput(
  state: ConservationState,
  item: AuditedEvent,
  { count, rejected, input }: RecordsAccepted,
): void {
  const before = state.inputs.get(item.stream);
  state.inputs.set(item.stream, input);
  if (input === undefined) return;
  addsUp(state, item, input);
  // Without a claim that says so nothing is known of it.
  if (before === undefined) return;
  const wrong = {
    accepted: input.accepted - before.accepted !== count,
    rejected: input.rejected - before.rejected !== (rejected?.count ?? 0),
    duplicate: input.duplicate < before.duplicate,
    bytes: input.bytes < before.bytes,
  };
  for (const [what, isWrong] of Object.entries(wrong)) {
    if (!isWrong) continue;
    const message = `its input's count of ${what} does not go on from the event before`;
    fail(state, eventAddress(item), "BadInputCount", message);
    return;
  }
}

/** Every record of an input was accepted, known already, or rejected. */
function addsUp(
  state: ConservationState,
  item: AuditedEvent,
  { read, accepted, duplicate, rejected }: InputProgress,
): void {
  if (read === accepted + duplicate + rejected) return;
  const message = `of its input ${read} records were read, and ${accepted + duplicate + rejected} came to something`;
  fail(state, eventAddress(item), "BadInputCount", message);
}

function cursorOf(retries: string, retry: number | undefined): Cursors {
  return retry === undefined ? {} : { [retries]: retry };
}
