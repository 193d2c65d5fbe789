import { expect, it } from "vitest";
import type { WatermarkStep } from "../core/watermark.ts";
import { WatermarkMerge, type WatermarkSource } from "./watermark-merge.ts";

function sourceOf(...steps: WatermarkStep[]): WatermarkSource {
  return {
    get step() {
      return steps[0];
    },
    takeStep: () => void steps.shift(),
  };
}

it("steps that were worked off are known, and not taken again", () => {
  const ended = { ordinal: 9, watermark: { status: "ended", time: 100 } } as const;
  const before = [{ ordinal: 5, watermark: { status: "active", time: 100 } } as const, ended];
  const next = { ordinal: 12, watermark: { status: "active", time: 120 } } as const;
  const merge = new WatermarkMerge([sourceOf(...before, next), sourceOf(...before)], ended);
  expect(merge.take()).toBeUndefined();
  expect(merge.take()).toBeUndefined();
  expect(merge.take()).toEqual(next);
});
