import { expect, test } from "vitest";
import { roughSize } from "./rough-size.ts";

test("the rough size of a value grows with its texts and bytes, however they are nested", () => {
  const large = "x".repeat(100_000);
  expect(roughSize(large)).toBeGreaterThan(100_000);
  expect(roughSize({ a: { b: [1, large] } })).toBeGreaterThan(100_000);
  expect(roughSize(new Uint8Array(5_000))).toBeGreaterThan(5_000);
  expect(roughSize({ id: 1, name: "a" })).toBeLessThan(500);
  expect(roughSize(Array.from({ length: 100_000 }, () => "ten chars!"))).toBeGreaterThan(1_000_000);
});

test("it is asked of anything", () => {
  const round: Record<string, unknown> = {};
  round["self"] = round;
  const refusing = new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error("not asked");
      },
    },
  );
  for (const value of [undefined, null, 1n, Symbol("s"), () => 1, round, refusing, new Date(0), [[[[]]]]]) {
    expect(roughSize(value)).toBeGreaterThan(0);
  }
});
