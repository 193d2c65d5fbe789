import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { Unpackr } from "msgpackr";
import { decodeDeltas, decodePlain, decodeTexts } from "../../src/core/columns.ts";
import type {
  Chunk,
  EventRange,
  EventType,
  EventTypes,
  PipelineDeployed,
  RecordsAccepted,
  SnapshotReference,
  StepsRecorded,
} from "../../src/core/events.ts";
import { decodeWatermarks, type WatermarkColumns, type WatermarkStep } from "../../src/core/watermark.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { sha256 } from "./log-chain.ts";
import { at, hex, type Input, must, partitionOfRows, type Row, type Stage, stepsRows } from "./steps-rows.ts";

const unpackr = new Unpackr({ useRecords: false });

type Decoded = { [T in EventType]: { readonly type: T; readonly data: EventTypes[T] } }[EventType];

/**
 * What a log holds of a pipeline, as lines that depend on the input and the pipeline alone: not on batches, times,
 * restarts, nodes or what a crash left behind.
 */
export interface LogContent {
  readonly rows: readonly string[];
  /** `stream@next` → a snapshot's content: where there is one depends on batches, what it holds does not. */
  readonly snapshots: ReadonlyMap<string, string>;
  /** Everything that the sources accepted, in the order of their streams. */
  readonly accepted: readonly {
    readonly source: string;
    readonly ordinal: number;
    readonly value: unknown;
  }[];
}

/**
 * Reads a pipeline's streams. Throws where a reference does not resolve, a stored record does not have the digest
 * that was recorded, numbers are not dense, or an order is not the logical one.
 */
export async function readContent(log: EventLog, pipeline: string): Promise<LogContent> {
  const reader = new ContentReader(log, pipeline);
  await reader.readAll();
  return { rows: reader.rows, snapshots: reader.snapshots, accepted: reader.accepted };
}

class ContentReader {
  readonly rows: string[] = [];
  readonly snapshots = new Map<string, string>();
  readonly accepted: { source: string; ordinal: number; value: unknown }[] = [];
  readonly #log: EventLog;
  readonly #pipeline: string;
  /** `stream@n.k` → digest of the record. */
  readonly #digests = new Map<string, string>();
  /** `source@root` → ordinal. */
  readonly #ordinals = new Map<string, number>();
  /** I of what was put back → ordinal with which it came in. */
  readonly #retried = new Map<number, number>();
  readonly #done = new Set<string>();
  /** Rows whose places among the others depend on batches: they come after those of their stream. */
  #late: string[] = [];
  #deployed: PipelineDeployed | undefined;

  constructor(log: EventLog, pipeline: string) {
    this.#log = log;
    this.#pipeline = pipeline;
  }

  async readAll(): Promise<void> {
    await this.#readDeployments();
    const names: string[] = [];
    for await (const { stream } of this.#log.streams()) names.push(stream);
    const mine = (kind: string) =>
      names.filter((name) => name.startsWith(`${kind}_${this.#pipeline}.`)).sort();
    await this.#readRetries(`retry_${this.#pipeline}`, names);
    for (const stream of mine("source")) await this.#readSource(stream);
    for (const stream of mine("steps")) await this.#readSteps(stream);
    for (const stream of mine("sink")) await this.#readSink(stream);
  }

  async #readDeployments(): Promise<void> {
    for (const { data } of await this.#events(`pipeline_${this.#pipeline}`)) {
      const deployed = data as PipelineDeployed;
      this.#deployed = deployed;
      const code = Buffer.from(must(deployed.code)).toString("hex");
      const chunks = (await this.#events(`code_${code}`)).map(({ data }) => (data as Chunk).bytes);
      if (sha256(...chunks).toString("hex") !== code) throw new Error("the deployed code is not there");
      const { wall: _wall, from: _from, ...content } = deployed;
      this.rows.push(`deployed ${text(content)}`);
    }
  }

  /** What is put back is the record that was quarantined. */
  async #readRetries(stream: string, names: readonly string[]): Promise<void> {
    for (const { type, data } of names.includes(stream) ? await this.#events(stream) : []) {
      if (type !== "RetryAsked" || !data.unit.startsWith("steps_")) continue;
      for (const [index, { n, stage, revision, index: at }] of data.items.entries()) {
        const range = { revision, events: 1 };
        const [event] = await this.#range(beside("quarantine", data.unit), range);
        const record = event?.type === "RecordsQuarantined" ? event.data.records[at] : undefined;
        if (record?.n !== n || record.stage !== stage)
          throw new Error(`${stream}: another record is asked for`);
        const digest = sha256(record.record).toString("hex");
        this.#digests.set(`${stream}@${data.first + index}.0`, digest);
      }
    }
  }

