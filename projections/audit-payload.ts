import { decodePlain } from "../src/core/columns.ts";
import { DIGEST_BYTES, equalBytes, sha256Batch } from "../src/core/digest.ts";
import type { EventRange, PayloadBlock, RecordsAccepted, StepsRecorded } from "../src/core/events.ts";
import { besideStream } from "../src/core/streams.ts";
import { type Audit, type AuditedEvent, emptyTally, fail, type Tally } from "./audit.ts";
import { SEGMENT_INPUTS, StepRows } from "./step-rows.ts";

interface State extends Tally {
  readonly pipeline: string | undefined;
  /** By payload stream: its events that nothing has referred to yet. What a crash left goes with the next reference. */
  readonly waiting: Map<string, Stored[]>;
  /** First revision that is kept, of payload streams that were let go of in part. */
  readonly first: Map<string, number>;
}

/** An event of a payload stream, as the digests of the records in it. */
interface Stored {
  readonly revision: number;
  readonly blocks: readonly { readonly stage: number; readonly digests: Uint8Array }[];
}

/** Where the digests of a block's records have to be found: rows of a stage. */
interface Expected {
  readonly stage: number;
  /** A column of digests; `undefined` if the event does not have them. */
  readonly digests: Uint8Array | undefined;
  readonly rows: readonly number[];
  readonly addressOf: (row: number) => string;
}

/**
 * Records that are kept have the digests that the events which refer to them say. Counts records; those that were let
 * go, or whose digests are in the event of a stage further up, are unverifiable.
 */
export const payloadAudit: Audit<State> = {
  name: "payload",
  version: 1,
  init: ({ pipeline }) => ({ ...emptyTally(), pipeline, waiting: new Map(), first: new Map() }),
  apply: (state, item) => {
    if (item.kind === "stream" && item.first > 0) state.first.set(item.stream, item.first);
    if (item.kind === "event" && isAudited(state, item.stream)) applyEvent(state, item);
    return state;
  },
};

/** A replay's own streams, `pipeline~id`, belong to its pipeline. */
function isAudited({ pipeline }: State, stream: string): boolean {
  if (pipeline === undefined) return true;
  const name = stream.slice(stream.indexOf("_") + 1);
  return name.startsWith(`${pipeline}.`) || name.startsWith(`${pipeline}~`);
}

function applyEvent(state: State, event: AuditedEvent): void {
  const { stream, revision, typed } = event;
  if (typed?.type === "RecordsStored") {
    const stored = { revision, blocks: typed.data.blocks.map(digestBlock) };
    const waiting = state.waiting.get(stream);
    if (waiting === undefined) state.waiting.set(stream, [stored]);
    else waiting.push(stored);
  } else if (typed?.type === "RecordsAccepted") {
    const { data } = typed;
    if (data.count > 0) compare(state, stream, data.payload, [acceptedRecords(stream, data)]);
  } else if (typed?.type === "StepsRecorded") {
    const { data } = typed;
    const expected = data.count > 0 ? storedRecords(stream, data) : [];
    if (expected.some(({ rows }) => rows.length > 0)) compare(state, stream, data.payload, expected);
  }
}

function digestBlock({ stage, lengths, bytes }: PayloadBlock): { stage: number; digests: Uint8Array } {
  const offsets = [0];
  for (const length of decodePlain(lengths)) offsets.push((offsets.at(-1) as number) + length);
  if (offsets.at(-1) !== bytes.length) throw new Error("the lengths of its records do not fit its bytes");
  return { stage, digests: sha256Batch(bytes, Uint32Array.from(offsets), offsets.length - 1) };
}

function acceptedRecords(stream: string, { first, count, digests }: RecordsAccepted): Expected {
  return {
    stage: SEGMENT_INPUTS,
    digests,
    rows: Array.from({ length: count }, (_, row) => row),
    addressOf: (row) => `${stream}@${first + row}`,
  };
}

function storedRecords(stream: string, event: StepsRecorded): Expected[] {
  const rows = new StepRows(event);
  const stages = new Set((event.outlets ?? []).map(({ stored }) => stored));
  return [...stages].map((stage) => ({
    stage,
    digests: event.stages?.[stage]?.digests,
    rows: rows.kept(stage),
    addressOf: (row) => rows.address(stream, stage, row),
  }));
}

/** Compares what the event of `main` refers to with what has been read, and lets go of that. */
function compare(
  state: State,
  main: string,
  payload: EventRange | undefined,
  expected: readonly Expected[],
): void {
  const records = expected.reduce((sum, { rows }) => sum + rows.length, 0);
  if (payload === undefined) {
    state.unverifiable += records;
    return;
  }
  const stream = besideStream(main, "payload");
  const end = payload.revision + payload.events;
  const waiting = state.waiting.get(stream) ?? [];
  const stored = waiting.filter(({ revision }) => revision >= payload.revision && revision < end);
  state.waiting.set(
    stream,
    waiting.filter(({ revision }) => revision >= end),
  );
  if (stored.length !== payload.events) {
    if (payload.revision < (state.first.get(stream) ?? 0)) state.unverifiable += records;
    else fail(state, `${stream}@${payload.revision}`, "Missing", "records that were kept are missing");
    return;
  }
  for (const { stage, digests, rows, addressOf } of expected) {
    if (digests === undefined) {
      state.unverifiable += rows.length;
      continue;
    }
    const found = stored.flatMap(({ blocks }) => blocks.filter((block) => block.stage === stage));
    const actual = Buffer.concat(found.map((block) => block.digests));
    state.checked += rows.length;
    if (actual.length !== rows.length * DIGEST_BYTES) {
      fail(
        state,
        `${stream}@${payload.revision}`,
        "BadPayload",
        "it keeps more or fewer records than there are",
      );
      continue;
    }
    for (const [at, row] of rows.entries()) {
      if (equalBytes(digestAt(actual, at), digestAt(digests, row))) continue;
      fail(state, addressOf(row), "BadPayload", "the record that is kept is not the one that was processed");
      break;
    }
  }
}

function digestAt(digests: Uint8Array, row: number): Uint8Array {
  return digests.subarray(row * DIGEST_BYTES, (row + 1) * DIGEST_BYTES);
}
