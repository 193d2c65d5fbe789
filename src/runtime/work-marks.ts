import type { StageWatch } from "../engine/watch.ts";

/** Where a unit was when it was last seen. */
export interface WorkMark {
  readonly unit: string;
  /** State was being brought back: what was worked at is recorded already. */
  readonly restoring: boolean;
  /** The inputs that were worked at: `count` of them from N = `first` on. */
  readonly first: number;
  readonly count: number;
  /** The input and the stage (by its index in the segment; `undefined` before the first one) that were entered last. */
  readonly n: number;
  readonly stage: number | undefined;
  /** Row among the stage's inputs. */
  readonly row: number;
}

/** What a thread was at when it was last seen. */
export interface SeenWork {
  /** The unit whose functions were being called. */
  readonly inside: WorkMark | undefined;
  /** Units with a batch under way; several, where functions wait for promises. */
  readonly underWay: readonly WorkMark[];
}

/** A word for each of the fields; the first byte range holds the beats, and which unit is inside. */
const FIELDS = 6;
const [RESTORING, FIRST, COUNT, AT, STAGE, ROW] = [0, 1, 2, 3, 4, 5] as const;
const WORD_BYTES = 8;
const BEATS = 0;
const INSIDE = 1;

/** Memory for the marks of a thread that may have so many units. */
export function sharedMarks(units: number): SharedArrayBuffer {
  return new SharedArrayBuffer(WORD_BYTES * (1 + FIELDS * units));
}

/** How often the thread has shown that it goes on: its timer, and each record that is begun. */
export function beatsOf(shared: SharedArrayBuffer): number {
  return Atomics.load(new Int32Array(shared, 0, 2), BEATS);
}

/** Reads the marks of a thread that has ended: all that it wrote can be seen then. `units` in the order of its own. */
export function seenWork(shared: SharedArrayBuffer, units: readonly string[]): SeenWork {
  const words = new Float64Array(shared, WORD_BYTES);
  const marks = units.map((unit, index): WorkMark => {
    const at = (field: number) => words[index * FIELDS + field] ?? 0;
    return {
      unit,
      restoring: at(RESTORING) === 1,
      first: at(FIRST),
      count: at(COUNT),
      n: at(AT),
      stage: at(STAGE) === 0 ? undefined : at(STAGE) - 1,
      row: at(ROW),
    };
  });
  const inside = Atomics.load(new Int32Array(shared, 0, 2), INSIDE);
  return { inside: marks[inside - 1], underWay: marks.filter(({ count }) => count > 0) };
}

/** The thread's side: says what it is at, in memory that the other side can read at any moment. */
export class WorkMarks {
  readonly #head: Int32Array;
  readonly #words: Float64Array;
  readonly #units: readonly string[];

  constructor(shared: SharedArrayBuffer, units: readonly string[]) {
    this.#head = new Int32Array(shared, 0, 2);
    this.#words = new Float64Array(shared, WORD_BYTES);
    this.#units = units;
  }

  beat(): void {
    Atomics.add(this.#head, BEATS, 1);
  }

  /** The marks of one of the units. */
  of(unit: string): UnitMarks {
    return new UnitMarks(this.#head, this.#words, this.#units.indexOf(unit));
  }
}

/** The marks of one unit of work. */
export class UnitMarks implements StageWatch {
  readonly #head: Int32Array;
  readonly #words: Float64Array;
  readonly #inside: number;
  readonly #at: number;

  constructor(head: Int32Array, words: Float64Array, index: number) {
    this.#head = head;
    this.#words = words;
    this.#inside = index + 1;
    this.#at = index * FIELDS;
  }

  /** From now on what is worked at is recorded already, until this is called with `false`. */
  restoring(is: boolean): void {
    this.#words[this.#at + RESTORING] = is ? 1 : 0;
  }

  /** A batch is under way. */
  begin(first: number, count: number): void {
    this.#words[this.#at + FIRST] = first;
    this.#words[this.#at + AT] = first;
    this.#words[this.#at + STAGE] = 0;
    this.#words[this.#at + ROW] = 0;
    this.#words[this.#at + COUNT] = count;
  }

  /** None is. */
  end(): void {
    this.#words[this.#at + COUNT] = 0;
    this.leave();
  }

  enter(stage: number, n: number, row: number): void {
    this.#words[this.#at + AT] = n;
    this.#words[this.#at + STAGE] = stage + 1;
    this.#words[this.#at + ROW] = row;
    this.#head[INSIDE] = this.#inside;
    Atomics.add(this.#head, BEATS, 1);
  }

  enterHead(n: number): void {
    this.#words[this.#at + FIRST] = n;
    this.#words[this.#at + COUNT] = 1;
    this.enter(0, n, 0);
  }

  leave(): void {
    this.#head[INSIDE] = 0;
  }

  leaveHead(): void {
    this.#words[this.#at + COUNT] = 0;
    this.leave();
  }
}
