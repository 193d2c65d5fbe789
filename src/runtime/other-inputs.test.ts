import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { newInput } from "./located-input.ts";
import { claimPieces, notAmong, OtherInputs, sameProgress } from "./other-inputs.ts";

const inputs = fc.array(
  fc
    .record({
      name: fc.integer({ min: 0, max: 40 }),
      bytes: fc.integer({ min: 0, max: 3 }),
      long: fc.boolean(),
    })
    .map(
      ({ name, bytes, long }): InputProgress => ({
        ...newInput(`${name}${long ? "x".repeat(40_000) : ""}`, 0, "1:2"),
        bytes,
        digest: new Uint8Array(32).fill(bytes),
      }),
    ),
  { maxLength: 60 },
);

describe("what a door knows of inputs", () => {
  it("is said in pieces that fit into an event each, all of it, in its order", () => {
    fc.assert(
      fc.property(inputs, (known) => {
        const pieces = claimPieces(known);
        expect(pieces.flat()).toEqual(known);
        for (const piece of pieces) {
          const bytes = piece.reduce((sum, { name }) => sum + name.length, 0);
          expect(bytes).toBeLessThanOrEqual(LIMITS.claimInputBytes);
        }
        expect(pieces.length === 1 || pieces.every(({ length }) => length > 0)).toBe(true);
      }),
    );
  });

  it("is of each the latest, in the order in which it was left, without the one that is read", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(inputs, inputs), { maxLength: 8 }),
        fc.integer({ min: 1, max: 20 }),
        (turns, most) => {
          const others = new OtherInputs(most);
          let expected: InputProgress[] = [];
          for (const [more, [input]] of turns) {
            others.turnTo(input, more);
            for (const one of more) {
              expected = expected.filter((other) => !sameProgress(one, other));
              if (one.bytes > 0 || one.identity !== undefined) expected.push(one);
            }
            expected = expected
              .filter((one) => input === undefined || !sameProgress(one, input))
              .slice(-most);
            expect(others.all).toEqual(expected);
            expect(others.size).toBe(expected.length);
          }
        },
      ),
    );
  });

  it("is compared with very many as with few", () => {
    fc.assert(
      fc.property(inputs, inputs, (known, others) => {
        const isNew = notAmong(others);
        expect(known.map(isNew)).toEqual(
          known.map((one) => !others.some((other) => sameProgress(one, other))),
        );
      }),
    );
  });
});
