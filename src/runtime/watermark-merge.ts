import { mergeWatermarks, sameWatermark, type Watermark, type WatermarkStep } from "../core/watermark.ts";

/** Where steps of a watermark come from: see `UpstreamReader`. */
export interface WatermarkSource {
  readonly step: WatermarkStep | undefined;
  takeStep(): void;
}

/** The watermark of several upstream streams together, step by step in logical order. */
export class WatermarkMerge {
  readonly #sources: readonly WatermarkSource[];
  readonly #inputs: (Watermark | undefined)[];
  #now: WatermarkStep | undefined;

  /** `now` is the last step that has been worked off. */
  constructor(sources: readonly WatermarkSource[], now: WatermarkStep | undefined) {
    this.#sources = sources;
    this.#inputs = sources.map(() => undefined);
    this.#now = now;
  }

  /** The ordinal of the next step of any stream that is known; beyond all ordinals if there is none. */
  get next(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { step } of this.#sources) if (step !== undefined && step.ordinal < next) next = step.ordinal;
    return next;
  }

  /**
   * Takes the steps at {@link next}. Answers what they make of all together, if that is something new: it has to be
   * worked off, and then {@link settle}d.
   */
  take(): WatermarkStep | undefined {
    const ordinal = this.next;
    for (const [index, source] of this.#sources.entries()) {
      if (source.step?.ordinal !== ordinal) continue;
      this.#inputs[index] = source.step.watermark;
      source.takeStep();
    }
    // Streams are read from a little before where it was left off: those steps are known.
    if (this.#now !== undefined && ordinal <= this.#now.ordinal) return undefined;
    const watermark = mergeWatermarks(this.#inputs, this.#now?.watermark);
    if (watermark === undefined || sameWatermark(watermark, this.#now?.watermark)) return undefined;
    return { ordinal, watermark };
  }

  settle(step: WatermarkStep): void {
    this.#now = step;
  }
}
