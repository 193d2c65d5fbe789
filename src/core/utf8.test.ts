import fc from "fast-check";
import { expect, test } from "vitest";
import { compareUtf8, hasLoneSurrogate } from "./utf8.ts";

test("compareUtf8 is the order of the bytes", () => {
  const units = fc.constantFrom(
    "a",
    "b",
    "\u007f",
    "\u0080",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\u{10000}",
    "\u{10ffff}",
  );
  const texts = fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: units, maxLength: 5 }));
  const property = fc.property(texts, texts, (a, b) => {
    expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(compareUtf8(a, a)).toBe(0);
  });
  fc.assert(property, { numRuns: 2_000 });
});

test.each([
  ["", false],
  ["a\u{1f600}", false],
  ["\ud83d", true],
  ["\ude00\ud83d", true],
  ["a\udc00b", true],
])("hasLoneSurrogate(%j) is %s", (text, expected) => {
  expect(hasLoneSurrogate(text)).toBe(expected);
});
