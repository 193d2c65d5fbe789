import { expect, test } from "vitest";
import { onOneLine } from "./format.ts";

test("text from outside cannot leave its line, or tell the terminal anything", () => {
  expect(onOneLine("no\u001b[31msuch\u0007\r\nheadwater: all well\u009b2J\u2028")).toBe(
    "no\\u001b[31msuch\\u0007\\r\\nheadwater: all well\\u009b2J\\u2028",
  );
  expect(onOneLine("Grüße, 東京 🚀")).toBe("Grüße, 東京 🚀");
});
