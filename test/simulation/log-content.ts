import { createHash } from "node:crypto";
import {
  ColumnReader,
  decodeByteTexts,
  decodeDeltas,
  decodePlain,
  decodeRuns,
  decodeTexts,
} from "../../src/core/columns.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type {
  Cursors,
  EventRange,
  QuarantinedRecord,
  RecordsAccepted,
  Section,
  StageColumns,
  StepsRecorded,
  TypedEvent,
} from "../../src/core/events.ts";
import { decodeWatermarks, type WatermarkColumns } from "../../src/core/watermark.ts";
import type { EventLog } from "../../src/ports/event-log.ts";

/**
 * A pipeline's log as docs/format.md reads it: row by row, without anything that depends on how the rows were
 * batched, where and when they were worked on. Written against the page, not against the engine. Throws where the
 * log breaks a rule that every log has to keep.
 */
export interface LogContent {
  readonly sources: Readonly<Record<string, readonly SourceRow[]>>;
  readonly partitions: Readonly<Record<string, readonly InputRow[]>>;
  /** What was asked to be put back, by its I. */
  readonly retries: readonly RetriedRow[];
  /** The steps of each stream's watermark that changed something. */
  readonly watermarks: Readonly<Record<string, readonly WatermarkRow[]>>;
}

export interface RetriedRow {
  /** The partition that it was quarantined in: N, stage, and which of the input's rows at that stage. */
  readonly unit: string;
  readonly n: number;
  readonly stage: string;
  readonly k: number;
  /** The root and path (hex) that it had there. */
  readonly root: string;
  readonly path: string;
}

export interface WatermarkRow {
  readonly ordinal: number;
  readonly status: "active" | "idle" | "ended";
  readonly time: number;
}

export interface SourceRow {
  readonly n: number;
  readonly ordinal: number;
  readonly digest: string | undefined;
  readonly partition: number | undefined;
  readonly time: number | undefined;
  /** Whether its event time is believed. */
  readonly believed: boolean;
  readonly id: string | undefined;
  readonly record: string;
}

export interface InputRow {
  readonly n: number;
  /** `stream@N.K`; `undefined`: it is a firing. */
  readonly parent: string | undefined;
  readonly ordinal: number;
  /** Name of what it descends from, and its place among what inputs may descend from. */
  readonly source: string;
  readonly rank: number;
  readonly root: number;
  readonly path: string;
  readonly time: number | undefined;
  readonly stages: readonly StageRows[];
  readonly outputs: readonly OutputRow[];
  readonly quarantined: readonly {
    readonly stage: string;
    readonly code: string;
    readonly message: string;
    readonly record: string;
  }[];
}

/** What one stage made of one input. Rows are counted within the input. */
interface StageRows {
  readonly rows: readonly {
    /** The row of the stage ahead. */
    readonly from: number;
    readonly digest: string | undefined;
    readonly previous: number | undefined;
    readonly path: string;
    /** At a window or join: what it is, and the N's that it was made of. */
    readonly kind: number | undefined;
    readonly members: readonly number[] | undefined;
    readonly label: string | undefined;
  }[];
  /** Rows of the stage ahead at which it failed. */
  readonly failed: readonly number[];
  /** Rows of the stage ahead that came too late. */
  readonly late: readonly number[];
  /** The stage whose rows it takes; −1: the segment's inputs. */
  readonly input: number;
}

interface OutputRow {
  readonly k: number;
  readonly outlet: number;
  /** The stage that it leaves, and which of its rows for the input it is. */
  readonly stage: number;
  readonly row: number;
  /** Canonical bytes, where they are kept. */
  readonly key: string | undefined;
  readonly partition: number | undefined;
  readonly path: string;
  readonly record: string;
}

type Streams = ReadonlyMap<string, readonly TypedEvent[]>;

