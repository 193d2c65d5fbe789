/** What comes while a name or a folder is followed: files that are awaited, copies being written, very many files. */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IntakeDoor } from "../../test/fixtures/intake-door.ts";
import { LIMITS } from "../core/limits.ts";

let folder: string;
let door: IntakeDoor;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headwater-arriving-"));
  door = new IntakeDoor();
});
afterEach(async () => {
  await door.stop();
  rmSync(folder, { recursive: true });
});

const file = (name: string) => join(folder, name);
const count = (lines: number) => () => door.lines.length >= lines;
const looks = (times: number) => new Promise((resolve) => setTimeout(resolve, times * LIMITS.followMs));
const linesOf = (name: string, from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `${name} ${from + index} ${"x".repeat(80)}`);
const text = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join("");

describe("a name that is followed before there is anything under it", () => {
  it("is waited for, and followed from then on", async () => {
    const path = file("later/app.log");
    await door.begin(path, true);
    expect(door.notices).toEqual([{ event: "awaited", file: path }]);
    mkdirSync(file("later"));
    await looks(2);
    writeFileSync(path, "a1\n");
    await door.until(count(1));
    renameSync(path, `${path}.1`);
    writeFileSync(path, "b1\n");
    await door.until(count(2));
    expect(door.lines).toEqual(["a1", "b1"]);
  });

  it("goes on with what was taken of the file in the last run, and with what that became", async () => {
    const path = file("app.log");
    writeFileSync(path, "a1\n");
    await door.begin(path, true);
    await door.until(count(1));
    await door.stop();
    appendFileSync(path, "a2\n");
    renameSync(path, `${path}.1`);
    await door.begin(path, true);
    await looks(2);
    writeFileSync(path, "b1\n");
    await door.until(count(3));
    await door.stop();
    renameSync(path, file("aside"));
    await door.begin(path, true);
    await looks(2);
    appendFileSync(file("aside"), "b2\n");
    renameSync(file("aside"), path);
    await door.until(count(4));
    expect(door.lines).toEqual(["a1", "a2", "b1", "b2"]);
  });

  it("may become a folder", async () => {
    await door.begin(file("in"), true);
    mkdirSync(file("in"));
    writeFileSync(file("in/a.log"), "a1\n");
    await door.until(count(1));
    writeFileSync(file("in/b.log"), "b1\n");
    await door.until(count(2));
    expect(door.lines).toEqual(["a1", "b1"]);
  });

  it.skipIf(process.getuid?.() === 0)(
    "is tried again while it cannot be read, and that is said once",
    async () => {
      const path = file("app.log");
      await door.begin(path, true);
      writeFileSync(file("new"), "a1\n");
      chmodSync(file("new"), 0o000);
      renameSync(file("new"), path);
      await looks(4);
      expect(door.notices.map(({ event }) => event)).toEqual(["awaited", "unreadable"]);
      chmodSync(path, 0o600);
      await door.until(count(1));
    },
  );
});

