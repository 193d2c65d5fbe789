import { decodeDeltas, decodePlain, decodeRuns } from "../src/core/columns.ts";
import { DIGEST_BYTES, equalBytes, sha256 } from "../src/core/digest.ts";
import type {
  EffectRange,
  QuarantinedRecord,
  StageColumns,
  StepsRecorded,
  TypedEvent,
} from "../src/core/events.ts";
import { LIMITS } from "../src/core/limits.ts";
import { branchElement, indexElement } from "../src/core/path.ts";
import { type Audit, type AuditedEvent, emptyTally, fail, isAudited, type Tally } from "./audit.ts";
import { blockDigests } from "./block-digests.ts";
import { EffectRanges, foreignEffect } from "./effect-ranges.ts";
import { EventsBeside } from "./events-beside.ts";
import { InputsLeftOut } from "./inputs-left-out.ts";
import { KeptStreams } from "./kept-streams.ts";
import { NamedOnce } from "./named-once.ts";
import { type PutBack, PutBackRecords } from "./put-back.ts";
import { digestAt, membersOf, rowNumbers, SEGMENT_INPUTS, type StepRows, stepRowsOf } from "./step-rows.ts";
import { type TakenRecord, TakenRecords } from "./taken-records.ts";

interface State extends Tally {
  readonly pipeline: string | undefined;
  readonly kept: KeptStreams;
  readonly taken: TakenRecords;
  readonly putBack: PutBackRecords;
  readonly beside: EventsBeside;
  readonly effects: EffectRanges;
  /** By partition, of windows and joins. */
  readonly leftOut: Map<string, InputsLeftOut>;
  /** By partition and stage, of reduces: the inputs that a later step goes on from. */
  readonly steps: Map<string, { readonly deployment: Uint8Array; readonly named: NamedOnce }>;
  /** Of events that records leave as they came in: the digests of their inputs, for whoever takes them. */
  readonly inputs: WeakMap<TypedEvent["data"], readonly (Uint8Array | undefined)[]>;
}

/**
 * Each step goes on from the one before it: an input has the ordinal, root, path and event time that its parent has, and
 * its digest is the one after the parent's last stage, which is also that of what is kept of it further down or in
 * quarantine; within a segment each row has its digest, its row in the stage ahead, and members and previous steps that
 * were there before it. Counts inputs; of those that were let go of, it is known how many there were.
 */
export const continuityAudit: Audit<State> = {
  name: "continuity",
  version: 4,
  init: ({ pipeline }) => {
    const kept = new KeptStreams();
    return {
      ...emptyTally(),
      pipeline,
      kept,
      taken: new TakenRecords(kept),
      putBack: new PutBackRecords(),
      beside: new EventsBeside(kept),
      effects: new EffectRanges(kept),
      leftOut: new Map(),
      steps: new Map(),
      inputs: new WeakMap(),
    };
  },
  apply: (state, item) => {
    state.kept.see(item);
    if (!isAudited(state.pipeline, item)) return state;
    // Nothing is asked about what was not taken.
    if (item.kind === "upstream" && item.pending) return state;
    state.taken.see(item);
    state.putBack.see(item);
    if (item.kind !== "event") return state;
    const { typed, stream } = item;
    if (state.kept.isAfterGap(item)) state.effects.forget(stream);
    if (
      typed?.type === "RecordsStored" ||
      typed?.type === "MembersNamed" ||
      typed?.type === "RecordsQuarantined"
    ) {
      if (typed.type !== "RecordsStored" || leavesAsItCame(typed)) {
        state.beside.add(stream, item.revision, typed);
      }
    } else if (typed?.type === "EffectsRecorded") {
      state.effects.add(stream, item.revision, typed.data);
    } else if (typed?.type === "PartitionClaimed") {
      state.unverifiable += state.kept.goneBefore(stream, typed.data);
      checkEffects(state, item, typed.data.effects, undefined);
    } else if (typed?.type === "RecordsAccepted") {
      for (const beside of ["payload", "transit"] as const) {
        const range = typed.data[beside];
        // They are what the source's own digests are of, which the check of the payload looks at.
        if (range !== undefined) state.beside.take(stream, beside, range);
      }
    } else if (typed?.type === "StepsRecorded") {
      state.unverifiable += state.kept.goneBefore(stream, typed.data);
      const back = state.putBack.take(stream);
      checkEffects(state, item, typed.data.effects, typed.data);
      if (typed.data.count > 0) applySteps(state, item, typed.data, back);
    }
    state.taken.release(item);
    return state;
  },
};

