import type { StandardSchemaV1 } from "@standard-schema/spec";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { checkName } from "../core/names.ts";
import { checkStage } from "./ancestry.ts";
import { type CaptureOptions, captureOptions, capturesOf } from "./capture.ts";
import type {
  Key,
  PipelineDefinition,
  SinkDefinition,
  SourceDefinition,
  StageDefinition,
  WatermarkPolicy,
} from "./definition.ts";
import { type Duration, durationMs } from "./duration.ts";
import { mustBeKnownOptions } from "./known-options.ts";
import type { Output } from "./output.ts";
import { type RetentionOptions, retentionPolicy } from "./retention.ts";
import { KeyedStream, type Stream } from "./stream.ts";

/** Settings of a pipeline. `partitions` is fixed for the pipeline's life; the others may change at any run. */
export interface PipelineOptions {
  /** How many ways keys are divided: 1 to 128, 8 if absent. */
  readonly partitions?: number;
  /** Records in a batch at most: 1 to 8,192, 512 if absent. */
  readonly batchRecords?: number;
  /** A batch is closed this long after its first record: 1 to 60,000 ms, 10 if absent. */
  readonly tickMs?: number;
  /** How long history is kept; for ever if absent. */
  readonly retention?: RetentionOptions;
}

/** What is known of a source's records. */
export interface SourceOptions<Schema extends StandardSchemaV1 | undefined, T, K extends Key | undefined>
  extends CaptureOptions {
  /** A Standard Schema (zod, valibot, arktype, …): validates each record, and its output is the record. */
  readonly schema?: Schema;
  /** Records of one key stay in one partition and in their order. Without it they are spread evenly. */
  readonly key?: (record: T) => K;
  /** When it happened: ISO 8601 text (UTC where it names no offset), or milliseconds since 1970. */
  readonly eventTime?: (record: T) => string | number;
  /** The sender's own identity of the record: a second record with it is a duplicate and is not taken. */
  readonly id?: (record: T) => string | number;
  /** How windows and joins follow the event times of this source. */
  readonly watermark?: WatermarkOptions;
}

/** When a source counts as having come to a time: see "Event time" in the README. */
export interface WatermarkOptions {
  /** So much earlier than those before it a record's event time may be, without being late; 0 if absent. */
  readonly outOfOrderness?: Duration;
  /** After so much silence other sources do not wait for this one any more; they do if absent. */
  readonly idleAfter?: Duration;
  /**
   * A record whose event time is further ahead of all before it than this moves the time on only when several in a
   * row are: one broken clock must not close every window. `"1d"` if absent.
   */
  readonly maxAhead?: Duration;
}

type RecordOf<Schema> = Schema extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<Schema> : unknown;

/**
 * Begins the definition of a pipeline. Throws `BadName` or `BadPipeline`.
 *
 * ```ts
 * const p = pipeline("orders");
 * p.source("web", { schema: Order, key: (o) => o.customer }).map("total", (o) => ({ sum: o.price * o.count })).sink("totals");
 * export default p;
 * ```
 */
export function pipeline(name: string, options: PipelineOptions = {}): Pipeline {
  return new Pipeline(name, options);
}

/** A pipeline under construction. Made by {@link pipeline}; a module's default export. */
export class Pipeline {
  readonly name: string;
  readonly #options: Pick<PipelineDefinition, "partitions" | "batchRecords" | "tickMs" | "retention">;
  readonly #sources: SourceDefinition[] = [];
  readonly #stages: StageDefinition[] = [];
  readonly #sinks: SinkDefinition[] = [];
  readonly #names = new Set<string>();

