import { HeadwaterError } from "../core/errors.ts";

/**
 * Told where a segment is, by whoever runs it, while code of the user's is called: should that never return, or end
 * the thread that it runs in, it is known at which record.
 */
export interface StageWatch {
  /**
   * Functions of a stage, given by its index, are called from now on for the input N = `n` of the segment. `row` is
   * their place among the stage's inputs in the batch.
   */
  enter(stage: number, n: number, row: number): void;
  /** {@link enter}, for the window or join at the head of a segment, whose inputs are not a batch yet. */
  enterHead(n: number): void;
  /** No such function is being called any more; the inputs that were entered may still be under way. */
  leave(): void;
  /** {@link leave}, of the window or join. */
  leaveHead(): void;
}

/** An input at which a stage is not called: it ended whoever called it, or it is not wanted any more. */
export interface RefusedInput {
  readonly n: number;
  /** Name of the stage. */
  readonly stage: string;
  /** Place among the stage's inputs that descend from the input. */
  readonly row: number;
  /** What happened. */
  readonly message: string;
  readonly code: "NodeLost" | "Withdrawn";
}

/** Looks inputs up among those that are refused. */
export class Refusals {
  readonly #byN = new Map<number, RefusedInput[]>();

  constructor(refused: readonly RefusedInput[]) {
    for (const input of refused) this.add(input);
  }

  add(input: RefusedInput): void {
    this.#byN.set(input.n, [...(this.#byN.get(input.n) ?? []), input]);
  }

  get size(): number {
    return this.#byN.size;
  }

  /** Throws for an input that is refused, with the code for which it is. `rowOf` tells its place among those of the same input. */
  check(stage: string, n: number, rowOf: () => number): void {
    const refused = this.#byN.get(n);
    if (refused === undefined) return;
    const row = rowOf();
    const found = refused.find((other) => other.stage === stage && other.row === row);
    if (found !== undefined) throw new HeadwaterError(found.code, found.message);
  }
}
