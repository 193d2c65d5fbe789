import { describe, expect, test } from "vitest";
import { describeThrown, ERROR_CODES, HeadwaterError, isHeadwaterError } from "./errors.ts";

describe("describeThrown", () => {
  test.each([
    ["an error", new Error("broken"), "broken"],
    ["a text", "broken", "broken"],
    ["nothing", undefined, "undefined"],
    [
      "an error whose message is an object",
      Object.assign(new Error(""), { message: { status: 500 } }),
      "[object Object]",
    ],
    ["a symbol", Symbol("s"), "Symbol(s)"],
    ["what has no text", Object.create(null), "a value that cannot be shown"],
  ])("of %s is a text", (_, thrown, text) => {
    expect(describeThrown(thrown)).toBe(text);
  });

  test("of an error whose message cannot be read", () => {
    const error = new Error("");
    Object.defineProperty(error, "message", {
      get: () => {
        throw new Error("no");
      },
    });
    expect(describeThrown(error)).toBe("a value that cannot be shown");
  });
});

describe("HeadwaterError", () => {
  test("knows whether the same call may succeed later", () => {
    for (const [code, { retryable }] of Object.entries(ERROR_CODES)) {
      expect(new HeadwaterError(code as keyof typeof ERROR_CODES, "x").retryable).toBe(retryable);
    }
  });

  test("is told from others, by code if one is asked for", () => {
    const error = new HeadwaterError("LogFull", "full", { where: "here", hint: "Make room." });
    expect(error).toMatchObject({ where: "here", hint: "Make room.", message: "full" });
    expect(isHeadwaterError(error)).toBe(true);
    expect(isHeadwaterError(error, "LogFull")).toBe(true);
    expect(isHeadwaterError(error, "LogDamaged")).toBe(false);
    expect(isHeadwaterError(new Error("full"))).toBe(false);
  });
});