function applySteps(state: State, item: AuditedEvent, event: StepsRecorded, back: readonly PutBack[]): void {
  const { stream } = item;
  const rows = stepRowsOf(event);
  const taking = state.taken.taking(item, event);
  const fullDigests = taking?.reader.digests ?? false;
  const items = new Map(back.map((put) => [put.item, put]));
  const putBack = event.entry === undefined ? undefined : rows.inputs.parents.map((i) => items.get(i));
  // Digests are asked for where something is held to them, or somebody further down will ask.
  const passes = event.outlets?.some(({ stored }) => stored === SEGMENT_INPUTS);
  const wanted = fullDigests && (passes || event.quarantine !== undefined);
  const digestOfRow = (row: number) => {
    if (putBack !== undefined) return putBack[row]?.digest;
    const record = taking?.records[row];
    return record && digestOf(state, record);
  };
  const digests = wanted ? rowNumbers(event.count).map(digestOfRow) : undefined;
  for (let row = 0; row < event.count; row++) {
    const address = `${stream}@${event.first + row}`;
    if (putBack !== undefined) {
      checkPutBack(state, address, event, row, putBack[row], taking?.reader.segmentsAfter);
      continue;
    }
    if (rows.inputs.firings.has(row)) {
      state.checked++;
      if (rows.inputs.roots[row] !== rows.inputs.ordinals[row]) {
        fail(state, address, "BadFiring", "it is no record, and its root is not its own ordinal");
      }
      continue;
    }
    const record = taking?.records[row];
    if (record === undefined || (fullDigests && !hasDigest(state, record))) {
      // That a parent is not there is for the check of conservation to say.
      state.unverifiable++;
      continue;
    }
    state.checked++;
    const fault = differs(rows, event, row, record);
    if (fault !== undefined) fail(state, address, "Discontinuous", `its ${fault} is not that of its parent`);
  }
  if (digests !== undefined) state.inputs.set(event, digests);
  leaveOut(state, stream, event, rows);
  checkStages(state, item, event, rows, fullDigests);
  checkKept(state, item, event, rows, digests);
  if (taking !== undefined) checkQuarantined(state, item, event, rows, taking.reader.stages, digests);
}

/** The results of effects that an event names are there, none is passed over, and they are those of its inputs. */
function checkEffects(
  state: State,
  item: AuditedEvent,
  range: EffectRange | undefined,
  event: StepsRecorded | undefined,
): void {
  const { stream, revision } = item;
  const { found, fault } = state.effects.take(stream, range);
  if (fault !== undefined) fail(state, `${stream}@${revision}`, fault.code, fault.message);
  if (event === undefined || event.count === 0 || found.length === 0) return;
  const reader = state.taken.reader(stream, event.deployment);
  if (reader === undefined) return;
  const foreign = foreignEffect(event, stepRowsOf(event), found, reader);
  if (foreign !== undefined) fail(state, `${stream}@${foreign.n}`, "BadEffects", foreign.message);
}

