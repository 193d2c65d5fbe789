import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { InputRecord } from "../../ports/files.ts";
import { createFiles } from "./files.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "headwater-growing-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function read(path: string, from: number, growing: boolean): Promise<InputRecord[]> {
  const input = await createFiles().openInput(path);
  const records: InputRecord[] = [];
  for await (const batch of input.read({ from, growing })) records.push(...batch);
  return records;
}

describe("a file that is being written", () => {
  test.each([
    ["lines.jsonl", '{"a":1}\n{"a"', ":2}\n", [{ a: 1 }], [{ a: 2 }]],
    ["rows.csv", "a,b\n1,2\n3", ",4\n", [{ a: "1", b: "2" }], [{ a: "3", b: "4" }]],
  ])("gives a line of %s only when it has ended", async (name, begun, rest, first, second) => {
    const path = join(dir, name);
    writeFileSync(path, begun);
    const before = await read(path, 0, true);
    expect(before.map(({ value }) => value)).toEqual(first);
    const end = before.at(-1)?.end ?? 0;
    expect(await read(path, end, true)).toEqual([]);
    appendFileSync(path, rest);
    const after = await read(path, end, true);
    expect(after.map(({ value }) => value)).toEqual(second);
  });

  test("gives its last line without a line end when it is not going to grow", async () => {
    const path = join(dir, "lines.jsonl");
    writeFileSync(path, '{"a":1}\n{"a":2}');
    expect((await read(path, 0, false)).map(({ value }) => value)).toEqual([{ a: 1 }, { a: 2 }]);
  });
});
