import { describe, expect, it } from "vitest";
import { z } from "zod";
import { count, max, mean, min, reducer, sum } from "./aggregates.ts";
import { pipeline } from "./pipeline.ts";
import { globalWindow, session, sliding, tumbling, type Windows } from "./windows.ts";

const Edit = z.object({ channel: z.string(), user: z.number(), time: z.string(), added: z.number() });

function edits() {
  return pipeline("typed").source("edits", {
    schema: Edit,
    key: (edit) => edit.channel,
    eventTime: (edit) => edit.time,
  });
}

const total = { aggregate: count(), emit: (edits: number) => ({ edits }) };

describe("the types of windows and joins", () => {
  it("give emit what the aggregates give, and the key", () => {
    edits()
      .window("w", tumbling("1m"), {
        aggregate: {
          edits: count(),
          added: sum((edit) => edit.added),
          average: mean((edit) => edit.added),
          first: min((edit) => edit.time),
          last: max((edit) => edit.time),
          users: reducer({
            init: () => [] as readonly number[],
            step: (users, edit: z.infer<typeof Edit>) => [...users, edit.user],
            merge: (a, b) => [...a, ...b],
            result: (users) => users.length,
          }),
        },
        emit: ({ edits, added, average, first, last, users }, { key, start, end, firing }) => ({
          channel: key.toUpperCase(),
          sum: edits + added + average + users + start + end,
          text: `${first.slice(0, 10)} ${last} ${firing}`,
        }),
      })
      .map("fits", (record) => record.channel.length + record.sum)
      // @ts-expect-error a number has no channel
      .map("no-such-field", (sums) => sums.channel);
  });

  it("know the records of an aggregate that stands alone, and what it gives", () => {
    edits()
      .window("alone", tumbling("1m"), {
        aggregate: sum((edit) => edit.added),
        emit: (added, { key }) => ({ channel: key, added: added + 1 }),
      })
      .map("sum", ({ channel, added }) => channel.length + added);
    edits().window("own", session("1m"), {
      aggregate: reducer({
        init: () => 0,
        step: (longest: number, edit: z.infer<typeof Edit>) => Math.max(longest, edit.channel.length),
        merge: Math.max,
      }),
      emit: (longest) => longest.toFixed(0),
    });
  });

  it("refuse an aggregate, a result or a key that does not fit", () => {
    edits().window("field", tumbling("1m"), {
      // @ts-expect-error edits have no such field
      aggregate: { removed: sum((edit) => edit.removed) },
      emit: () => null,
    });
    edits().window("text", tumbling("1m"), {
      // @ts-expect-error a sum is of numbers
      aggregate: { channels: sum((edit) => edit.channel) },
      emit: () => null,
    });
    edits().window("result", tumbling("1m"), {
      aggregate: { edits: count() },
      // @ts-expect-error there is no such result
      emit: ({ added }) => added,
    });
    expect(() =>
      edits().window("early", tumbling("1m"), {
        ...total,
        // @ts-expect-error one or the other
        early: { every: "1s", records: 3 },
      }),
    ).toThrow(/either/);
    // @ts-expect-error a duration has a unit
    expect(() => tumbling("10")).toThrow(/not a duration/);
  });

  it("give a window or join only to streams with a key, of one type for both sides", () => {
    const p = pipeline("typed");
    const time = { eventTime: (edit: z.infer<typeof Edit>) => edit.time };
    const unkeyed = p.source("unkeyed", { schema: Edit, ...time });
    // @ts-expect-error there is no key
    expect(() => unkeyed.window("w", tumbling("1m"), total)).toThrow(/no key/);
    const byText = p.source("by-text", { schema: Edit, ...time, key: (edit) => edit.channel });
    const byNumber = p.source("by-number", { schema: Edit, ...time, key: (edit) => edit.user });
    const join = (a: { readonly added: number }, b: { readonly added: number }) => a.added + b.added;
    byText.join("same", byText, join, { within: "1m" });
    // @ts-expect-error keys of different types are never equal
    byText.join("different", byNumber, join, { within: "1m" });
    // @ts-expect-error nor here
    byNumber.joinTable("table", byText, join);
    // @ts-expect-error where a counterpart may be missing it has to be looked at
    byText.joinLeft("left", byText, (a, b) => a.added + b.added, { within: "1m" });
  });

  it("name the outputs of a split and a route", () => {
    const { robots, rest } = edits().split("kind", { robots: (edit) => edit.user === 0 });
    robots.window("of-robots", tumbling("1m"), total);
    rest.map("channel", (edit) => edit.channel);
    const { good, bad } = edits().route("parse", ["good", "bad"], (edit) =>
      edit.added >= 0 ? [{ to: "good", value: edit.added }] : [{ to: "bad", value: edit.channel }],
    );
    good.map("number", (added) => added + 1);
    bad.map("text", (channel) => channel.toUpperCase());
    // @ts-expect-error there is no such output
    expect(edits().split("other", { robots: (edit) => edit.user === 0 }).people).toBeUndefined();
  });

  it("refuse an event time that is neither text nor a number", () => {
    pipeline("typed").source("s", {
      schema: Edit,
      // @ts-expect-error a Date is no event time
      eventTime: (edit) => new Date(edit.time),
    });
  });
});