export async function readLogContent(log: EventLog): Promise<LogContent> {
  const streams = new Map<string, TypedEvent[]>();
  for await (const event of log.readAll()) {
    const events = streams.get(event.stream) ?? [];
    streams.set(event.stream, events);
    events.push(decodeEvent(event));
  }
  const named = [...streams.keys()].sort();
  // A stream may hold claims only; which ones do depends on when a run ends.
  const rowsOf = <T>(kind: string, read: (streams: Streams, name: string) => readonly T[]) =>
    Object.fromEntries(
      named
        .filter((name) => name.startsWith(kind))
        .map((name) => [name, read(streams, name)] as const)
        .filter(([, rows]) => rows.length > 0),
    );
  const sources = rowsOf("source_", sourceRows);
  const partitions = rowsOf("steps_", inputRows);
  const watermarks = Object.fromEntries(
    named
      .filter((name) => name.startsWith("source_") || name.startsWith("steps_"))
      .map((name) => [name, watermarkRows(streams.get(name) ?? [], name)] as const)
      .filter(([, rows]) => rows.length > 0),
  );
  const content = { sources, partitions, watermarks, retries: retriedRows(streams) };
  checkParents(content);
  return content;
}

function retriedRows(streams: Streams): RetriedRow[] {
  const rows: RetriedRow[] = [];
  const keys = new Set<string>();
  for (const { type, data } of streams.get("retry_p") ?? []) {
    must(type === "RetryAsked" || type === "RecordsDiscarded", "it holds something else", "retry_p");
    const asked = type === "RetryAsked" ? data.items.length : 0;
    must(data.first === rows.length && data.count === asked, "I is not dense", "retry_p");
    for (const { n, k = 0, stage = "", revision, index } of data.items) {
      const key = `${data.unit}@${n}.${k}/${stage}`;
      must(!keys.has(key), `${key} is decided about twice`, "retry_p");
      keys.add(key);
      const event = streams.get(data.unit.replace(/^[a-z]+_/, "quarantine_"))?.[revision];
      must(event?.type === "RecordsQuarantined", `${key} is not where it is said to be`, "retry_p");
      const record = event.data.records[index];
      must(record?.n === n && record.stage === stage && record.k === k, `${key} is another`, "retry_p");
      if (type === "RecordsDiscarded") continue;
      rows.push({
        unit: data.unit,
        n,
        stage,
        k,
        root: record.root ?? "",
        path: hex(record.path ?? Buffer.alloc(0)),
      });
    }
  }
  return rows;
}

/** Ordinals of the records that a source has accepted. */
export async function acceptedOrdinals(log: EventLog, pipeline: string, source: string): Promise<number[]> {
  const ordinals: number[] = [];
  if ((await log.streamInfo(`source_${pipeline}.${source}`)) === undefined) return ordinals;
  for await (const event of log.read(`source_${pipeline}.${source}`)) {
    const { data } = decodeEvent(event);
    if ("ordinals" in data && data.ordinals !== undefined)
      ordinals.push(...decodeDeltas(data.ordinals, data.count));
  }
  return ordinals;
}

function must(holds: boolean, rule: string, where: string): asserts holds {
  if (!holds) throw new Error(`${where}: ${rule}`);
}

/** Checks what holds for the streams of doors and partitions alike, event by event. */
class Progress {
  readonly #stream: string;
  #next = 0;
  #through = -1;
  #epoch = 0;

  constructor(stream: string) {
    this.#stream = stream;
  }

