import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import {
  notableParameters,
  overridesOf,
  overridesOfTexts,
  parametersOf,
  withParameters,
} from "./parameter-overrides.ts";
import { parameter } from "./parameters.ts";
import { pipeline } from "./pipeline.ts";

function definition() {
  const p = pipeline("p");
  p.source("s")
    .filter("large", () => true, {
      parameters: {
        least: parameter(z.number().positive(), 100),
        unit: parameter(z.string(), "EUR"),
        either: parameter(z.union([z.number(), z.string()]), 0),
        list: parameter(z.array(z.number()), []),
      },
    })
    .map("plain", (x) => x)
    .map("constructor", (x) => x, { parameters: { toString: parameter(z.boolean(), false) } });
  return p.definition;
}

function set(texts: Readonly<Record<string, string>>) {
  return parametersOf(withParameters(definition(), overridesOfTexts(new Map(Object.entries(texts)))));
}

function refusal(act: () => unknown): Partial<HeadwaterError> {
  try {
    act();
  } catch (error) {
    return error as HeadwaterError;
  }
  throw new Error("nothing was refused");
}

const DEFAULTS = {
  large: { least: 100, unit: "EUR", either: 0, list: [] },
  constructor: { toString: false },
};

describe("the values of a pipeline's parameters", () => {
  it("are the defaults, then what is given, the last one of several", () => {
    const plain = (found: object) => JSON.parse(JSON.stringify(found));
    expect(plain(parametersOf(definition()))).toEqual(DEFAULTS);
    const given = overridesOf({ large: { least: 5, unit: "USD" } });
    const more = overridesOf({ large: { least: 6 }, constructor: { toString: true } });
    const changed = withParameters(definition(), [...given, ...more]);
    expect(plain(parametersOf(changed))).toEqual({
      large: { ...DEFAULTS.large, least: 6, unit: "USD" },
      constructor: { toString: true },
    });
    // What was set before stays where nothing else is given.
    const twice = withParameters(changed, overridesOf({ large: { least: 7 } }));
    expect(plain(parametersOf(twice))).toMatchObject({ large: { least: 7, unit: "USD" } });
  });

  it("are read from text as JSON where that fits, and as they are where it does not", () => {
    expect(set({ "large.least": "5" })).toMatchObject({ large: { least: 5 } });
    expect(set({ "large.least": " 5e1 " })).toMatchObject({ large: { least: 50 } });
    expect(set({ "large.unit": "USD" })).toMatchObject({ large: { unit: "USD" } });
    expect(set({ "large.unit": '"5"' })).toMatchObject({ large: { unit: "5" } });
    expect(set({ "large.unit": "5" })).toMatchObject({ large: { unit: "5" } });
    expect(set({ "large.unit": "null" })).toMatchObject({ large: { unit: "null" } });
    expect(set({ "large.unit": "" })).toMatchObject({ large: { unit: "" } });
    expect(set({ "large.unit": '{"half' })).toMatchObject({ large: { unit: '{"half' } });
    expect(set({ "large.either": "5" })).toMatchObject({ large: { either: 5 } });
    expect(set({ "large.either": "five" })).toMatchObject({ large: { either: "five" } });
    expect(set({ "large.list": "[1, 2]" })).toMatchObject({ large: { list: [1, 2] } });
    expect(set({ "constructor.toString": "true" })).toMatchObject({ constructor: { toString: true } });
  });

  it("are not rounded: an integer beyond 2^53 is taken as text or not at all", () => {
    expect(set({ "large.either": "9007199254740993" })).toMatchObject({
      large: { either: "9007199254740993" },
    });
    expect(refusal(() => set({ "large.least": "9007199254740993" })).message).toMatch(/is beyond 2\^53/);
    expect(refusal(() => set({ "large.list": "[1, 9007199254740993]" })).message).toMatch(/is beyond 2\^53/);
  });

  it("are refused where they are not declared, with those that are", () => {
    for (const [place, message, where, hint] of [
      [
        "large.lest",
        'the stage has no parameter "lest"',
        "stage large",
        "It has: least, unit, either, list.",
      ],
      ["large.constructor", 'the stage has no parameter "constructor"', "stage large", /^It has: least/],
      ["large.__proto__", 'the stage has no parameter "__proto__"', "stage large", /^It has: least/],
      [
        "constructor.valueOf",
        'the stage has no parameter "valueOf"',
        "stage constructor",
        "It has: toString.",
      ],
      [
        "plain.least",
        'the stage "plain" has no parameters',
        "pipeline p",
        /^Stages with parameters: large \(least/,
      ],
      [
        "s.least",
        'there is no stage "s" whose parameter could be set',
        "pipeline p",
        /large.*, constructor \(toString\)\.$/,
      ],
      ["__proto__.least", 'there is no stage "__proto__" whose', "pipeline p", /large/],
      ["toString.least", 'there is no stage "toString" whose', "pipeline p", /large/],
    ] as const) {
      const error = refusal(() => set({ [place]: "5" }));
      expect(error).toMatchObject({ code: "BadParameter", message: expect.stringContaining(message), where });
      expect(error.hint, place).toMatch(hint);
    }
    const bare = pipeline("bare");
    bare.source("s").map("m", (x) => x);
    const error = refusal(() => withParameters(bare.definition, overridesOf({ m: { least: 1 } })));
    expect(error.hint).toBe("The pipeline has no parameters.");
  });

  it("are refused where they do not fit, with the default", () => {
    expect(refusal(() => set({ "large.least": "-5" }))).toMatchObject({
      code: "BadParameter",
      message: expect.stringMatching(/^the value does not fit: .*>0/),
      where: "stage large, parameter least",
      hint: "Give one like its default, which is 100.",
    });
    expect(refusal(() => set({ "large.least": "much" })).message).toMatch(/expected number, received string/);
    // What is said is about the likelier reading.
    expect(refusal(() => set({ "large.least": "true" })).message).toMatch(/received boolean/);
    for (const value of [undefined, new Date(0), 5n, Number.NaN]) {
      const given = overridesOf({ large: { least: value } });
      expect(refusal(() => withParameters(definition(), given)).where).toBe("stage large, parameter least");
    }
    for (const settings of [{ large: 5 }, { large: null }, { large: "abc" }]) {
      expect(refusal(() => overridesOf(settings as never))).toMatchObject({
        code: "BadParameter",
        where: "stage large",
      });
    }
  });

  it("are limited in size together", () => {
    const half = "x".repeat(LIMITS.parametersBytes / 2);
    expect(() => set({ "large.unit": half })).not.toThrow();
    expect(refusal(() => set({ "large.unit": half, "large.either": half }))).toMatchObject({
      code: "BadParameter",
      message: expect.stringContaining("bytes together"),
      where: "pipeline p",
    });
  });
});

describe("the parameters that somebody should hear of", () => {
  const notable = (least: number, before?: object) =>
    notableParameters(
      withParameters(definition(), overridesOf({ large: { least } })),
      before as Parameters<typeof notableParameters>[1],
    );

  it("are those that have not their default, and those that have it again", () => {
    expect(notable(100)).toEqual([]);
    expect(notable(5)).toEqual([{ stage: "large", name: "least", value: 5, isDefault: false }]);
    expect(notable(5, { large: { least: 5 } })).toHaveLength(1);
    expect(notable(100, { large: { least: 100 }, gone: { x: 1 } })).toEqual([]);
    expect(notable(100, { large: { least: 5 } })).toEqual([
      { stage: "large", name: "least", value: 100, isDefault: true },
    ]);
  });
});
