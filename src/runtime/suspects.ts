import { LIMITS } from "../core/limits.ts";
import type { RefusedInput } from "../engine/watch.ts";
import type { SeenWork, WorkMark } from "./work-marks.ts";

/** How carefully the next owner of a unit has to go about it. */
export interface Care {
  /** Inputs below this N are worked at one by one, and with nothing else beside them. */
  readonly aloneBelow: number;
  readonly refused: readonly RefusedInput[];
}

export const NO_CARE: Care = { aloneBelow: 0, refused: [] };

/** An input that was the only one at work when its thread ended. */
interface Suspect {
  readonly n: number;
  readonly stage: number;
  readonly row: number;
  readonly deaths: number;
}

/** What has to be known of the stages of a unit's segment. */
export interface UnitStages {
  /** Name of the stage with this index. */
  nameOf(unit: string, stage: number): string;
  /** Names of the stages that take the segment's inputs. */
  first(unit: string): readonly string[];
}

/**
 * Finds the records that end the threads that work at them. Whatever was under way when a thread ended is worked at
 * alone from then on; an input that ends its thread again and again although it is alone is refused: at the stage
 * that was called last, and should that not help, because an earlier one had left something behind, altogether.
 */
export class Suspects {
  readonly #stages: UnitStages;
  readonly #aloneBelow = new Map<string, number>();
  readonly #suspects = new Map<string, Suspect>();
  readonly #refused = new Map<string, readonly RefusedInput[]>();

  constructor(stages: UnitStages) {
    this.#stages = stages;
  }

  careOf(unit: string): Care {
    return { aloneBelow: this.#aloneBelow.get(unit) ?? 0, refused: this.#refused.get(unit) ?? [] };
  }

  /** A thread has ended at what was seen of it; `how` says it for people. Answers the inputs that are refused now. */
  ended({ inside, underWay }: SeenWork, how: string): readonly RefusedInput[] {
    const marks = (inside === undefined ? underWay : [inside]).filter(({ restoring }) => !restoring);
    return marks.flatMap((mark) => this.#blame(mark, mark === inside, how));
  }

  #blame(mark: WorkMark, inside: boolean, how: string): RefusedInput[] {
    const { unit, first, count, n, stage = 0, row } = mark;
    const end = inside ? n + 1 : first + count;
    this.#aloneBelow.set(unit, Math.max(end, this.#aloneBelow.get(unit) ?? 0));
    if (count !== 1) return [];
    const before = this.#suspects.get(unit);
    const again = before?.n === n && before.stage === stage && before.row === row;
    const deaths = again ? before.deaths + 1 : 1;
    this.#suspects.set(unit, { n, stage, row, deaths });
    if (deaths < LIMITS.deathsOfOneRecord) return [];
    this.#suspects.delete(unit);
    const known = this.#refused.get(unit) ?? [];
    const knows = (name: string, at: number) =>
      known.some((other) => other.n === n && other.stage === name && other.row === at);
    const name = this.#stages.nameOf(unit, stage);
    const message = `the worker ended (${how}) at this record`;
    const code = "NodeLost";
    const refused = knows(name, row)
      ? this.#stages
          .first(unit)
          .flatMap((first) => (knows(first, 0) ? [] : [{ n, stage: first, row: 0, message, code } as const]))
      : [{ n, stage: name, row, message, code } as const];
    this.#refused.set(unit, [...known, ...refused]);
    return refused;
  }
}
