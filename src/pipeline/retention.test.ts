import { describe, expect, test } from "vitest";
import { isHeadwaterError } from "../core/errors.ts";
import { pipeline } from "./pipeline.ts";
import type { RetentionOptions } from "./retention.ts";

const policyOf = (retention: RetentionOptions) => {
  const p = pipeline("p", { retention });
  p.source("in");
  return p.definition.retention;
};

describe("how long history is kept", () => {
  test("is said a tier each, in units that people use", () => {
    expect(policyOf({ payload: { age: "7d", size: "1.5GiB" }, state: { events: 10 } })).toEqual({
      payload: { ageMs: 604_800_000, bytes: 1_610_612_736 },
      state: { events: 10 },
    });
    expect(policyOf({ effects: { age: 5, size: 7 } })).toEqual({ effects: { ageMs: 5, bytes: 7 } });
  });

  test("is for ever where nothing is said", () => {
    const p = pipeline("p");
    p.source("in");
    expect(p.definition).not.toHaveProperty("retention");
  });

  test.each([
    ["a tier that there is not", { records: { age: "1d" } }, /there is no tier "records" \| retention/],
    ["no bound", { payload: {} }, /a tier has no bound \| retention\.payload/],
    ["a bound that there is not", { payload: { records: 5 } }, /a tier has no bound "records"/],
    ["no size", { payload: { size: "large" } }, /not a size: "large" \| retention\.payload/],
    ["a size of nothing", { payload: { size: 0 } }, /not a size: 0/],
    ["a unit that there is not", { payload: { size: "5kiB" } }, /not a size: "5kiB"/],
    ["no age", { payload: { age: "long" } }, /the age is not a duration: "long"/],
    ["half an event", { payload: { events: 0.5 } }, /events has to be a whole number from 1 on, not 0\.5/],
  ] as const)("is refused where it has %s", (_what, options, message) => {
    try {
      policyOf(options as never);
    } catch (error) {
      if (!isHeadwaterError(error, "BadPipeline")) throw error;
      expect(`${error.message} | ${error.where}`).toMatch(message);
      return;
    }
    throw new Error("nothing was refused");
  });
});
