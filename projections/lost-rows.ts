import { decodeDeltas } from "../src/core/columns.ts";
import type { RecordsAccepted } from "../src/core/events.ts";

/** From which revisions on the records beside a stream are kept. */
export interface RecordsKept {
  readonly payload: number;
  readonly transit: number;
}

/** The stage of a `captured` entry that is about what came in. */
const INPUTS = -1;

/**
 * Whether the records of a source's event were let go of, by their N's: a fork of which it is said that some were leaves
 * these out. See "Forks" and "Capture" in docs/format.md.
 */
export function lostRecordsOf(event: RecordsAccepted, kept: RecordsKept): (n: number) => boolean {
  const said = event.captured?.find(({ stage }) => stage === INPUTS);
  const inPayload = said?.rows === undefined ? undefined : new Set(decodeDeltas(said.rows));
  const isGone = (range: { readonly revision: number } | undefined, first: number) =>
    range !== undefined && range.revision < first;
  const payload = isGone(event.payload, kept.payload);
  const transit = isGone(event.transit, kept.transit);
  return (n) => (inPayload?.has(n - event.first) === false ? transit : payload);
}
