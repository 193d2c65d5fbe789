import type { JoinDefinition, TableJoinDefinition } from "../../src/pipeline/definition.ts";
import {
  compareBytes,
  keyName,
  keyOnPath,
  numberOnPath,
  type StageOutcome,
  unionOf,
} from "./reference-items.ts";
import {
  type Result,
  type TimedItem,
  TimedOutcome,
  type TimedStage,
  timelineOf,
} from "./reference-timeline.ts";
import type { Mark } from "./reference-watermarks.ts";

/** A left record that may give a result when no record comes. */
interface Waiting {
  readonly item: TimedItem;
  /** The event time that gives it. */
  readonly due: number;
  /** The time on the path of its firing. */
  readonly time: number;
  readonly make: () => Result | undefined;
}

/** What both kinds of joins have in common. */
class Join {
  readonly outcome: TimedOutcome;
  now = Number.NEGATIVE_INFINITY;
  readonly #latenessMs: number;
  /** The records that were taken in, of both sides, in the order in which they came. */
  #taken: readonly TimedItem[] = [];

  constructor(stage: TimedStage, latenessMs: number) {
    this.outcome = new TimedOutcome(stage);
    this.#latenessMs = latenessMs;
  }

  /** Takes a record in, with the results that it gives at once, unless it is late or fails. */
  take(item: TimedItem, results: () => readonly Result[]): boolean {
    if (item.time !== undefined && item.time + this.#latenessMs < this.now) {
      this.outcome.late.push(item);
      return false;
    }
    const taken = this.outcome.positional(item, item.key, () => {
      if (item.time === undefined) throw new Error("no event time");
      return results();
    });
    if (taken) this.#taken = [...this.#taken, item];
    return taken;
  }

  /** The records of the other side with the same key. */
  others({ side, key }: TimedItem): readonly TimedItem[] {
    return this.#taken.filter((other) => other.side !== side && keyName(other.key) === keyName(key));
  }

  /** Event time has come to `time`: answers those that have been waiting and do so no more. */
  advance(ordinal: number, { time, status }: Mark, waiting: readonly Waiting[]): ReadonlySet<TimedItem> {
    this.now = Math.max(this.now, time);
    const due = waiting.filter((each) => each.due <= this.now);
    const rest = status === "ended" ? waiting.filter((each) => each.due > this.now) : [];
    for (const each of [...due.toSorted(byPath), ...rest.toSorted(byPath)]) {
      const { item, make } = each;
      this.outcome.firing({ ordinal, path: pathOf(each), key: item.key, time: item.time }, make);
    }
    return new Set([...due, ...rest].map(({ item }) => item));
  }
}

/** A stream–stream join over all its records and steps. */
export function runJoin(
  definition: JoinDefinition,
  items: readonly TimedItem[],
  stage: TimedStage,
): StageOutcome {
  const { beforeMs, afterMs, latenessMs, type, fn } = definition;
  const join = new Join(stage, latenessMs);
  let lonely: readonly TimedItem[] = [];
  for (const event of timelineOf(items, stage)) {
    if (event.kind === "record") {
      const { item } = event;
      const matches = join.others(item).filter((other) => {
        const [left, right] = item.side === 0 ? [item, other] : [other, item];
        const apart = (right.time ?? Number.NaN) - (left.time ?? Number.NaN);
        return apart >= -beforeMs && apart <= afterMs;
      });
      const taken = join.take(item, () =>
        matches.map((other) => {
          const [left, right] = item.side === 0 ? [item, other] : [other, item];
          return { value: fn(left.value, right.value, item.key as never), lineage: lineageOf(left, right) };
        }),
      );
      if (!taken) continue;
      lonely = lonely.filter((left) => !matches.includes(left));
      if (item.side === 0 && matches.length === 0) lonely = [...lonely, item];
    } else {
      const waiting = lonely.map((item) => {
        const due = timeOf(item) + afterMs + latenessMs + 1;
        const make = () => ({ value: fn(item.value, undefined, item.key as never), lineage: item.lineage });
        return { item, due, time: due, make };
      });
      const given = join.advance(event.step.ordinal, event.step.mark, type === "left" ? waiting : []);
      lonely = lonely.filter((item) => !given.has(item));
    }
  }
  return join.outcome;
}

/** A join with a table over all its records and steps. */
export function runTableJoin(
  definition: TableJoinDefinition,
  items: readonly TimedItem[],
  stage: TimedStage,
): StageOutcome {
  const { latenessMs, type, fn } = definition;
  const join = new Join(stage, latenessMs);
  let waiting: readonly TimedItem[] = [];
  const answer = (left: TimedItem): Result | undefined => {
    const before = join.others(left).filter((right) => timeOf(right) <= timeOf(left));
    // The last one of the latest time.
    const right = before.toSorted((a, b) => timeOf(a) - timeOf(b)).at(-1);
    if (right === undefined && type === "inner") return undefined;
    return {
      value: fn(left.value, right?.value, left.key as never),
      lineage: right === undefined ? left.lineage : lineageOf(left, right),
    };
  };
  for (const event of timelineOf(items, stage)) {
    if (event.kind === "record") {
      const { item } = event;
      const atOnce = item.side === 0 && (item.time ?? Number.NaN) < join.now;
      const taken = join.take(item, () => {
        const result = atOnce ? answer(item) : undefined;
        return result === undefined ? [] : [result];
      });
      if (taken && item.side === 0 && !atOnce) waiting = [...waiting, item];
    } else {
      const { ordinal, mark } = event.step;
      const given = join.advance(
        ordinal,
        mark,
        waiting.map((item) => {
          const time = timeOf(item);
          return { item, due: time + 1, time, make: () => answer(item) };
        }),
      );
      waiting = waiting.filter((item) => !given.has(item));
    }
  }
  return join.outcome;
}

function lineageOf(left: TimedItem, right: TimedItem): ReadonlySet<string> {
  return unionOf([left.lineage, right.lineage]);
}

function pathOf({ item, time }: Waiting): string {
  const place = `${numberOnPath(item.ordinal)}${item.origin}\0${item.path}`;
  return numberOnPath(time) + keyOnPath(item.key) + place;
}

function byPath(a: Waiting, b: Waiting): number {
  return compareBytes(pathOf(a), pathOf(b));
}

function timeOf({ time }: TimedItem): number {
  if (time === undefined) throw new Error("a join of records without event time");
  return time;
}
