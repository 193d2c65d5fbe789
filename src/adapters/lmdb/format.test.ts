import { describe, expect, it } from "vitest";
import { toPosition } from "./format.ts";

describe("a position that was read from a damaged file", () => {
  it.each([133.00000002980232, Number.NaN, -1, Number.POSITIVE_INFINITY])("is damage: %d", (position) => {
    expect(() => toPosition(position)).toThrow(expect.objectContaining({ code: "LogDamaged" }));
  });
});
