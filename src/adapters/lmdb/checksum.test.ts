import { expect, it } from "vitest";
import { checksum } from "./checksum.ts";

it("is the one of the catalogue of CRCs, whatever parts the bytes come in", () => {
  const digits = Buffer.from("123456789");
  expect(checksum(digits)).toBe(0x29b1);
  expect(checksum(digits.subarray(0, 4), digits.subarray(4))).toBe(0x29b1);
});
