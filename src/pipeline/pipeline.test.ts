import { describe, expect, it } from "vitest";
import { z } from "zod";
import { count } from "./aggregates.ts";
import { pipeline } from "./pipeline.ts";
import { tumbling } from "./windows.ts";

const Edit = z.object({ channel: z.string(), added: z.number() });

describe("a pipeline's types", () => {
  it("refuse a stage that does not fit the one before it", () => {
    const p = pipeline("typed");
    const edits = p.source("edits", { schema: Edit, key: (edit) => edit.channel });
    edits.map("fits", (edit) => edit.added + 1);
    // @ts-expect-error edits have no such field
    edits.map("no-such-field", (edit) => edit.removed);
    // @ts-expect-error a filter answers a boolean
    edits.filter("not-a-boolean", (edit) => edit.added);
    // @ts-expect-error a flatMap answers records
    edits.flatMap("not-records", (edit) => edit.added);
    edits
      .map("to-number", (edit) => edit.added)
      // @ts-expect-error what comes in is a number now
      .map("from-number", (added) => added.channel);
  });

  it("give a reduce only to a stream with a key, and its key's type", () => {
    const p = pipeline("typed");
    const total = { init: () => 0, step: (sum: number) => sum + 1, emit: (sum: number) => sum };
    const unkeyed = p.source("unkeyed", { schema: Edit });
    // @ts-expect-error there is no key to reduce by
    expect(() => unkeyed.reduce("totals", total)).not.toThrow();
    unkeyed
      .keyBy("by-channel", (edit) => edit.channel)
      .reduce("by-text", {
        init: (channel) => channel.length,
        step: (sum, edit) => sum + edit.added,
        // @ts-expect-error the key is text
        emit: (sum, channel: number) => sum + channel,
      });
    // @ts-expect-error an object cannot be a key
    unkeyed.keyBy("by-object", (edit) => ({ channel: edit.channel }));
  });

  it("refuse a union of different records", () => {
    const p = pipeline("typed");
    const a = p.source("a", { schema: Edit });
    const b = p.source("b", { schema: z.object({ other: z.number() }) });
    // @ts-expect-error the records have nothing in common
    p.union<z.infer<typeof Edit>>("both", a, b);
  });
});

describe("a pipeline's definition", () => {
  const message = (define: () => unknown) => {
    try {
      define();
    } catch (error) {
      return (error as Error).message;
    }
    return undefined;
  };

  it("refuses names that cannot be parts of streams and addresses", () => {
    for (const name of ["", "Orders", "a.b", "a_b", "-a", "a-", "é", "a".repeat(65), "a b"]) {
      expect(() => pipeline(name), name).toThrow(/not a name that a pipeline can have/);
    }
    for (const name of ["a", "orders-2", "9", "a".repeat(64)]) expect(pipeline(name).name).toBe(name);
    expect(() => pipeline("p").source("S")).toThrow(/not a name that a source can have/);
    expect(() =>
      pipeline("p")
        .source("s")
        .map("M", (x) => x),
    ).toThrow(/not a name that a stage can have/);
    expect(() => pipeline("p").source("s").sink("K")).toThrow(/not a name that a sink can have/);
  });

  it("refuses the same name twice", () => {
    expect(
      message(() =>
        pipeline("p")
          .source("s")
          .map("s", (x) => x),
      ),
    ).toMatch(/used twice/);
    const p = pipeline("p");
    const s = p.source("s");
    s.sink("k");
    expect(message(() => s.sink("k"))).toMatch(/two sinks/);
  });

  it("refuses a pipeline without a source, options out of range, a foreign stream, a missing function", () => {
    expect(message(() => pipeline("p").definition)).toMatch(/no source/);
    expect(message(() => pipeline("p", { partitions: 0 }))).toMatch(
      /partitions has to be a whole number from 1/,
    );
    expect(message(() => pipeline("p", { partitions: 1.5 }))).toMatch(/partitions/);
    expect(message(() => pipeline("p", { batchRecords: 8_193 }))).toMatch(/batchRecords/);
    expect(message(() => pipeline("p", { tickMs: 0 }))).toMatch(/tickMs/);
    const p = pipeline("p");
    const own = p.source("own");
    const foreign = pipeline("q").source("foreign");
    expect(message(() => p.union("u", own, foreign))).toMatch(/another pipeline/);
    expect(message(() => p.union("u", own, own))).toMatch(/same stream twice/);
    expect(message(() => own.map("m", undefined as never))).toMatch(/has no function/);
  });

  it("names an option that is misspelt, and those that there are", () => {
    const misspelt = (define: () => unknown) => {
      try {
        define();
      } catch (error) {
        const { message: what, where } = error as Error & { where: string };
        return `${what}: ${where}`;
      }
      return "";
    };
    const given = (options: object) => options as never;
    expect(misspelt(() => pipeline("p", given({ partitons: 4 })))).toMatch(
      /no option "partitons".*pipeline p/,
    );
    const p = pipeline("p");
    expect(misspelt(() => p.source("in", given({ kee: () => 1 })))).toMatch(/no option "kee".*source in/);
    const own = p.source("own", { key: () => "k", eventTime: () => 0 });
    const fn = (record: unknown) => record;
    for (const define of [
      () => own.map("m", fn, given({ onerror: "fail" })),
      () => own.filter("m", () => true, given({ onerror: "fail" })),
      () => own.split("m", { a: () => true }, given({ onerror: "fail" })),
      () => own.route("m", ["a"], () => [], given({ onerror: "fail" })),
      () => own.reduce("m", given({ init: () => 0, step: () => 0, emit: () => 0, onerror: "fail" })),
      () => own.window("m", tumbling("1m"), given({ aggregate: count(), emit: () => 0, onerror: "fail" })),
      () => own.join("m", own, () => 0, given({ within: "1m", onerror: "fail" })),
      () => own.joinTable("m", own, () => 0, given({ onerror: "fail" })),
    ]) {
      expect(misspelt(define)).toMatch(/no option "onerror".*stage m/);
    }
  });
});
