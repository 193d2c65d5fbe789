import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createFiles } from "../adapters/files/files.ts";
import { beginsAsDifference, openDifferences } from "./diff-file.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headwater-diff-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("openDifferences", () => {
  it("does not cut a file that has got other content since it was looked at", async () => {
    const path = join(folder, "d.jsonl");
    writeFileSync(path, "something else\n");
    await expect(openDifferences({ files: createFiles() }, path)).rejects.toMatchObject({
      code: "ForeignOutput",
      where: path,
    });
    expect(readFileSync(path, "utf8")).toBe("something else\n");
  });
});

describe("beginsAsDifference", () => {
  const line = `{"sink":"a-1","kind":"gone","ordinal":17,"key":"source_p.s@0","from":"x"}\n`;

  it("knows differences by their first line, whole or cut off anywhere", () => {
    for (let length = 1; length <= line.length; length++) {
      expect(beginsAsDifference(line.slice(0, length))).toBe(true);
    }
  });

  it.each([
    "\n",
    "{}",
    `{"sink":1}`,
    `{"sink":"a","kind":"late","ordinal":1}`,
    `{"kind":"gone","ordinal":1,"sink":"a"}`,
    ` ${line}`,
    `{"sink":"a"}`,
    `{"sink":"a\n`,
  ])("does not take %j for some", (text) => {
    expect(beginsAsDifference(text)).toBe(false);
  });
});