describe("a copy that is still being written in a folder that is followed", () => {
  const original = linesOf("a", 0, 200);
  const content = Buffer.from(text(original));

  /** Writes `bytes` to a file in parts, with time between them to look at it. */
  async function writeSlowly(name: string, bytes: Uint8Array, parts: number): Promise<void> {
    const handle = openSync(file(name), "w");
    for (let part = 0; part < parts; part++) {
      await looks(2);
      const at = Math.floor((bytes.length * part) / parts);
      writeSync(handle, bytes, at, Math.floor((bytes.length * (part + 1)) / parts) - at);
    }
    closeSync(handle);
  }

  it.each([
    ["as it is", "z.log", content],
    ["compressed", "a.log.1.gz", gzipSync(content, { level: 1 })],
  ])("is not taken as new lines: %s", async (_, name, bytes) => {
    writeFileSync(file("a.log"), content);
    await door.begin(folder, true);
    await door.until(count(200));
    await writeSlowly(name, bytes, 4);
    await looks(3);
    expect(door.lines).toEqual(original);
    expect(door.notices).toEqual([{ event: "same-content", file: file(name), as: file("a.log") }]);
    // What comes after it is new.
    if (name === "z.log") appendFileSync(file(name), "more\n");
    else appendFileSync(file("a.log"), "more\n");
    await door.until(count(201));
    expect(door.lines.at(-1)).toBe("more");
  });

  it("is not taken by the next run, either", async () => {
    writeFileSync(file("a.log"), content);
    await door.begin(folder, false);
    await door.ended();
    writeFileSync(file("b.log"), content.subarray(0, 10_000));
    await door.begin(folder, false);
    await door.ended();
    expect(door.lines).toEqual(original);
    expect(door.notices).toEqual([{ event: "same-content", file: file("b.log"), as: file("a.log") }]);
    writeFileSync(file("b.log"), content);
    appendFileSync(file("b.log"), "more\n");
    await door.begin(folder, false);
    await door.ended();
    expect(door.lines).toEqual([...original, "more"]);
  });

  it("is a file of its own as soon as it goes on in another way", async () => {
    writeFileSync(file("a.log"), content);
    await door.begin(folder, true);
    await door.until(count(200));
    const other = [...original.slice(0, 100), "another"];
    writeFileSync(file("b.log"), text(other.slice(0, 100)));
    await looks(3);
    expect(door.lines).toEqual(original);
    appendFileSync(file("b.log"), "another\n");
    await door.until(count(301));
    expect(door.lines.slice(200)).toEqual(other);
  });

  it("is a file of its own if it is short, and stays so", async () => {
    writeFileSync(file("a.log"), content);
    await door.begin(folder, true);
    await door.until(count(200));
    writeFileSync(file("b.log"), text(original.slice(0, 1)));
    await looks(3);
    expect(door.lines).toEqual(original);
    await door.until(count(201));
    expect(door.lines.at(-1)).toBe(original[0]);
  }, 20_000);

  it("holds up nothing that comes beside it, and no file that begins in its own way", async () => {
    writeFileSync(file("a.log"), content);
    await door.begin(folder, true);
    await door.until(count(200));
    writeFileSync(file("b.log"), content.subarray(0, 8_000));
    writeFileSync(file("c.log"), "c1\nc2");
    await door.until(count(201));
    appendFileSync(file("a.log"), "a201\n");
    await door.until(count(202));
    expect(door.lines.slice(200)).toEqual(["c1", "a201"]);
  });

  it("of JSON is left out until it is whole", async () => {
    await door.begin(folder, true);
    const json = JSON.stringify(Array.from({ length: 50 }, (_, index) => ({ line: `j${index}` })));
    await writeSlowly("a.json", Buffer.from(json), 3);
    await door.until(count(50));
    expect(door.lines).toEqual(Array.from({ length: 50 }, (_, index) => `j${index}`));
  });
});

describe("a folder that gets ever more files", () => {
  /** How many files of the folder this process has open. */
  const open = () =>
    readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder);
      } catch {
        return false;
      }
    }).length;

  it.skipIf(process.platform !== "linux")(
    "is followed with few of them open, and none is missed that changes",
    async () => {
      const names = Array.from({ length: 1_500 }, (_, index) => `${String(index).padStart(5, "0")}.log`);
      const [first, ...rest] = names as [string, ...string[]];
      for (const name of names.slice(0, 700)) writeFileSync(file(name), `${name} 1\n`);
      await door.begin(folder, true);
      await door.until(count(700));
      for (const name of names.slice(700)) writeFileSync(file(name), `${name} 1\n`);
      await door.until(count(1_500));
      expect(open()).toBeLessThanOrEqual(LIMITS.openFiles + 1);
      // One that rests is read on, also under another name, or anew.
      appendFileSync(file(first), `${first} 2\n`);
      await door.until(count(1_501));
      renameSync(file("00001.log"), file("moved.log"));
      appendFileSync(file("moved.log"), "moved 2\n");
      await door.until(count(1_502));
      truncateSync(file("00002.log"), 0);
      writeFileSync(file("00002.log"), "anew\n");
      await door.until(count(1_503));
      // A file that gets the inode of one that was deleted is another one.
      const { ino } = statSync(file("00003.log"));
      rmSync(file("00003.log"));
      writeFileSync(file("x-other.log"), "other 1\n");
      await door.until(count(1_504));
      expect([door.lines.at(-1), ino > 0]).toEqual(["other 1", true]);
      expect(door.lines.slice(1_500)).toEqual([`${first} 2`, "moved 2", "anew", "other 1"]);
      expect(open()).toBeLessThanOrEqual(LIMITS.openFiles + 1);
      await door.stop();
      await door.begin(folder, false);
      await door.ended();
      expect(door.lines).toHaveLength(1_504);
      expect(rest).toHaveLength(1_499);
    },
    60_000,
  );

  it("keeps a file's unfinished last line for when it ends, though many others come", async () => {
    writeFileSync(file("a.log"), "a1\na2");
    await door.begin(folder, true);
    await door.until(count(1));
    for (let index = 0; index < 400; index++) writeFileSync(file(`b${index}.log`), `b${index}\n`);
    await door.until(count(401));
    copyFileSync(file("a.log"), file("c.log"));
    await looks(2);
    appendFileSync(file("a.log"), " ends\n");
    await door.until(count(402));
    expect(door.lines.at(-1)).toBe("a2 ends");
  }, 60_000);
});
