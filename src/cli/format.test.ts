import { expect, test } from "vitest";
import { asLines, onOneLine, paint, prettyJson, shortJson, table } from "./format.ts";

test("text from outside cannot leave its line, or tell the terminal anything", () => {
  expect(onOneLine("no\u001b[31msuch\u0007\r\nheadwater: all well\u009b2J\u2028")).toBe(
    "no\\u001b[31msuch\\u0007\\r\\nheadwater: all well\\u009b2J\\u2028",
  );
  expect(onOneLine("Grüße, 東京 🚀")).toBe("Grüße, 東京 🚀");
  expect(onOneLine("evil\u202egnp.\u2066")).toBe("evil\\u202egnp.\\u2066");
});

test("nor can it in a table, in colour, or as a value", () => {
  const evil = "a\u009b2J\nb";
  const shown = "a\\u009b2J\\nb";
  const terminal = { write: () => Promise.resolve(), terminal: process.stdout };
  expect(table(["id"], [[evil], ["c"]], new Set())).toEqual(["id", shown, "c"]);
  expect(paint({ env: {} }, terminal, "dim", evil)).toBe(`\u001b[2m${shown}\u001b[22m`);
  expect(asLines([evil, "c"])).toBe(`${shown}\nc\n`);
  expect(shortJson({ [evil]: evil })).toBe(`{"${shown}":"${shown}"}`);
  const long = { [evil]: [evil, "x".repeat(100)] };
  for (const line of prettyJson(long).split("\n")) expect(line).toBe(onOneLine(line));
});