/** What is put back has a place of its own, and what it had of the record that was refused. */
function checkPutBack(
  state: State,
  address: string,
  event: StepsRecorded,
  row: number,
  put: PutBack | undefined,
  segmentsAfter: number | undefined,
): void {
  // That it was not asked for, or is not there, is for the check of conservation to say.
  if (put?.found !== "it" || put.input === undefined || segmentsAfter === undefined) {
    state.unverifiable++;
    return;
  }
  state.checked++;
  const { inputs } = stepRowsOf(event);
  const { origin, time } = put.input;
  const path = indexElement(segmentsAfter) + indexElement(put.item) + branchElement(origin);
  const faults = {
    root: inputs.roots[row] !== put.item,
    ordinal: inputs.ordinals[row] !== event.through + 1,
    source: (event.sources ?? [])[inputs.source?.[row] ?? 0] !== "",
    path: (inputs.paths?.[row] ?? "") !== path,
    "event time": inputs.times?.[row] !== time,
    stage: put.place.stage !== event.entry,
  };
  for (const [what, isWrong] of Object.entries(faults)) {
    if (isWrong) fail(state, address, "BadRetry", `it was put back, and its ${what} is not as it has to be`);
  }
}

/** What the parent says of the record's digest; of what left as it came in, what its parent says. */
function digestOf(state: State, { upstream, from, at }: TakenRecord): Uint8Array | undefined {
  const input = from.input(at);
  return input === undefined ? from.digest(at) : state.inputs.get(upstream.data)?.[input];
}

function hasDigest(state: State, record: TakenRecord): boolean {
  return record.from.digested || digestOf(state, record) !== undefined;
}

/** What of an input is not as its parent has it. */
function differs(
  { inputs }: StepRows,
  { sources = [] }: StepsRecorded,
  row: number,
  { from, at }: TakenRecord,
): string | undefined {
  if (inputs.ordinals[row] !== from.ordinal(at)) return "ordinal";
  if (inputs.roots[row] !== from.root(at)) return "root";
  if ((sources[inputs.source?.[row] ?? 0] ?? "") !== from.origin(at)) return "source";
  if ((inputs.paths?.[row] ?? "") !== from.path(at)) return "path";
  if (inputs.times?.[row] !== from.time(at)) return "event time";
  return undefined;
}

/** Columns fit the rows that they are about, and what they refer to comes before them. */
function checkStages(
  state: State,
  { stream, revision }: AuditedEvent,
  event: StepsRecorded,
  rows: StepRows,
  digests: boolean,
): void {
  const names = event.stages?.length ?? 0;
  for (let stage = 0; stage < names; stage++) {
    const columns = rows.stage(stage);
    const count = rows.count(stage);
    const refuse = (message: string) =>
      fail(state, `${stream}@${revision}`, "BadStage", `stage ${stage}: ${message}`);
    if (columns.digests !== undefined && columns.digests.length !== count * DIGEST_BYTES) {
      refuse(`${columns.digests.length} bytes of digests are of more or fewer than ${count} rows`);
    }
    if (columns.label !== undefined) {
      const labels = columns.labels?.length ?? 0;
      if (decodeRuns(columns.label, count).some((label) => label >= labels))
        refuse("a label is not one of its own");
    }
    if (digests) checkReferences(state, stream, event, rows, stage, columns, refuse);
  }
}

function checkReferences(
  state: State,
  stream: string,
  event: StepsRecorded,
  rows: StepRows,
  stage: number,
  columns: StageColumns,
  refuse: (message: string) => void,
): void {
  const count = rows.count(stage);
  const origins = rows.rowsAhead(stage, SEGMENT_INPUTS);
  const nOf = (row: number) => event.first + (origins?.[row] ?? row);
  if (columns.previous !== undefined) {
    const previous = decodePlain(columns.previous, count);
    const row = previous.findIndex((before, at) => before > 0 && before - 1 > nOf(at));
    if (row >= 0) refuse(`the step before that of input ${nOf(row)} is before the first one`);
    else checkSteps(state, stream, event, stage, previous, nOf);
  }
  const { membersIn } = columns;
  const found = membersIn && state.beside.take(stream, "members", membersIn);
  if (found === "gone") return;
  if (found === "missing") {
    refuse("the members of its results are missing");
    return;
  }
  const bytes = found === undefined ? columns.members : joinChunks(found);
  if (bytes === undefined) return;
  const leftOut = state.leftOut.get(stream);
  for (const [row, members] of membersOf(bytes, count).entries()) {
    const last = (members.at(-2) ?? 0) + (members.at(-1) ?? 0) - 1;
    const out = leftOut?.firstIn(members);
    if (last > nOf(row)) {
      refuse(`the result of input ${nOf(row)} is made of input ${last}, which comes after it`);
    } else if (out !== undefined) {
      refuse(`the result of input ${nOf(row)} is made of input ${out}, which was not taken in`);
    } else continue;
    return;
  }
}