  async #readSource(stream: string): Promise<void> {
    const source = stream.slice(stream.indexOf(".") + 1);
    let next = 0;
    let through = -1;
    let ends = 0;
    const inputs = new Map<string, string>();
    const watermark: WatermarkStep[] = [];
    for (const event of await this.#events(stream)) {
      if (!("first" in event.data) || event.data.first !== next) throw new Error(`${stream}: N is not dense`);
      if (!("through" in event.data) || event.data.through < through)
        throw new Error(`${stream}: its promise was taken back`);
      through = event.data.through;
      if (event.type !== "RecordsAccepted" && event.type !== "InputEnded") continue;
      const { data } = event;
      await this.#readAccepted(stream, source, data);
      next += data.count;
      // Version 1 kept something else under this name.
      const steps =
        data.watermark === undefined || version(data) === 1 ? [] : decodeWatermarks(data.watermark);
      watermark.push(...steps);
      if (data.input !== undefined) {
        const { name, digest, ...progress } = data.input;
        inputs.set(`${name} ${progress.round}`, `${text(progress)} ${hex(digest, 0)}`);
      }
      if (event.type === "InputEnded") ends++;
    }
    this.rows.push(...this.#late.splice(0));
    if (ends === 0) throw new Error(`${stream}: its input never ended`);
    for (const [name, progress] of inputs) this.rows.push(`${stream} input ${basename(name)} ${progress}`);
    this.#pushWatermark(stream, watermark);
  }

