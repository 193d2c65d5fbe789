import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GrowingFile } from "../../ports/files.ts";
import { createFiles } from "./files.ts";

let path: string;
let file: GrowingFile;
let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headwater-open-"));
  path = join(folder, "a.log");
  writeFileSync(path, "one\ntwo\n");
  file = await createFiles().openGrowing(path);
});
afterEach(async () => {
  await file.close();
  rmSync(folder, { recursive: true });
});

async function readFrom(from: number): Promise<unknown[]> {
  const input = await file.input();
  const lines: unknown[] = [];
  for await (const records of input.read({ from, growing: true })) {
    lines.push(...records.map(({ value }) => (value as { line: string }).line));
  }
  return lines;
}

describe("a file that is kept open", () => {
  it("says what became of it", async () => {
    expect(await file.look()).toBe("grown");
    expect(await readFrom(0)).toEqual(["one", "two"]);
    expect(await file.look()).toBe("same");
    appendFileSync(path, "thr");
    expect(await file.look()).toBe("grown");
    expect(await readFrom(8)).toEqual([]);
    appendFileSync(path, "ee\n");
    expect(await file.look()).toBe("grown");
    expect(await readFrom(8)).toEqual(["three"]);
  });

  it("is the same under another name", async () => {
    await readFrom(0);
    renameSync(path, `${path}.1`);
    writeFileSync(path, "new\n");
    appendFileSync(`${path}.1`, "three\n");
    expect(await file.look()).toBe("grown");
    expect(await readFrom(8)).toEqual(["three"]);
    expect(await createFiles().identify(path)).not.toBe(file.identity);
    expect(await createFiles().identify(`${path}.1`)).toBe(file.identity);
  });

  it.each([
    ["shorter", "new\n"],
    ["as long", "new\nline"],
    ["longer than it was", "new\nlines\nof many words\n"],
  ])("notices that it was truncated, though it is %s by now", async (_, content) => {
    await readFrom(0);
    truncateSync(path, 0);
    appendFileSync(path, content);
    expect(await file.look()).toBe("replaced");
    expect(await readFrom(0)).toEqual(content.split("\n").slice(0, content.endsWith("\n") ? -1 : 1));
    expect(await file.look()).toBe("same");
  });

  it("is empty between its truncation and the next line", async () => {
    await readFrom(0);
    truncateSync(path, 0);
    expect(await file.look()).toBe("replaced");
    expect(await file.look()).toBe("empty");
    appendFileSync(path, "x\n");
    expect(await file.look()).toBe("grown");
  });
});
