import { expect, test } from "vitest";
import { assuranceOf } from "./assurance.ts";

test("as many as the tables say have to be right for a share to be sure", () => {
  // ln 0.01 / ln 0.999, rounded up: 4603 of any number without a failure.
  expect(assuranceOf(4_602, 1e9).share).toBeLessThan(0.999);
  expect(assuranceOf(4_603, 1e9).share).toBeGreaterThanOrEqual(0.999);
  // The rule of three.
  expect(assuranceOf(300, 1e9, 0.95).share).toBeCloseTo(1 - 3 / 300, 3);
  expect(assuranceOf(0, 10)).toEqual({ confidence: 0.99, share: 0 });
  expect(assuranceOf(10, 10)).toEqual({ confidence: 1, share: 1 });
});

test("a sample of a population that is worse shows it as often as is said", () => {
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const sampled = 200;
  const { share } = assuranceOf(sampled, 1e9, 0.9);
  let shown = 0;
  const tries = 4_000;
  for (let at = 0; at < tries; at++) {
    for (let one = 0; one < sampled; one++) {
      if (random() < share) continue;
      shown++;
      break;
    }
  }
  expect(shown / tries).toBeCloseTo(0.9, 1);
});