  /** A step that changes nothing is the one in force, said again, or an input that has ended once more. */
  #pushWatermark(stream: string, steps: readonly WatermarkStep[]): void {
    let before = "";
    for (const { ordinal, watermark } of steps) {
      const now = `${stream} watermark ${watermark.status} ${watermark.time}`;
      if (now !== before) this.rows.push(`${now} at ${this.#rootAt(ordinal)}`);
      before = now;
    }
  }

  async #readAccepted(stream: string, source: string, data: RecordsAccepted): Promise<void> {
    if (data.rejected !== undefined) await this.#readRejected(stream, data.rejected);
    const { count, first } = data;
    if (count === 0) return;
    const ordinals = decodeDeltas(must(data.ordinals), count);
    const times = data.times === undefined ? undefined : decodeDeltas(data.times, count);
    const ids = data.ids === undefined ? undefined : decodeTexts(data.ids, count);
    const partitions = partitionOfRows(data.sections);
    if (data.captured !== undefined) throw new Error(`${stream}: a pipeline keeps a part of its records`);
    const records = (await this.#payload(stream, must(data.payload))).get(-1) ?? [];
    if (records.length !== count) throw new Error(`${stream}@${first}: records are missing`);
    for (let row = 0; row < count; row++) {
      const n = first + row;
      const ordinal = at(ordinals, row);
      const digest = hex(must(data.digests), row);
      mustHave(at(records, row), digest, `${stream}@${n}`);
      const before = this.#ordinals.get(`${source}@${n - 1}`) ?? -1;
      if (ordinal <= before) throw new Error(`${stream}@${n}: its ordinal does not rise`);
      this.#ordinals.set(`${source}@${n}`, ordinal);
      this.#digests.set(`${stream}@${n}.0`, digest);
      this.accepted.push({ source, ordinal, value: unpackr.unpack(at(records, row)) });
      this.rows.push(
        `${stream}@${n} ${digest} partition ${partitions?.get(row)} time ${times?.[row]} id ${ids?.[row]}`,
      );
    }
  }

  async #readRejected(stream: string, range: EventRange & { readonly count: number }): Promise<void> {
    const records = (await this.#range(beside("quarantine", stream), range)).flatMap((event) =>
      event.type === "RecordsRejected" ? event.data.records : [],
    );
    if (records.length !== range.count) throw new Error(`${stream}: rejected records are missing`);
    for (const { input, frame, ...reason } of records) {
      this.#late.push(
        `${stream} rejected ${basename(input)} ${text(reason)} ${sha256(frame).toString("hex")}`,
      );
    }
  }

  /** The record with an ordinal, or the end of an input: that has an ordinal above all of its records. */
  #rootAt(ordinal: number): string {
    const found = Array.from(this.#ordinals).find(([, of]) => of === ordinal);
    return found?.[0] ?? "an end";
  }

  async #readSteps(stream: string): Promise<void> {
    if (this.#done.has(stream)) return;
    this.#done.add(stream);
    let next = 0;
    let through = -1;
    let cursors: Readonly<Record<string, number>> | undefined;
    let last: Input | undefined;
    const watermark: WatermarkStep[] = [];
    for (const { type, data } of await this.#events(stream)) {
      if (type !== "PartitionClaimed" && type !== "StepsRecorded") throw new Error(`${stream}: ${type}`);
      const from = type === "PartitionClaimed" ? data.cursors : data.from;
      // Those ahead first: their digests are those that inputs come with.
      for (const upstream of Object.keys(from)) {
        if (upstream.startsWith("steps_")) await this.#readSteps(upstream);
      }
      if (data.first !== next) throw new Error(`${stream}: N is not dense`);
      if (data.through < through) throw new Error(`${stream}: its promise was taken back`);
      if (cursors !== undefined && text(from) !== text(cursors))
        throw new Error(`${stream}: a gap in its cursors`);
      through = data.through;
      cursors = type === "PartitionClaimed" ? data.cursors : data.to;
      if (data.snapshot !== undefined) await this.#readSnapshot(stream, data.snapshot);
      if (data.watermark !== undefined) watermark.push(...decodeWatermarks(data.watermark));
      if (type === "PartitionClaimed" || data.count === 0) continue;
      next += data.count;
      last = await this.#readBatch(stream, data, last);
    }
    this.rows.push(...this.#late.splice(0));
    this.#pushWatermark(stream, watermark);
    this.rows.push(`${stream} at its end ${text(cursors)}`);
  }

  async #readBatch(stream: string, event: StepsRecorded, before: Input | undefined): Promise<Input> {
    const { inputs, stages, outlets } = stepsRows(
      event,
      (upstream, n, k) => must(this.#digests.get(`${upstream}@${n}.${k}`)),
      await this.#members(stream, event.stages?.[0]?.membersIn),
    );
    const lines = inputs.map((input, row) => {
      this.#checkOrder(stream, row === 0 ? before : inputs[row - 1], input);
      const path = Buffer.from(input.path, "latin1").toString("hex");
      const parent = input.firing ? "a step" : `${input.upstream}@${input.parentN}.${input.parentK}`;
      return [
        `${stream}@${event.first + row} of ${parent}`,
        `root ${this.#rootOf(input)} path ${path} time ${input.time}`,
      ];
    });
    for (const [index, stage] of stages.entries()) {
      for (const [origin, steps] of stepsByOrigin(
        stage,
        stage.input < 0 ? inputs : at(stages, stage.input).rows,
      )) {
        at(lines, origin).push(`${index}: ${steps.join(" ")}`);
      }
    }
    if (event.captured !== undefined) throw new Error(`${stream}: a pipeline keeps a part of its records`);
    const payload = event.payload === undefined ? new Map() : await this.#payload(stream, event.payload);
    for (const { stored, rows } of outlets) {
      // Of the stored stage those rows are kept that reach an outlet, in their order.
      const sharing = outlets.filter((other) => other.stored === stored);
      const kept = [...new Set(sharing.flatMap((outlet) => outlet.rows.map((row) => row.storedRow)))];
      const places = new Map(kept.sort((a, b) => a - b).map((row, index) => [row, index]));
      const records: readonly Buffer[] = payload.get(stored) ?? [];
      if (records.length !== places.size) throw new Error(`${stream}@${event.first}: records are missing`);
      for (const { row, k, partition, storedRow } of rows) {
        const address = `${stream}@${event.first + row.origin}.${k}`;
        mustHave(at(records, must(places.get(storedRow))), row.digest, address);
        this.#digests.set(address, row.digest);
        at(lines, row.origin).push(`.${k} ${row.digest} to ${partition}`);
      }
    }
    this.rows.push(...lines.map((parts) => parts.join(" | ")));
    await this.#readQuarantine(stream, event, inputs, stages);
    return must(inputs.at(-1));
  }

  /** Whether an input is, or descends from, a firing of a window or join. */
  #isFiring({ source }: Input): boolean {
    return source !== "" && !must(this.#deployed).sources.some(({ name }) => name === source);
  }

  /** Ordinals are other ones in each run. */
  #rootOf(input: Input): string {
    return `${input.source}@${this.#isFiring(input) ? this.#rootAt(input.root) : input.root}`;
  }

  async #members(stream: string, range: EventRange | undefined): Promise<Buffer | undefined> {
    if (range === undefined) return undefined;
    const events = await this.#range(beside("members", stream), range);
    return Buffer.concat(events.map(({ data }) => (data as Chunk).bytes));
  }

  #checkOrder(stream: string, before: Input | undefined, input: Input): void {
    if (input.upstream === `retry_${this.#pipeline}`) {
      if (this.#retried.has(input.root)) throw new Error(`${stream}: ${input.root} was put back twice`);
      this.#retried.set(input.root, input.ordinal);
    }
    const ofRecord =
      input.source === ""
        ? this.#retried.get(input.root)
        : this.#ordinals.get(`${input.source}@${input.root}`);
    const ordinal = this.#isFiring(input) ? input.root : ofRecord;
    if (ordinal !== input.ordinal) {
      throw new Error(`${stream}: an input of ${input.source}@${input.root} has not its ordinal`);
    }
    const place = (of: Input) => [of.ordinal, of.rank, of.path] as const;
    if (before !== undefined && compare(place(before), place(input)) >= 0) {
      throw new Error(`${stream}: inputs are not in logical order at ${input.source}@${input.root}`);
    }
  }

  async #readQuarantine(
    stream: string,
    event: StepsRecorded,
    inputs: readonly Input[],
    stages: readonly Stage[],
  ): Promise<void> {
    const failed = stages.reduce((sum, stage) => sum + stage.failed.size, 0);
    const range = event.quarantine;
    const records = (
      range === undefined ? [] : await this.#range(beside("quarantine", stream), range)
    ).flatMap(({ type, data }) => (type === "RecordsQuarantined" ? data.records : []));
    if (records.length !== failed)
      throw new Error(`${stream}@${event.first}: quarantined records are missing`);
    const segment = stream.slice(stream.indexOf(".") + 1, stream.lastIndexOf("."));
    const names = must(this.#deployed).stages.filter((stage) => stage.segment === segment);
    for (const { n, stage, row, code, message, where, record } of records) {
      const columns = at(
        stages,
        names.findIndex(({ name }) => name === stage),
      );
      const input: Row = at(columns.input < 0 ? inputs : at(stages, columns.input).rows, row);
      if (!columns.failed.has(row) || event.first + input.origin !== n) {
        throw new Error(`${stream}@${n}: its quarantined record is of another step`);
      }
      mustHave(Buffer.from(record), input.digest, `${stream}@${n} in quarantine`);
      this.#late.push(`${stream}@${n} quarantined ${text({ stage, code, message, where })} ${input.digest}`);
    }
  }

  async #readSnapshot(stream: string, reference: SnapshotReference): Promise<void> {
    const { revision, chunks, digest, next } = reference;
    const events = await this.#range(beside("state", stream), { revision, events: chunks });
    const bytes = Buffer.concat(events.map(({ data }) => (data as Chunk).bytes));
    mustHave(bytes, hex(digest, 0), `${stream}, snapshot ${revision}`);
    const snapshot = unpackr.unpack(bytes) as {
      readonly through: number;
      readonly next: number;
      readonly watermark?: WatermarkColumns;
    };
    const { through: _through, watermark, ...content } = snapshot;
    if (content.next !== next) throw new Error(`${stream}: the snapshot is of another place`);
    // What windows keep may change with event time alone.
    const now = watermark === undefined ? undefined : decodeWatermarks(watermark).at(-1)?.watermark;
    const place = now === undefined ? `${stream}@${next}` : `${stream}@${next} ${now.status} ${now.time}`;
    this.snapshots.set(place, text(content));
  }

  async #readSink(stream: string): Promise<void> {
    interface Delivered {
      next: number;
      cursors: string;
      bytes: number;
      file: Buffer | undefined;
    }
    const targets = new Map<string, Delivered>();
    for (const { type, data } of await this.#events(stream)) {
      if (type === "SinkOpened") {
        const path = data.target.startsWith("file:") ? data.target.slice("file:".length) : undefined;
        const file = path !== undefined && existsSync(path) ? readFileSync(path) : undefined;
        targets.set(data.target, { next: 0, cursors: text(data.cursors), bytes: 0, file });
      }
      if (type !== "OutputsDelivered") continue;
      const target = must(targets.get(data.target));
      if (data.first !== target.next || text(data.from) !== target.cursors) {
        throw new Error(`${stream}: a gap between deliveries`);
      }
      if (data.digest !== undefined && target.file !== undefined) {
        mustHave(target.file.subarray(target.bytes, data.bytes), hex(data.digest, 0), `${data.target}`);
      }
      target.next += data.count;
      target.cursors = text(data.to);
      target.bytes = data.bytes;
    }
    for (const [target, { next, cursors, bytes, file }] of targets) {
      if (file !== undefined && file.length !== bytes)
        throw new Error(`${target}: ${bytes} bytes were delivered`);
      this.rows.push(`${stream} to ${basename(target)}: ${next} records, ${bytes} bytes, ${cursors}`);
    }
  }

  /** Block → records. */
  async #payload(stream: string, range: EventRange): Promise<Map<number, Buffer[]>> {
    const blocks = new Map<number, Buffer[]>();
    for (const { type, data } of await this.#range(beside("payload", stream), range)) {
      if (type !== "RecordsStored") throw new Error(`${stream}: its payload is a ${type}`);
      for (const { stage, lengths, bytes } of data.blocks) {
        const records = blocks.get(stage) ?? [];
        blocks.set(stage, records);
        let start = 0;
        for (const length of decodePlain(lengths)) {
          records.push(Buffer.from(bytes.subarray(start, start + length)));
          start += length;
        }
        if (start !== bytes.length) throw new Error(`${stream}: a block is longer than its records`);
      }
    }
    return blocks;
  }

  async #range(stream: string, { revision, events }: EventRange): Promise<Decoded[]> {
    const found: Decoded[] = [];
    for await (const event of this.#log.read(stream, { from: revision, limit: events }))
      found.push(decode(event));
    if (found.length !== events) throw new Error(`${stream}@${revision}: ${events} events should be here`);
    return found;
  }

  async #events(stream: string): Promise<Decoded[]> {
    const found: Decoded[] = [];
    for await (const event of this.#log.read(stream)) found.push(decode(event));
    return found;
  }
}

