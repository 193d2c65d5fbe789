import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { divisionOf } from "../runtime/rotating-target.ts";
import { parseRotation, rotationOf, rotationText } from "./rotation.ts";

describe("how files are rotated", () => {
  test.each([
    ["2KB", "2kB"],
    ["2048MiB", "2GiB"],
    ["1.5MB", "1.5MB"],
    ["60m", "1h"],
    ["90s", "90s"],
    ["1.5s", "1.5s"],
  ])("%s is said as %s", (given, said) => {
    expect(rotationText(parseRotation(given))).toBe(said);
  });

  test("what is said is read as the same", () => {
    const number = fc.integer({ min: 1_100, max: 999_999_999 }).map((thousandths) => thousandths / 1_000);
    const unit = fc.constantFrom("KiB", "KB", "MB", "GB", "MiB", "GiB", "s", "m", "h", "d");
    fc.assert(
      fc.property(number, unit, (value, of) => {
        const rotation = parseRotation(`${value}${of}`);
        expect(parseRotation(rotationText(rotation))).toEqual(rotation);
        expect(rotationOf(divisionOf(rotation))).toEqual(rotation);
      }),
    );
  });
});