describe("the definition of windows and joins", () => {
  const where = (define: () => unknown) => {
    try {
      define();
    } catch (error) {
      const { message, where: place, code } = error as { message: string; where?: string; code?: string };
      return `${code}: ${message}: ${place}`;
    }
    return undefined;
  };

  it("refuses a window without event time, and names the stage and the source", () => {
    const p = pipeline("p");
    const timeless = p.source("timeless", { key: () => 1 });
    const timed = p.source("timed", { key: () => 1, eventTime: () => 0 });
    expect(where(() => timeless.window("w", tumbling("1m"), total))).toBe(
      "BadPipeline: the source timeless has no event time: stage w",
    );
    expect(where(() => p.union("u", timed, timeless).window("v", session("1m"), total))).toBe(
      "BadPipeline: the source timeless has no event time: stage v",
    );
    expect(where(() => timed.join("j", timeless, () => 1, { within: 1 }))).toBe(
      "BadPipeline: the source timeless has no event time: stage j",
    );
    expect(where(() => timeless.window("g", globalWindow({ every: 3 }), total))).toBeUndefined();
  });

  it("refuses a stream without a key, and one of another pipeline", () => {
    const p = pipeline("p");
    const options = { eventTime: () => 0 };
    const unkeyed = p.source("unkeyed", options) as never as ReturnType<typeof edits>;
    const keyed = p.source("keyed", { ...options, key: (): string => "k" });
    expect(where(() => keyed.join("j", unkeyed, () => 1, { within: 1 }))).toBe(
      "BadPipeline: the records of unkeyed have no key: stage j",
    );
    expect(where(() => edits().join("j", keyed, () => 1, { within: 1 }))).toMatch(
      /another pipeline: stage j/,
    );
  });

  it("refuses sizes, bounds and parts that mean nothing", () => {
    const numbers = (make: (value: never) => Windows) =>
      [0, -1, 1.5, Number.NaN, "1", "m", "-1m", "1 m", null, undefined].map((value) =>
        where(() => make(value as never)),
      );
    for (const refused of [...numbers(tumbling), ...numbers(session)]) {
      expect(refused).toMatch(/^BadPipeline: .* is not a duration/);
    }
    expect(where(() => sliding("1m", "2m"))).toMatch(/slide by more than their size/);
    expect(where(() => sliding("1d", 1))).toMatch(/would be in 86400000 windows/);
    expect(where(() => tumbling("1 hour" as never))).toMatch(/: tumbling\("1 hour"\)$/);
    expect(where(() => globalWindow(JSON.parse('{"every":2,"afterwards":"kep"}')))).toMatch(/does not kep/);
    expect(where(() => globalWindow({ every: 0 }))).toMatch(/every so many records, not 0/);
    const stage = (windows: unknown, options: object) =>
      where(() => edits().window("w", windows as Windows, { ...total, ...options } as never));
    expect(stage(undefined, {})).toMatch(/has no windows: stage w/);
    expect(stage(tumbling("1m"), { aggregate: undefined })).toMatch(/has no aggregate: stage w/);
    expect(stage(tumbling("1m"), { aggregate: {} })).toMatch(/has no aggregate: stage w/);
    expect(stage(tumbling("1m"), { aggregate: { n: 1 } })).toMatch(/aggregate "n" is none: stage w/);
    expect(stage(tumbling("1m"), { emit: undefined })).toMatch(/has no emit: stage w/);
    expect(stage(tumbling("1m"), { lateness: "soon" })).toMatch(
      /lateness is not a duration: "soon": stage w/,
    );
    expect(stage(tumbling("1m"), { early: { records: 0 } })).toMatch(/early.records has to be .*: stage w/);
    for (const early of [{}, true, { records: 3, every: "1s" }]) {
      expect(stage(tumbling("1m"), { early })).toMatch(/either a time or a number of records: stage w/);
    }
    expect(where(() => edits().window("w", tumbling("1m"), undefined as never))).toMatch(
      /has no emit: stage w/,
    );
    expect(stage(globalWindow({ every: 2 }), { lateness: 1 })).toMatch(/global window has neither/);
    expect(where(() => edits().join("j", edits(), () => 1, {} as never))).toMatch(/another pipeline/);
    const own = edits();
    for (const options of [{}, { within: null }, { within: {} }, { within: { befor: "5m" } }]) {
      expect(where(() => own.join("j", own, () => 1, options as never))).toMatch(/no bound in time: stage j/);
    }
    expect(where(() => own.join("j", undefined as never, () => 1, { within: 1 }))).toMatch(
      /no other stream: stage j/,
    );
    expect(where(() => own.split("s", undefined as never))).toMatch(/no outputs: stage s/);
    expect(where(() => own.route("r", undefined as never, () => []))).toMatch(/no outputs: stage r/);
    for (const aggregate of [sum, mean, min, max]) {
      expect(where(() => aggregate("added" as never))).toMatch(/has no function that tells of what/);
    }
    expect(where(() => reducer({ init: () => 0 } as never))).toMatch(/a reducer has no step/);
  });

  it("refuses a watermark that means nothing", () => {
    const source = (watermark: object, eventTime?: () => number) =>
      where(() => pipeline("p").source("s", { watermark, ...(eventTime && { eventTime }) }));
    expect(source({ outOfOrderness: "1m" })).toBe(
      "BadPipeline: the source has a watermark and no event time: source s",
    );
    expect(source({ outOfOrderness: "late" }, () => 0)).toMatch(
      /outOfOrderness is not a duration: "late": source s/,
    );
    expect(source({ outOfOrdernes: "1m" }, () => 0)).toMatch(/no option "outOfOrdernes": source s/);
    expect(where(() => pipeline("p").source("s", { eventTime: "time" } as never))).toMatch(
      /eventTime is not a function: source s/,
    );
    expect(source({ idleAfter: 0 }, () => 0)).toMatch(/idleAfter is not a duration: 0: source s/);
  });

  it("refuses labels that cannot be, and the same one twice", () => {
    const predicate = () => true;
    expect(where(() => edits().split("s", {}))).toMatch(/has no outputs: stage s/);
    expect(where(() => edits().split("s", { "1st": predicate }))).toMatch(/not a label .*: stage s/);
    expect(where(() => edits().split("s", { rest: predicate }))).toMatch(/two outputs have the label "rest"/);
    expect(where(() => edits().split("s", { a: 1 as never }))).toMatch(/has no predicate a: stage s/);
    expect(where(() => edits().route("s", ["a", "a"], () => []))).toMatch(/two outputs have the label "a"/);
    expect(where(() => edits().route("s", [], () => []))).toMatch(/has no outputs: stage s/);
  });
});