  constructor(name: string, options: PipelineOptions) {
    checkName("pipeline", name);
    mustBeKnownOptions(options, "pipeline", name);
    this.name = name;
    this.#options = {
      partitions: wholeNumber(options.partitions ?? LIMITS.partitions, "partitions", LIMITS.partitionsMost),
      batchRecords: wholeNumber(
        options.batchRecords ?? LIMITS.batchRecords,
        "batchRecords",
        LIMITS.batchRecordsMost,
      ),
      tickMs: wholeNumber(options.tickMs ?? LIMITS.tickMs, "tickMs", LIMITS.tickMsMost),
      ...(options.retention !== undefined && {
        retention: retentionPolicy(options.retention, "retention"),
      }),
    };
  }

  /** Declares a source with a key: its records can be reduced by it. */
  source<Schema extends StandardSchemaV1 | undefined, K extends Key>(
    name: string,
    options: SourceOptions<Schema, RecordOf<Schema>, K> & { key: (record: RecordOf<Schema>) => K },
  ): KeyedStream<RecordOf<Schema>, K>;
  /** Declares a source without a key. */
  source<Schema extends StandardSchemaV1 | undefined = undefined>(
    name: string,
    options?: SourceOptions<Schema, RecordOf<Schema>, undefined>,
  ): Stream<RecordOf<Schema>>;
  source(name: string, declared: object = {}): KeyedStream<never, never> & Stream<never> {
    checkName("source", name);
    this.#claimName(name, "source");
    mustBeKnownOptions(declared, "source", name);
    const options = declared as Partial<SourceDefinition> & { readonly watermark?: WatermarkOptions };
    for (const part of ["key", "eventTime", "id"] as const) {
      if (options[part] === undefined || typeof options[part] === "function") continue;
      throw new HeadwaterError("BadPipeline", `the source's ${part} is not a function`, {
        where: `source ${name}`,
        hint: `Give one that answers it for a record, such as ${part}: (record) => record.${SUCH_AS[part]}.`,
      });
    }
    const source: SourceDefinition = {
      kind: "source",
      name,
      schema: options.schema,
      key: options.key,
      eventTime: options.eventTime,
      id: options.id,
      watermark: watermarkPolicy(options.watermark ?? {}, `source ${name}`, options.eventTime !== undefined),
      ...captureOptions(options, "source", name),
    };
    this.#sources.push(source);
    const output = this.#output(name);
    // Without a key the type says Stream, so that the methods of a keyed one cannot be reached.
    return new KeyedStream(output);
  }

  /** Several streams as one, in logical order. The key stays where all of them have one. */
  union<T, K extends Key>(
    name: string,
    ...streams: readonly [KeyedStream<T, K>, KeyedStream<T, K>, ...KeyedStream<T, K>[]]
  ): KeyedStream<T, K>;
  /** Several streams as one, in logical order. */
  union<T>(name: string, ...streams: readonly [Stream<T>, Stream<T>, ...Stream<T>[]]): Stream<T>;
  union<T>(name: string, ...streams: readonly Stream<T>[]): KeyedStream<T, never> & Stream<T> {
    const inputs = streams.map((stream) => {
      if (stream.output.owner !== this) {
        throw new HeadwaterError("BadPipeline", "a union joins a stream of another pipeline", {
          where: `stage ${name}`,
        });
      }
      return stream.output.name;
    });
    if (new Set(inputs).size !== inputs.length) {
      throw new HeadwaterError("BadPipeline", "a union names the same stream twice", {
        where: `stage ${name}`,
      });
    }
    return new KeyedStream(this.#addStage({ kind: "union", name, inputs, onError: "skip" }));
  }

  /** The definition as data. Throws `BadPipeline` for a pipeline that could not run. */
  get definition(): PipelineDefinition {
    if (this.#sources.length === 0) {
      throw new HeadwaterError("BadPipeline", "the pipeline has no source", {
        where: `pipeline ${this.name}`,
        hint: 'Begin with p.source("name").',
      });
    }
    capturesOf({ sources: this.#sources, stages: this.#stages });
    return {
      name: this.name,
      ...this.#options,
      sources: [...this.#sources],
      stages: [...this.#stages],
      sinks: [...this.#sinks],
    };
  }

  #output(name: string): Output {
    return {
      owner: this,
      name,
      addStage: (stage) => this.#addStage(stage),
      addSink: (sink) => {
        checkName("sink", sink);
        if (this.#sinks.some((other) => other.name === sink)) {
          throw new HeadwaterError("BadPipeline", `two sinks have the name ${JSON.stringify(sink)}`, {
            where: `pipeline ${this.name}`,
          });
        }
        this.#sinks.push({ kind: "sink", name: sink, input: name });
      },
    };
  }

  #addStage(stage: StageDefinition): Output {
    checkName("stage", stage.name);
    this.#claimName(stage.name, "stage");
    checkStage(stage, { sources: this.#sources, stages: this.#stages });
    this.#stages.push(stage);
    return this.#output(stage.name);
  }

  /** Sources and stages share one space of names: addresses and stream names tell them apart by it. */
  #claimName(name: string, kind: string): void {
    if (this.#names.has(name)) {
      throw new HeadwaterError("BadPipeline", `the name ${JSON.stringify(name)} is used twice`, {
        where: `${kind} ${name} of pipeline ${this.name}`,
        hint: "Sources and stages of a pipeline need different names.",
      });
    }
    this.#names.add(name);
  }
}

const SUCH_AS = { key: "customer", eventTime: "time", id: "id" } as const;

const WATERMARK_OPTIONS: readonly string[] = [
  "outOfOrderness",
  "idleAfter",
  "maxAhead",
] satisfies (keyof WatermarkOptions)[];

function watermarkPolicy(options: WatermarkOptions, where: string, timed: boolean): WatermarkPolicy {
  if (!timed && Object.keys(options).length > 0) {
    throw new HeadwaterError("BadPipeline", "the source has a watermark and no event time", {
      where,
      hint: "Give it an eventTime, or leave the watermark out.",
    });
  }
  const unknown = Object.keys(options).find((name) => !WATERMARK_OPTIONS.includes(name));
  if (unknown !== undefined) {
    throw new HeadwaterError("BadPipeline", `a watermark has no option ${JSON.stringify(unknown)}`, {
      where,
      hint: `It has ${WATERMARK_OPTIONS.join(", ")}.`,
    });
  }
  const { outOfOrderness = 0, idleAfter, maxAhead = LIMITS.timeAheadMs } = options;
  return {
    outOfOrdernessMs: durationMs(outOfOrderness, "watermark.outOfOrderness", where),
    idleAfterMs: idleAfter === undefined ? undefined : durationMs(idleAfter, "watermark.idleAfter", where, 1),
    aheadMs: durationMs(maxAhead, "watermark.maxAhead", where, 1),
  };
}

function wholeNumber(value: number, what: string, most: number): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value;
  throw new HeadwaterError(
    "BadPipeline",
    `${what} has to be a whole number from 1 to ${most}, not ${String(value)}`,
    {
      where: "the pipeline's options",
    },
  );
}
