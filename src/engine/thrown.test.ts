import { describe, expect, test } from "vitest";
import { HeadwaterError } from "../core/errors.ts";
import { reasonOf } from "./thrown.ts";

/** An error that cannot be read. */
class Evil extends Error {
  override get message(): string {
    throw new Error("no message");
  }
  override get stack(): string {
    throw new Error("no stack");
  }
}

const refusing = new Proxy(new Error("hidden"), {
  getPrototypeOf: () => {
    throw new Error("not asked");
  },
  get: () => {
    throw new Error("not read");
  },
});

describe("the reason that is kept of what was thrown", () => {
  test("has an error's message and stack", () => {
    const error = new TypeError("boom");
    expect(reasonOf(error)).toEqual({ code: "StageFailed", message: "boom", stack: error.stack });
    expect(reasonOf(Object.freeze(new Error("cold")))).toMatchObject({ message: "cold" });
  });

  test("has the causes, too, each once", () => {
    const refused = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:9"), { code: "ECONNREFUSED" });
    const messageOf = (error: unknown) => reasonOf(error).message;
    expect(messageOf(new TypeError("fetch failed", { cause: refused }))).toBe(
      "fetch failed: connect ECONNREFUSED 127.0.0.1:9",
    );
    expect(messageOf(new Error("outer", { cause: new Error("inner", { cause: { step: 3 } }) }))).toBe(
      'outer: inner: {"step":3}',
    );
    expect(messageOf(new Error(`the call failed: ${refused.message}`, { cause: refused }))).toBe(
      "the call failed: connect ECONNREFUSED 127.0.0.1:9",
    );
    expect(messageOf(new AggregateError([new Error("a"), "b"], ""))).toBe("a; b");
    const endless = new Error("round");
    endless.cause = new Error("and round", { cause: endless });
    expect(messageOf(endless)).toBe("round: and round");
    expect(messageOf(new Error("hidden", { cause: refusing }))).toContain("hidden");
  });

  test("has of the failure of an effect what its call threw, and not once more by what name", () => {
    const cause = { name: "TypeError", code: "ECONNREFUSED" };
    const failed = new HeadwaterError("EffectFailed", "the effect ask failed: fetch failed", { cause });
    expect(reasonOf(failed).message).toBe("the effect ask failed: fetch failed");
    expect(reasonOf(new Error("asked in vain", { cause: failed })).message).toBe(
      "asked in vain: the effect ask failed: fetch failed",
    );
  });

  test("has the name of an error that says nothing", () => {
    expect(reasonOf(new RangeError()).message).toBe("RangeError without a message");
    expect(reasonOf(Object.assign(new Error(), { name: "" })).message).toBe("Error without a message");
  });

  test("has an own error's code and place, and no stack", () => {
    const error = new HeadwaterError("NotCanonical", "a Date", { where: "$.at" });
    expect(reasonOf(error)).toEqual({ code: "NotCanonical", message: "a Date", where: "$.at" });
  });

  test.each([
    ["boom", "a text was thrown, not an Error: boom"],
    [undefined, "undefined was thrown, not an Error: undefined"],
    [null, "null was thrown, not an Error: null"],
    [404, "a number was thrown, not an Error: 404"],
    [Symbol("s"), "a symbol was thrown, not an Error: Symbol(s)"],
    [{ status: 500 }, 'an object was thrown, not an Error: {"status":500}'],
    [
      { why: ["b", 2n, new Uint8Array(3)], code: { of: null } },
      'an object was thrown, not an Error: {"code":{"of":null},"why":["b","2","3 bytes"]}',
    ],
    [[1, 2], "an object was thrown, not an Error: [1,2]"],
    [{ at: new Date(0) }, "an object was thrown, not an Error: [object Object]"],
    [Object.create(null), "an object was thrown, not an Error: {}"],
    [new Evil(), "a value that cannot be shown"],
    [refusing, "an object was thrown, not an Error: a value that cannot be shown"],
  ])("says what was thrown instead: %#", (thrown, message) => {
    expect(reasonOf(thrown)).toEqual({ code: "StageFailed", message });
  });

  test("can be kept, however long and whatever its characters", () => {
    const { message } = reasonOf(new Error(`\ud800${"x".repeat(10_000)}`));
    expect(message).toHaveLength(4_096);
    expect(message.isWellFormed()).toBe(true);
  });
});