/**
 * Of a key's steps at a reduce each goes on from the one before it: where one is left out, or counted twice, two go on
 * from the same. All rows of one input have one key.
 */
function checkSteps(
  state: State,
  stream: string,
  { deployment }: StepsRecorded,
  stage: number,
  previous: readonly number[],
  nOf: (row: number) => number,
): void {
  const name = `${stream} ${stage}`;
  let known = state.steps.get(name);
  // What another version has at this place may be another stage.
  if (known === undefined || !equalBytes(known.deployment, deployment)) {
    known = { deployment, named: new NamedOnce(LIMITS.auditStepsNamed) };
    state.steps.set(name, known);
  }
  for (const [row, before] of previous.entries()) {
    const n = nOf(row);
    const from = n - (before - 1);
    if (before < 2 || known.named.name(from, n)) continue;
    const message = `its step goes on from that of input ${from}, as another one does: one of the two is not in the total`;
    fail(state, `${stream}@${n}`, "StepLeftOut", message);
    return;
  }
}

/** Notes which inputs a window or join at the head of the segment has not taken in. */
function leaveOut(state: State, stream: string, event: StepsRecorded, rows: StepRows): void {
  const columns = event.stages?.[0];
  const timed = rows.inputs.firings.size > 0 || columns?.members !== undefined || columns?.late !== undefined;
  if (columns === undefined || columns.input !== SEGMENT_INPUTS || !timed) return;
  const { late, failed } = columns;
  const ended = [late, failed].flatMap((column) => (column === undefined ? [] : decodeDeltas(column)));
  const out = new Set([...rows.inputs.firings, ...ended]);
  if (out.size === 0) return;
  let leftOut = state.leftOut.get(stream);
  if (leftOut === undefined) {
    leftOut = new InputsLeftOut(LIMITS.auditInputsLeftOut);
    state.leftOut.set(stream, leftOut);
  }
  leftOut.add([...out].sort((a, b) => a - b).map((row) => event.first + row));
}

function joinChunks(events: readonly TypedEvent[]): Uint8Array {
  return Buffer.concat(
    events.map(({ type, data }) => (type === "MembersNamed" ? data.bytes : new Uint8Array(0))),
  );
}

/** Records that are kept as they came in have the digests that they came with. */
function checkKept(
  state: State,
  { stream, revision }: AuditedEvent,
  event: StepsRecorded,
  rows: StepRows,
  digests: readonly (Uint8Array | undefined)[] | undefined,
): void {
  if (!event.outlets?.some(({ stored }) => stored === SEGMENT_INPUTS)) return;
  for (const beside of ["payload", "transit"] as const) {
    checkBeside(state, { stream, revision }, event, rows, digests, beside);
  }
}

function checkBeside(
  state: State,
  { stream, revision }: Pick<AuditedEvent, "stream" | "revision">,
  event: StepsRecorded,
  rows: StepRows,
  digests: readonly (Uint8Array | undefined)[] | undefined,
  beside: "payload" | "transit",
): void {
  const range = event[beside];
  const kept = rows.kept(SEGMENT_INPUTS, beside);
  if (range === undefined || kept.length === 0) return;
  const found = state.beside.take(stream, beside, range);
  // That records are missing, or more than they should be, is for the check of the payload to say.
  if (typeof found === "string") return;
  const actual = Buffer.concat(found.flatMap(blocksAsTheyCame).map(blockDigests));
  for (const [at, row] of kept.entries()) {
    const expected = digests?.[row];
    if (expected === undefined || equalBytes(digestAt(actual, at), expected)) continue;
    fail(
      state,
      `${stream}@${event.first + row}`,
      "Discontinuous",
      "the record is not the one that its parent handed on",
    );
    return;
  }
  if (actual.length !== kept.length * DIGEST_BYTES) {
    fail(state, `${stream}@${revision}`, "BadPayload", "it keeps more or fewer records than there are");
  }
}