  claimed(data: { readonly first: number; readonly through: number; readonly epoch: number }): void {
    must(data.first === this.#next, `first is ${data.first}, ${this.#next} is next`, this.#stream);
    must(data.through >= this.#through, "through descends at a claim", this.#stream);
    must(data.epoch === this.#epoch + 1, "a claim does not count epochs", this.#stream);
    this.#through = data.through;
    this.#epoch = data.epoch;
  }

  recorded(
    data: {
      readonly first: number;
      readonly count: number;
      readonly through: number;
      readonly epoch: number;
    },
    ordinals: readonly number[],
  ): void {
    must(data.first === this.#next, `first is ${data.first}, ${this.#next} is next`, this.#stream);
    must(data.epoch === this.#epoch, `epoch ${data.epoch} writes after epoch ${this.#epoch}`, this.#stream);
    must(
      data.through >= this.#through,
      `through descends from ${this.#through} to ${data.through}`,
      this.#stream,
    );
    for (const ordinal of ordinals) {
      must(ordinal > this.#through, `ordinal ${ordinal} comes after through ${this.#through}`, this.#stream);
    }
    this.#next += data.count;
    this.#through = data.through;
  }
}

function sourceRows(streams: Streams, name: string): SourceRow[] {
  const rows: SourceRow[] = [];
  const progress = new Progress(name);
  for (const { type, data } of streams.get(name) ?? []) {
    if (type === "DoorClaimed") progress.claimed(data);
    if (type !== "RecordsAccepted" && type !== "InputEnded") continue;
    const ordinals = data.ordinals === undefined ? [] : decodeDeltas(data.ordinals, data.count);
    progress.recorded(data, ordinals);
    if (data.count > 0) rows.push(...acceptedRows(streams, name, data, ordinals));
  }
  for (const [at, row] of rows.entries()) {
    must(at === 0 || (rows[at - 1] as SourceRow).ordinal < row.ordinal, "ordinals do not rise", name);
  }
  return rows;
}

function acceptedRows(
  streams: Streams,
  name: string,
  data: RecordsAccepted,
  ordinals: readonly number[],
): SourceRow[] {
  const times = data.times === undefined ? undefined : decodeDeltas(data.times, data.count);
  const ids = data.ids === undefined ? undefined : decodeTexts(data.ids, data.count);
  const partitions = partitionsOf(data.sections, data.count, name);
  const ahead = data.aheadRows === undefined ? [] : decodeDeltas(data.aheadRows);
  const records = storedRecords(streams, name, data, -1, [...ordinals.keys()], data.count);
  return ordinals.map((ordinal, row) => {
    const record = records.get(row) as Uint8Array;
    const digest = digestAt(data.digests, row);
    must(
      digest === undefined || digest === digestOf(record),
      `N ${data.first + row} is not what was digested`,
      name,
    );
    return {
      n: data.first + row,
      ordinal,
      digest,
      partition: partitions?.[row],
      time: times?.[row],
      believed: !ahead.includes(row),
      id: ids?.[row],
      record: hex(record),
    };
  });
}

/** Steps in order, without those that change nothing: a door that is begun again says once more that it has ended. */
function watermarkRows(events: readonly TypedEvent[], name: string): WatermarkRow[] {
  const steps: WatermarkRow[] = [];
  for (const { data } of events) {
    const columns = (data as { readonly watermark?: WatermarkColumns }).watermark;
    const through = (data as { readonly through?: number }).through ?? -1;
    const found = columns === undefined ? [] : decodeWatermarks(columns);
    const rows = found.map(({ ordinal, watermark }) => ({ ordinal, ...watermark }));
    const last = steps.at(-1);
    const [first, ...others] = rows;
    if (last !== undefined) {
      must(first !== undefined, "an event does not say which step is in force", name);
      must(same(first, last), `an event begins with the step ${first.ordinal}, not ${last.ordinal}`, name);
    }
    for (const row of last === undefined ? rows : others) {
      must(row.ordinal > (steps.at(-1)?.ordinal ?? -1), "steps do not rise", name);
      // Records of its own ordinal may be still to come.
      must(row.ordinal <= through + 1, "a step is not yet complete", name);
      steps.push(row);
    }
  }
  return steps.filter((step, at) => {
    const before = steps[at - 1];
    return before?.status !== step.status || before.time !== step.time;
  });
}

function same(a: WatermarkRow, b: WatermarkRow): boolean {
  return a.ordinal === b.ordinal && a.status === b.status && a.time === b.time;
}

function inputRows(streams: Streams, name: string): InputRow[] {
  const rows: InputRow[] = [];
  const progress = new Progress(name);
  let cursors: Cursors | undefined;
  for (const { type, data } of streams.get(name) ?? []) {
    if (type === "PartitionClaimed") {
      progress.claimed(data);
      must(cursors === undefined || sameCursors(cursors, data.cursors), "a claim moves the cursors", name);
      cursors = data.cursors;
    }
    if (type !== "StepsRecorded") continue;
    const ordinals = data.ordinals === undefined ? [] : decodeDeltas(data.ordinals, data.count);
    progress.recorded(data, ordinals);
    must(
      cursors !== undefined && sameCursors(cursors, data.from),
      "a batch does not begin at the cursors",
      name,
    );
    cursors = data.to;
    if (data.count > 0) rows.push(...stepRows(streams, name, data, ordinals));
  }
  for (const [at, row] of rows.entries()) {
    const before = rows[at - 1];
    must(before === undefined || isBefore(before, row), `${row.n} is not in logical order`, name);
  }
  return rows;
}

function isBefore(a: InputRow, b: InputRow): boolean {
  if (a.ordinal !== b.ordinal) return a.ordinal < b.ordinal;
  return a.rank === b.rank ? a.path < b.path : a.rank < b.rank;
}

function sameCursors(a: Cursors, b: Cursors): boolean {
  const text = (cursors: Cursors) => JSON.stringify(Object.entries(cursors).sort());
  return text(a) === text(b);
}

/** A stage's rows over a whole batch. */
interface BatchRows {
  readonly count: number;
  readonly parent: readonly number[];
  /** The input, counted in the batch. */
  readonly origin: readonly number[];
  readonly paths: readonly string[];
}

function stepRows(
  streams: Streams,
  name: string,
  data: StepsRecorded,
  ordinals: readonly number[],
): InputRow[] {
  const { count } = data;
  const every = <T>(value: T): T[] => new Array<T>(count).fill(value);
  const named = data.streams ?? [];
  must(
    [...new Set(named)].sort().join() === named.join(),
    "the upstream streams are not in their order",
    name,
  );
  const parents = decodeDeltas(data.parents ?? new Uint8Array(), count);
  const parentKs = data.parentKs === undefined ? every(0) : decodePlain(data.parentKs, count);
  const upstream = data.upstream === undefined ? every(0) : decodeRuns(data.upstream, count);
  const source = data.source === undefined ? every(0) : decodeRuns(data.source, count);
  const roots = data.roots === undefined ? parents : decodeDeltas(data.roots, count);
  const times: (number | undefined)[] =
    data.times === undefined ? every(undefined) : decodeDeltas(data.times, count);
  for (const row of data.timeless === undefined ? [] : decodeDeltas(data.timeless)) times[row] = undefined;
  const inputs: BatchRows = {
    count,
    parent: [],
    origin: [...every(0).keys()],
    paths: data.paths === undefined ? every("") : decodeByteTexts(data.paths, count),
  };
  const stages: BatchRows[] = [];
  const rowsOf = (stage: number) => (stage < 0 ? inputs : (stages[stage] as BatchRows));
  const firings = data.firings === undefined ? [] : decodeDeltas(data.firings);
  for (const columns of data.stages ?? []) stages.push(batchRows(columns, rowsOf(columns.input)));
  const members = (data.stages ?? []).map((columns, at) =>
    membersOf(streams, name, columns, stages[at] as BatchRows, data.first),
  );
  const outputs = outputRows(streams, name, data, rowsOf);
  const quarantined = quarantinedRecords(streams, name, data.quarantine);
  return ordinals.map((ordinal, row) => ({
    n: data.first + row,
    parent: firings.includes(row)
      ? undefined
      : `${data.streams?.[upstream[row] as number]}@${parents[row]}.${parentKs[row]}`,
    ordinal,
    source: data.sources?.[source[row] as number] ?? "",
    // What was put back comes before all others, and is listed only where there is some.
    rank: (source[row] as number) - (data.sources?.[0] === "" ? 1 : 0),
    root: roots[row] as number,
    path: hex(Buffer.from(inputs.paths[row] as string, "latin1")),
    time: times[row],
    stages: (data.stages ?? []).map((columns, at) =>
      rowsOfInput(columns, stages[at] as BatchRows, rowsOf(columns.input), row, members[at]),
    ),
    outputs: outputs.filter(({ origin }) => origin === row).map(({ output }) => output),
    quarantined: quarantined
      .filter(({ n }) => n === data.first + row)
      .map(({ stage, code, message, record }) => ({ stage, code, message, record: hex(record) })),
  }));
}

function batchRows(columns: StageColumns, ahead: BatchRows): BatchRows {
  const results =
    columns.results === undefined
      ? new Array<number>(ahead.count).fill(1)
      : decodeRuns(columns.results, ahead.count);
  const parent: number[] = [];
  const paths: string[] = [];
  for (const [row, count] of results.entries()) {
    for (let index = 0; index < count; index++) {
      parent.push(row);
      const branch = columns.branch === undefined ? "" : `${columns.branch}\0`;
      paths.push(`${ahead.paths[row]}${branch}${columns.indexed ? indexOnPath(index) : ""}`);
    }
  }
  return { count: parent.length, parent, paths, origin: parent.map((row) => ahead.origin[row] as number) };
}

function indexOnPath(index: number): string {
  const bytes = [];
  for (let rest = index; rest > 0; rest >>= 8) bytes.unshift(rest & 0xff);
  return index < 0xf8 ? String.fromCharCode(index) : String.fromCharCode(0xf7 + bytes.length, ...bytes);
}

/** For each row of a window or join the N's that it was made of. */
function membersOf(
  streams: Streams,
  name: string,
  { members, membersIn }: StageColumns,
  rows: BatchRows,
  first: number,
): number[][] | undefined {
  const beside = streams.get(name.replace(/^[a-z]+_/, "members_")) ?? [];
  const events = membersIn && beside.slice(membersIn.revision, membersIn.revision + membersIn.events);
  const bytes =
    events === undefined
      ? members
      : Buffer.concat(
          events.map(({ type, data }) => (type === "MembersNamed" ? data.bytes : Buffer.alloc(0))),
        );
  if (bytes === undefined) return undefined;
  const input = new ColumnReader(bytes);
  const sets = rows.origin.map((origin) => {
    const set: number[] = [];
    let next = 0;
    for (let runs = input.uvarint(); runs > 0; runs--) {
      next += input.uvarint();
      for (let length = input.uvarint(); length > 0; length--) set.push(next++);
    }
    must(
      set.every((n) => n <= first + origin),
      "a result is made of what comes after it",
      name,
    );
    return set;
  });
  must(input.done, "there are more members than results", name);
  return sets;
}

function rowsOfInput(
  columns: StageColumns,
  rows: BatchRows,
  ahead: BatchRows,
  input: number,
  members: readonly (readonly number[])[] | undefined,
): StageRows {
  const kinds = columns.kinds === undefined ? undefined : decodeRuns(columns.kinds, rows.count);
  const label = columns.label === undefined ? undefined : decodeRuns(columns.label, rows.count);
  const late = columns.late === undefined ? [] : decodeDeltas(columns.late);
  const offset = ahead.origin.indexOf(input);
  const previous = columns.previous === undefined ? undefined : decodePlain(columns.previous, rows.count);
  const failed = columns.failed === undefined ? [] : decodeDeltas(columns.failed);
  return {
    rows: [...rows.origin.keys()]
      .filter((row) => rows.origin[row] === input)
      .map((row) => ({
        from: (rows.parent[row] as number) - offset,
        digest: digestAt(columns.digests, row),
        previous: previous?.[row],
        path: hex(Buffer.from(rows.paths[row] as string, "latin1")),
        kind: members === undefined ? undefined : (kinds?.[row] ?? 0),
        members: members?.[row],
        label: columns.labels?.[label?.[row] ?? -1],
      })),
    failed: failed.filter((row) => ahead.origin[row] === input).map((row) => row - offset),
    late: late.filter((row) => ahead.origin[row] === input).map((row) => row - offset),
    input: columns.input,
  };
}

function outputRows(
  streams: Streams,
  name: string,
  data: StepsRecorded,
  rowsOf: (stage: number) => BatchRows,
): { origin: number; output: OutputRow }[] {
  const outlets = data.outlets ?? [];
  const inStored = outlets.map(({ stage, stored }) => {
    let rows = [...rowsOf(stage).origin.keys()];
    for (let at = stage; at !== stored; at = data.stages?.[at]?.input ?? -1) {
      rows = rows.map((row) => rowsOf(at).parent[row] as number);
    }
    return rows;
  });
  const nextK = new Array<number>(data.count).fill(0);
  return outlets.flatMap(({ stage, stored, sections, keys }, outlet) => {
    const reaching = outlets.flatMap((other, at) =>
      other.stored === stored ? (inStored[at] as number[]) : [],
    );
    const storedRows = [...new Set(reaching)].sort((a, b) => a - b);
    const records = storedRecords(streams, name, data, stored, storedRows, rowsOf(stored).count);
    const rows = rowsOf(stage);
    const partitions = partitionsOf(sections, rows.count, name);
    const kept = keys === undefined ? undefined : decodeByteTexts(keys, rows.count);
    return rows.origin.map((origin, row) => {
      const storedRow = inStored[outlet]?.[row] as number;
      const record = records.get(storedRow) as Uint8Array;
      const digest = stored < 0 ? undefined : digestAt(data.stages?.[stored]?.digests, storedRow);
      const k = nextK[origin] as number;
      must(
        digest === undefined || digest === digestOf(record),
        `${data.first + origin}.${k} is not what was digested`,
        name,
      );
      nextK[origin] = k + 1;
      const path = hex(Buffer.from(rows.paths[row] as string, "latin1"));
      const key = kept === undefined ? undefined : hex(Buffer.from(kept[row] as string, "latin1"));
      const place = { stage, row: row - rows.origin.indexOf(origin), partition: partitions?.[row] };
      return { origin, output: { k, outlet, ...place, path, key, record: hex(record) } };
    });
  });
}

function partitionsOf(
  sections: readonly Section[] | undefined,
  count: number,
  where: string,
): number[] | undefined {
  if (sections === undefined) return undefined;
  const partitions: number[] = [];
  for (const [partition, rows] of sections) {
    for (const row of decodeDeltas(rows)) {
      must(partitions[row] === undefined && row < count, `row ${row} is in two sections`, where);
      partitions[row] = partition;
    }
  }
  for (let row = 0; row < count; row++)
    must(partitions[row] !== undefined, `row ${row} is in no section`, where);
  return partitions;
}

/** The records of a stage by their rows; each row of `leaving` has to be in one of both streams, and no other in transit. */
function storedRecords(
  streams: Streams,
  main: string,
  data: Pick<StepsRecorded, "payload" | "transit" | "captured">,
  stage: number,
  leaving: readonly number[],
  count: number,
): Map<number, Uint8Array> {
  const captured = data.captured?.find((one) => one.stage === stage);
  const all = [...new Array<number>(count).keys()];
  const kept =
    captured === undefined ? leaving : captured.rows === undefined ? all : decodeDeltas(captured.rows);
  const records = new Map<number, Uint8Array>();
  const place = (rows: readonly number[], found: readonly Uint8Array[]) => {
    must(found.length === rows.length, `${found.length} records are stored of ${rows.length}`, main);
    for (const [at, row] of rows.entries()) records.set(row, found[at] as Uint8Array);
  };
  place(kept, blockRecords(streams, main, "payload", data.payload, stage));
  const rest = leaving.filter((row) => !kept.includes(row));
  place(rest, blockRecords(streams, main, "transit", data.transit, stage));
  return records;
}

function blockRecords(
  streams: Streams,
  main: string,
  beside: "payload" | "transit",
  range: EventRange | undefined,
  stage: number,
): Uint8Array[] {
  const records: Uint8Array[] = [];
  if (range === undefined) return records;
  const events = (streams.get(main.replace(/^[a-z]+_/, `${beside}_`)) ?? []).slice(
    range.revision,
    range.revision + range.events,
  );
  must(events.length === range.events, "the payload that an event refers to is not there", main);
  for (const { type, data } of events) {
    must(type === "RecordsStored", "a payload holds something else", main);
    for (const block of data.blocks) {
      if (block.stage !== stage) continue;
      let at = 0;
      for (const length of decodePlain(block.lengths)) {
        records.push(block.bytes.subarray(at, at + length));
        at += length;
      }
      must(at === block.bytes.length, "a block is longer than its records", main);
    }
  }
  return records;
}

function quarantinedRecords(
  streams: Streams,
  main: string,
  range: EventRange | undefined,
): QuarantinedRecord[] {
  if (range === undefined) return [];
  const events = (streams.get(main.replace(/^[a-z]+_/, "quarantine_")) ?? []).slice(
    range.revision,
    range.revision + range.events,
  );
  return events.flatMap(({ type, data }) => {
    must(type === "RecordsQuarantined", "a quarantine holds something else", main);
    return data.records;
  });
}

/** Every input has to be what its parent's address names. */
function checkParents({ sources, partitions, retries }: LogContent): void {
  for (const [stream, inputs] of Object.entries(partitions)) {
    const taken = new Set<string>();
    for (const input of inputs) {
      const where = `${stream}@${input.n}`;
      if (input.parent === undefined) {
        must(input.root === input.ordinal, "is a firing with another root than its ordinal", where);
        continue;
      }
      const [, name = "", n, k] = /^(.*)@(\d+)\.(\d+)$/.exec(input.parent) ?? [];
      must(!taken.has(`${input.parent} ${input.path}`), `takes ${input.parent} twice`, where);
      taken.add(`${input.parent} ${input.path}`);
      if (name === "retry_p") {
        const asked = retries[Number(n)];
        must(asked?.unit === stream, `takes ${input.parent}, which is another's`, where);
        const before = partitions[stream]?.[asked.n];
        must(before !== undefined && before.n < input.n, `${input.parent} was never there`, where);
        must(before.time === input.time, "has not its event time any more", where);
        must(before.ordinal <= input.ordinal, "came back before it was there", where);
        must(input.root === Number(n) && input.source === "", "is not its own root", where);
        continue;
      }
      const record = sources[name]?.[Number(n)];
      const parent = partitions[name]?.[Number(n)];
      const output = parent?.outputs[Number(k)];
      must(record !== undefined || output !== undefined, `its parent ${input.parent} is not there`, where);
      must((record ?? parent)?.ordinal === input.ordinal, "has not its parent's ordinal", where);
      must((record?.time ?? parent?.time) === input.time, "has not its parent's event time", where);
      must((record?.n ?? parent?.root) === input.root, "has not its parent's root", where);
      must(input.path.startsWith(output?.path ?? ""), "has not its parent's path", where);
    }
  }
}

function digestAt(digests: Uint8Array | undefined, row: number): string | undefined {
  return digests === undefined ? undefined : hex(digests.subarray(32 * row, 32 * row + 32));
}

function digestOf(record: Uint8Array): string {
  return createHash("sha256").update(record).digest("hex");
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
