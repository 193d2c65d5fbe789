import { HeadwaterError } from "../core/errors.ts";
import type { StageContext } from "./context.ts";

/** How a window keeps what it has of its records: made by {@link count}, {@link sum}, … or {@link reducer}. */
export interface Aggregate<in T, out R> {
  readonly init: () => unknown;
  readonly step: (total: unknown, record: T, ctx: StageContext) => unknown;
  readonly merge: (a: unknown, b: unknown) => unknown;
  readonly result: (total: unknown) => R;
  /** Whether totals are known to be records, so that each need not be looked at. */
  readonly safe?: boolean;
  /** What it was made of, where its functions do not tell: names, and functions of the user's. */
  readonly parts?: readonly (string | ((record: never) => unknown))[];
}

/**
 * How to keep a total. `step` and `merge` answer a new one and must not change those they are given; totals have to
 * be values that a record may hold.
 */
export interface ReducerOptions<T, Total, R> {
  readonly init: () => Total;
  readonly step: (total: Total, record: T, ctx: StageContext) => Total;
  /** The total of two windows that become one: sessions between which a record has come. `a` is the earlier. */
  readonly merge: (a: Total, b: Total) => Total;
  /** What the window gives of its total; the total itself if absent. */
  readonly result?: (total: Total) => R;
}

/** Aggregates by the names of the fields that they give. */
export type Aggregates<T, R> = { readonly [Field in keyof R]: Aggregate<T, R[Field]> };

/** The texts that tell aggregates apart: a change of one makes another deployment. */
export function describeAggregate(aggregate: Aggregate<never, unknown>): string[] {
  const { init, step, merge, result, parts = [init, step, merge, result] } = aggregate;
  return parts.map((part) => String(part).toWellFormed());
}

/** An aggregate of one's own. Throws `BadPipeline` where a part is missing. */
export function reducer<T, Total, R = Total>(options: ReducerOptions<T, Total, R>): Aggregate<T, R> {
  for (const part of ["init", "step", "merge"] as const) {
    if (typeof options?.[part] === "function") continue;
    throw new HeadwaterError("BadPipeline", `a reducer has no ${part}`, {
      where: "aggregate",
      hint: "Give reducer({ init, step, merge }); merge makes one total of two.",
    });
  }
  return erased(options);
}

/** Nobody but an aggregate's own functions looks into its totals: their type is not part of its own. */
function erased<T, Total, R>(
  { init, step, merge, result = (total) => total as unknown as R }: ReducerOptions<T, Total, R>,
  more: Pick<Aggregate<T, R>, "safe" | "parts"> = {},
): Aggregate<T, R> {
  return {
    init,
    step: (total, record, ctx) => step(total as Total, record, ctx),
    merge: (a, b) => merge(a as Total, b as Total),
    result: (total) => result(total as Total),
    parts: [init, step, merge, result].map(String),
    ...more,
  };
}

/** How many records there are. */
export function count(): Aggregate<unknown, number> {
  return erased<unknown, number, number>(
    { init: () => 0, step: (total) => total + 1, merge: (a, b) => a + b },
    { safe: true, parts: ["count"] },
  );
}

/** The sum of a number of each record. A record at which `of` answers anything but a number fails. Throws `BadPipeline` without a function. */
export function sum<T>(of: (record: T) => number): Aggregate<T, number> {
  mustBeFunction(of, "sum");
  return erased<T, number, number>(
    {
      init: () => 0,
      step: (total, record) => total + mustBeNumber(of(record), "sum"),
      merge: (a, b) => a + b,
    },
    { safe: true, parts: ["sum", of] },
  );
}

/** The mean of a number of each record. A record at which `of` answers anything but a number fails. Throws `BadPipeline` without a function. */
export function mean<T>(of: (record: T) => number): Aggregate<T, number> {
  mustBeFunction(of, "mean");
  type Total = { readonly sum: number; readonly count: number };
  return erased<T, Total, number>(
    {
      init: () => ({ sum: 0, count: 0 }),
      step: (total, record) => ({
        sum: total.sum + mustBeNumber(of(record), "mean"),
        count: total.count + 1,
      }),
      merge: (a, b) => ({ sum: a.sum + b.sum, count: a.count + b.count }),
      result: (total) => total.sum / total.count,
    },
    { safe: true, parts: ["mean", of] },
  );
}

/** What can be put in order: numbers by value, texts by their UTF-16 units. */
type Ordered = number | bigint | string;

/** The least of a value of each record. Throws `BadPipeline` without a function. */
export function min<T, V extends Ordered>(of: (record: T) => V): Aggregate<T, V> {
  return extreme(of, (value, best) => value < best, "min");
}

/** The greatest of a value of each record. Throws `BadPipeline` without a function. */
export function max<T, V extends Ordered>(of: (record: T) => V): Aggregate<T, V> {
  return extreme(of, (value, best) => value > best, "max");
}

function extreme<T, V extends Ordered>(
  of: (record: T) => V,
  beats: (value: V, best: V) => boolean,
  name: string,
): Aggregate<T, V> {
  mustBeFunction(of, name);
  const merge = (a: V | null, b: V | null) => (a === null || (b !== null && beats(b, a)) ? b : a);
  return erased<T, V | null, V>(
    {
      init: () => null,
      step: (total, record) => merge(total, mustBeOrdered(of(record), name)),
      merge,
      // A window has a record at least.
      result: (total) => total as V,
    },
    { parts: [name, of] },
  );
}

function mustBeFunction(of: unknown, name: string): void {
  if (typeof of === "function") return;
  throw new HeadwaterError("BadPipeline", `${name} has no function that tells of what`, {
    where: "aggregate",
    hint: `Give one: ${name}((record) => record.price).`,
  });
}

function mustBeNumber(value: number, what: string): number {
  if (typeof value === "number") return value;
  throw new HeadwaterError("StageFailed", `a ${what} was given ${describe(value)}, not a number`, {
    hint: "Its function has to answer a number for every record.",
  });
}

function mustBeOrdered<V extends Ordered>(value: V, what: string): V {
  if (typeof value === "number" || typeof value === "string" || typeof value === "bigint") return value;
  throw new HeadwaterError("StageFailed", `a ${what} was given ${describe(value)}`, {
    hint: "Its function has to answer a number, BigInt or text for every record.",
  });
}

function describe(value: unknown): string {
  return value === null ? "null" : typeof value;
}

/** Several aggregates as one, whose total and result are maps by their names. */
export function combined(
  parts: Readonly<Record<string, Aggregate<never, unknown>>>,
): Aggregate<unknown, unknown> {
  const names = Object.keys(parts);
  const all = Object.values(parts) as unknown as Aggregate<unknown, unknown>[];
  // A loop and no Object.fromEntries: this runs for every record.
  const each = (make: (part: Aggregate<unknown, unknown>, name: string) => unknown) => {
    const made: Record<string, unknown> = {};
    for (let at = 0; at < names.length; at++) {
      const name = names[at] as string;
      made[name] = make(all[at] as Aggregate<unknown, unknown>, name);
    }
    return made;
  };
  return erased<unknown, Readonly<Record<string, unknown>>, unknown>(
    {
      init: () => each((part) => part.init()),
      step: (total, record, ctx) => each((part, name) => part.step(total[name], record, ctx)),
      merge: (a, b) => each((part, name) => part.merge(a[name], b[name])),
      result: (total) => each((part, name) => part.result(total[name])),
    },
    {
      safe: all.every((part) => part.safe === true),
      parts: names.flatMap((name) => [name, ...describeAggregate(parts[name] as Aggregate<never, unknown>)]),
    },
  );
}
