import { linkSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fileAt } from "./file-at.ts";

let dir: string;
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "headwater-file-at-")));
  mkdirSync(join(dir, "folder"));
  symlinkSync("folder", join(dir, "to-folder"));
  symlinkSync("to-folder/out.jsonl", join(dir, "to-file"));
  symlinkSync(join(dir, "to-file"), join(dir, "to-link"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const NAMES = ["folder/out.jsonl", "folder/../to-folder/./out.jsonl", "to-file", "to-link"];
const filesOf = (names: readonly string[]) => Promise.all(names.map((name) => fileAt(join(dir, name))));

test("all names of a file stand for it before it is there", async () => {
  expect(new Set(await filesOf(NAMES))).toEqual(new Set([join(dir, "folder/out.jsonl")]));
  expect(await fileAt(join(dir, "out.jsonl"))).not.toBe(await fileAt(join(dir, "to-link")));
});

test("all names of a file stand for it when it is there, also those that ln gave it", async () => {
  writeFileSync(join(dir, "to-link"), "");
  linkSync(join(dir, "folder/out.jsonl"), join(dir, "other.jsonl"));
  writeFileSync(join(dir, "out.jsonl"), "");
  expect(new Set(await filesOf([...NAMES, "other.jsonl"])).size).toBe(1);
  expect(await fileAt(join(dir, "out.jsonl"))).not.toBe(await fileAt(join(dir, "other.jsonl")));
});

test("links in circles, and what is no file, stand for themselves", async () => {
  symlinkSync("round", join(dir, "about"));
  symlinkSync("about", join(dir, "round"));
  const names = ["about", "folder", "missing/out.jsonl"];
  expect(new Set(await filesOf(names)).size).toBe(names.length);
});
