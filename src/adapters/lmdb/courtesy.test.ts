import { describe, expect, test } from "vitest";
import { BOUNDS } from "./bounds.ts";
import { Courtesy } from "./courtesy.ts";

describe("a courteous writer", () => {
  test("alone takes as much as any, and does not rest", () => {
    const courtesy = new Courtesy();
    for (let at = 0; at < 5; at++) {
      courtesy.begins(10 * at, at);
      expect(courtesy.bytesAt(at, 0)).toBe(BOUNDS.commitBytes);
      expect(courtesy.ends(10 * at + 10, 4, at)).toBe(0);
    }
  });

  test("takes little and rests while others commit, and for a while after", () => {
    const courtesy = new Courtesy();
    courtesy.begins(5, 0);
    expect(courtesy.ends(10, 4, 0)).toBe(0);
    courtesy.begins(12, 100);
    expect(courtesy.bytesAt(100, 1_000)).toBe(BOUNDS.courtesyBytes);
    expect(courtesy.bytesAt(100, 160 * BOUNDS.courtesyBytes)).toBe(10 * BOUNDS.courtesyBytes);
    expect(courtesy.bytesAt(100, 2 ** 40)).toBe(BOUNDS.commitBytes);
    expect(courtesy.ends(14, 6, 106)).toBe(6 * BOUNDS.courtesyTimes);
    // Nothing came in between, but it is not long ago.
    courtesy.begins(14, 150);
    expect(courtesy.ends(16, 0, 150)).toBe(BOUNDS.courtesyMs);
    expect(courtesy.ends(16, 60_000, 150)).toBe(BOUNDS.courtesyMsMost);
    const later = 100 + BOUNDS.courtesyForMs;
    courtesy.begins(16, later);
    expect(courtesy.bytesAt(later, 0)).toBe(BOUNDS.commitBytes);
    expect(courtesy.ends(18, 4, later)).toBe(0);
  });
});
