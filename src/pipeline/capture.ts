import { HeadwaterError } from "../core/errors.ts";

/**
 * Which records of a source or stage are kept: `ends` (the default) those of a source, and of a stage those that leave
 * its segment; `all` also those that do not leave it; `none` none. What is not kept, and needed further down, is in
 * transit until it has been taken there.
 */
export type CaptureLevel = "all" | "ends" | "none";

/** What is kept of the records of a source, or of a stage that makes records. */
export interface CaptureOptions {
  /** `"ends"` if absent. */
  readonly capture?: CaptureLevel;
  /**
   * The share of the records that is kept, above 0 up to 1. A hash of a record's root decides, so that what a record
   * was made of is kept with it. The least of those that the stage reads if absent, which is 1 where none says one.
   */
  readonly sample?: number;
}

/** What is kept, with all that follows from what stands before. */
export interface Capture {
  readonly level: CaptureLevel;
  readonly rate: number;
}

/** The parts of a pipeline whose records may be kept. */
interface CapturedParts {
  readonly sources: readonly Captured[];
  readonly stages: readonly (Captured & { readonly kind: string; readonly inputs: readonly string[] })[];
}

interface Captured extends CaptureOptions {
  readonly name: string;
}

/** What holds where nothing is said. */
export const CAPTURE_ENDS: Capture = { level: "ends", rate: 1 };

const LEVELS: readonly unknown[] = ["all", "ends", "none"] satisfies CaptureLevel[];

const MAKERS: ReadonlySet<string> = new Set([
  "source",
  "map",
  "flatMap",
  "route",
  "reduce",
  "window",
  "join",
  "tableJoin",
]);

/** The options as a definition has them: only what is said. Throws `BadPipeline` for what means nothing. */
export function captureOptions(
  options: CaptureOptions | undefined,
  kind: string,
  name: string,
): CaptureOptions {
  const { capture, sample } = options ?? {};
  if (capture === undefined && sample === undefined) return {};
  const where = `${kind === "source" ? "source" : "stage"} ${name}`;
  if (!MAKERS.has(kind)) {
    throw bad(`a ${kind} makes no records that could be kept`, where, "Say it where they are made.");
  }
  if (capture !== undefined && !LEVELS.includes(capture)) {
    throw bad(`capture is none of the levels: ${String(capture)}`, where, 'Give "all", "ends" or "none".');
  }
  if (sample !== undefined && !(typeof sample === "number" && sample > 0 && sample <= 1)) {
    throw bad(
      `sample has to be above 0 and at most 1, not ${String(sample)}`,
      where,
      'To keep no record at all, give capture: "none".',
    );
  }
  if (capture === "none" && sample !== undefined) {
    throw bad("a sample is kept of nothing", where, 'Leave out sample, or capture: "none".');
  }
  return { ...(capture !== undefined && { capture }), ...(sample !== undefined && { sample }) };
}

/**
 * What is kept of each source and stage, by its name. Of one that makes no records it is what is kept of the records
 * that it lets through: of several inputs what is kept of all of them. Throws `BadPipeline` where a stage would keep
 * records whose ancestors a sample leaves out.
 */
export function capturesOf({ sources, stages }: CapturedParts): ReadonlyMap<string, Capture> {
  const captures = new Map<string, Capture>();
  for (const { name, capture = "ends", sample = 1 } of sources) {
    captures.set(name, { level: capture, rate: sample });
  }
  const inputsOf = new Map(stages.map((stage) => [stage.name, stage.inputs]));
  for (const stage of stages) {
    // What came too late is what came in.
    const inputs =
      stage.kind === "late" ? stage.inputs.flatMap((name) => inputsOf.get(name) ?? []) : stage.inputs;
    const through = captureOfAll(inputs.map((name) => captures.get(name) ?? CAPTURE_ENDS));
    if (!MAKERS.has(stage.kind)) {
      captures.set(stage.name, through);
      continue;
    }
    const { capture: level = "ends", sample: rate } = stage;
    if (rate !== undefined && rate > through.rate) {
      throw bad(
        `it keeps a sample of ${rate}, and what it is made of is kept at ${through.rate}`,
        `stage ${stage.name}`,
        "Give it at most the sample of what it reads: the ancestors of a kept record are kept, too.",
      );
    }
    captures.set(stage.name, { level, rate: rate ?? through.rate });
  }
  return captures;
}

/** What is kept of records of which some are kept as one says, and some as another. */
export function captureOfAll(captures: readonly Capture[]): Capture {
  const rate = captures.reduce((least, one) => Math.min(least, one.rate), 1);
  return { level: captures.some(({ level }) => level === "none") ? "none" : "ends", rate };
}

/** Whether nothing was said. */
export function isDefault({ level, rate }: Capture): boolean {
  return level === "ends" && rate === 1;
}

function bad(message: string, where: string, hint: string): HeadwaterError {
  return new HeadwaterError("BadPipeline", message, { where, hint });
}
