import { type Aggregate, combined, count, max, reducer, sum } from "../../src/pipeline/aggregates.ts";
import type {
  JoinDefinition,
  Key,
  TableJoinDefinition,
  WindowDefinition,
} from "../../src/pipeline/definition.ts";
import {
  globalWindow,
  session,
  sliding,
  tumbling,
  type WindowInfo,
  type Windows,
} from "../../src/pipeline/windows.ts";
import { failing, type Item, type StageWords } from "./random-words.ts";

interface Base {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly onError: "skip";
}

const GLOBAL: readonly Windows[] = [
  globalWindow({ every: 3 }),
  { kind: "global", records: 2, kept: true },
  globalWindow({ every: 1 }),
];

const TIMED: readonly Windows[] = [
  tumbling("5s"),
  tumbling(7_001, { offset: 13 }),
  tumbling("1m"),
  tumbling(1),
  sliding("10s", "4s"),
  // Windows that differ by a millisecond.
  sliding(3, 1),
  session("2s"),
  session("10s"),
  session(1),
  ...GLOBAL,
];

/** What a window keeps of its records; `trail` tells in which order they came. */
interface Total {
  readonly count: number;
  readonly sum: number;
  readonly trail: number;
}

const TRAIL = 99_991;

/** A window stage; without event times a global one. */
export function windowStage(words: StageWords, base: Base, timed: boolean): WindowDefinition {
  const { bounds, lateness, early } = words;
  const choice = timed ? TIMED : GLOBAL;
  const windows = choice[bounds % choice.length] as Windows;
  const global = windows.kind === "global";
  return {
    ...base,
    kind: "window",
    windows,
    aggregate: aggregateOf(words),
    emit: (result, window) =>
      failing(
        words.how === 0 ? { fails: 0, how: 0 } : words,
        { v: (result as Total).sum },
        [undefined, new Date(0)],
        () => emitted(result as Total, window),
      ),
    latenessMs: global ? 0 : lateness,
    early: global
      ? undefined
      : [undefined, undefined, { everyMs: 1_000 }, { everyMs: 3_001 }, { records: 2 }, { records: 1 }][early],
  };
}

function emitted(total: Total, { key, start, end, firing }: WindowInfo<Key>): unknown {
  return { k: typeof key === "number" ? key : 1, v: total.sum % 100, ...total, key, start, end, firing };
}

function aggregateOf(words: StageWords): Aggregate<unknown, unknown> {
  const value = (record: unknown) => (record as Item).v;
  const fails = words.how === 0 ? words : { fails: 0, how: 0 };
  if (words.variant < 4) {
    const checked = (record: unknown) => failing(fails, record, [], () => value(record));
    const parts = { count: count(), sum: sum(checked), trail: max(value) };
    return combined(parts);
  }
  return reducer<unknown, Total, Total>({
    init: () => ({ count: 0, sum: 0, trail: 1 }),
    step: (total, record) =>
      failing(fails, record, [], () => ({
        count: total.count + 1,
        sum: total.sum + value(record),
        trail: (total.trail * 31 + value(record) + 100) % TRAIL,
      })),
    merge: (a, b) => ({
      count: a.count + b.count,
      sum: a.sum + b.sum,
      trail: (a.trail * 17 + b.trail) % TRAIL,
    }),
  });
}

const WITHIN: readonly (readonly [number, number])[] = [
  [0, 0],
  [1_000, 1_000],
  [0, 5_000],
  [7_000, 1],
  [30_000, 30_000],
];

export function joinStage(words: StageWords, base: Base): JoinDefinition {
  const [beforeMs, afterMs] = WITHIN[words.bounds % WITHIN.length] as readonly [number, number];
  const type = words.variant % 2 === 0 ? "inner" : "left";
  return { ...base, kind: "join", type, beforeMs, afterMs, latenessMs: words.lateness, fn: joined(words) };
}

export function tableJoinStage(words: StageWords, base: Base): TableJoinDefinition {
  const type = words.variant % 2 === 0 ? "inner" : "left";
  return { ...base, kind: "tableJoin", type, latenessMs: words.lateness, fn: joined(words) };
}

function joined(words: StageWords) {
  return (left: unknown, right: unknown, key: Key): unknown => {
    const [a, b] = [left as Item, right as Item | undefined];
    const v = (a.v + 7 * (b?.v ?? 11)) % 100;
    return failing(words, { v }, [undefined, { when: new Date(0) }], () => ({
      k: a.k,
      v,
      left: a.v,
      right: b?.v ?? null,
      key,
    }));
  };
}