/** Input of the segment → what became of it at the stage: `x` failed, else the digests of what came out. */
function stepsByOrigin(stage: Stage, ahead: readonly Row[]): Map<number, string[]> {
  const steps = new Map<number, string[]>();
  let next = 0;
  for (const [row, { origin }] of ahead.entries()) {
    const words = steps.get(origin) ?? [];
    steps.set(origin, words);
    const results = at(stage.results, row);
    if (stage.failed.has(row)) words.push("x");
    else if (!stage.own) words.push(String(results));
    else words.push(`[${stage.rows.slice(next, next + results).map((result) => result.digest)}]`);
    if (stage.previous !== undefined) words.push(`after ${stage.previous.slice(next, next + results)}`);
    if (stage.late.has(row)) words.push("late");
    for (const column of [stage.kinds, stage.labels, stage.members]) {
      if (column !== undefined && results > 0) words.push(column.slice(next, next + results).join(" "));
    }
    next += results;
  }
  return steps;
}

/** The version that an event was written with: readers of the program see the newest only. */
function version(data: { readonly v: number }): number {
  return data.v;
}

function decode(event: { readonly type: string; readonly data: Uint8Array }): Decoded {
  return { type: event.type, data: unpackr.unpack(Buffer.from(event.data)) } as Decoded;
}

function beside(kind: string, main: string): string {
  return `${kind}${main.slice(main.indexOf("_"))}`;
}

function mustHave(record: Buffer, digest: string, where: string): void {
  if (sha256(record).toString("hex") !== digest)
    throw new Error(`${where}: the record does not have its digest`);
}

function compare<T extends readonly (number | string)[]>(a: T, b: T): number {
  for (const [index, of] of a.entries()) {
    const other = b[index] as typeof of;
    if (of !== other) return of < other ? -1 : 1;
  }
  return 0;
}

/** JSON with bytes as hex. */
function text(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    const bytes = part as { readonly type?: unknown; readonly data?: unknown };
    return bytes?.type === "Buffer" ? Buffer.from(bytes.data as number[]).toString("hex") : part;
  });
}