function blocksAsTheyCame({ type, data }: TypedEvent) {
  return type === "RecordsStored" ? data.blocks.filter(({ stage }) => stage === SEGMENT_INPUTS) : [];
}

function leavesAsItCame(typed: TypedEvent): boolean {
  return blocksAsTheyCame(typed).length > 0;
}

/** What is in quarantine is what the stage was given. */
function checkQuarantined(
  state: State,
  { stream, revision }: AuditedEvent,
  event: StepsRecorded,
  rows: StepRows,
  stages: readonly string[],
  inputs: readonly (Uint8Array | undefined)[] | undefined,
): void {
  const found = event.quarantine && state.beside.take(stream, "quarantine", event.quarantine);
  if (found === undefined || found === "gone") return;
  if (found === "missing") {
    fail(state, `${stream}@${revision}`, "Missing", "records in quarantine are missing");
    return;
  }
  const failures = failedRows(event, stages);
  for (const { type, data } of found) {
    if (type !== "RecordsQuarantined") continue;
    for (const record of data.records) {
      const failure = failures.get(`${record.stage} ${record.row}`);
      const address = `${stream}@${record.n}`;
      if (failure === undefined || !isOf(event, rows, failure.input, record)) {
        fail(
          state,
          address,
          "Discontinuous",
          "it is in quarantine, and did not fail there, or is there twice",
        );
        continue;
      }
      failures.delete(`${record.stage} ${record.row}`);
      const before = digestBefore(rows, failure.input, record.row, inputs);
      if (before !== undefined && !equalBytes(sha256(record.record), before)) {
        fail(
          state,
          address,
          "Discontinuous",
          "the record in quarantine is not the one that the stage was given",
        );
      }
    }
  }
}

/** The rows that failed, by the stage's name and the row, and which stage's rows they are of. */
function failedRows(
  { stages = [], entry, count }: StepsRecorded,
  names: readonly string[],
): Map<string, { readonly input: number }> {
  const failed = new Map<string, { readonly input: number }>();
  for (const [at, columns] of stages.entries()) {
    const rows = columns.failed === undefined ? [] : decodeDeltas(columns.failed);
    for (const row of rows) failed.set(`${names[at]} ${row}`, { input: columns.input });
  }
  // What comes back for a stage that is not there any more stays in quarantine.
  const lost = entry !== undefined && !names.includes(entry);
  for (let row = 0; lost && row < count; row++) failed.set(`${entry} ${row}`, { input: SEGMENT_INPUTS });
  return failed;
}

function isOf(event: StepsRecorded, rows: StepRows, input: number, { n, row }: QuarantinedRecord): boolean {
  const origins = rows.rowsAhead(input, SEGMENT_INPUTS);
  return event.first + (origins?.[row] ?? row) === n;
}

/** The digest of a row of the stage `ahead`; `undefined` if it is not known, or is of a firing, which is no record. */
function digestBefore(
  rows: StepRows,
  ahead: number,
  row: number,
  inputs: readonly (Uint8Array | undefined)[] | undefined,
): Uint8Array | undefined {
  let at = ahead;
  let there = row;
  for (; at !== SEGMENT_INPUTS; at = rows.stage(at).input) {
    const { digests } = rows.stage(at);
    if (digests !== undefined) return digestAt(digests, there);
    there = rows.parents(at)?.[there] ?? there;
  }
  return inputs?.[there];
}
