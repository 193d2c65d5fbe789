import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IntakeDoor } from "../../test/fixtures/intake-door.ts";

let folder: string;
let path: string;
let door: IntakeDoor;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headwater-intake-"));
  path = join(folder, "app.log");
  door = new IntakeDoor();
});
afterEach(async () => {
  await door.stop();
  rmSync(folder, { recursive: true });
});

const count = (lines: number) => () => door.lines.length >= lines;

describe("a folder", () => {
  it("gives the lines of all its files, in the order of their names", async () => {
    writeFileSync(join(folder, "b.log"), "b1\nb2\n");
    writeFileSync(join(folder, "a.log.gz"), gzipSync("a1\na2"));
    writeFileSync(join(folder, "c"), "c1\n");
    writeFileSync(join(folder, "d.log"), "");
    mkdirSync(join(folder, "e"));
    await door.begin(folder, false);
    await door.ended();
    expect(door.lines).toEqual(["a1", "a2", "b1", "b2", "c1"]);
  });

  it("gives only what is new when it is read again", async () => {
    writeFileSync(join(folder, "a.log"), "a1\n");
    writeFileSync(join(folder, "b.log"), "b1\n");
    await door.begin(folder, false);
    await door.ended();
    appendFileSync(join(folder, "b.log"), "b2\n");
    writeFileSync(join(folder, "aa.log"), "aa1\n");
    renameSync(join(folder, "a.log"), join(folder, "z.log"));
    await door.begin(folder, false);
    await door.ended();
    expect(door.lines).toEqual(["a1", "b1", "aa1", "b2"]);
    const { turns } = door;
    await door.begin(folder, false);
    await door.ended();
    expect(door.turns).toBe(turns);
  });

  it("says of a file that came later that it has what another one had, and is not taken again", async () => {
    const [a, b, c] = ["a.log", "b.log", "c.log"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(a, "a1\na2\n");
    await door.begin(folder, true);
    await door.until(count(2));
    copyFileSync(a, b);
    await door.until(() => door.notices.length > 0);
    expect(door.notices).toEqual([{ event: "same-content", file: b, as: a }]);
    writeFileSync(c, "c1\n");
    await door.until(count(3));
    expect(door.lines).toEqual(["a1", "a2", "c1"]);
    // A file with another name, and the one before gone, was moved.
    await door.stop();
    renameSync(c, join(folder, "d.log"));
    await door.begin(folder, false);
    await door.ended();
    expect(door.lines).toEqual(["a1", "a2", "c1"]);
    expect(door.notices.filter(({ file }) => file.includes("d.log"))).toEqual([]);
  });

  it("says that a file was changed where it had been read, and takes it from its beginning", async () => {
    writeFileSync(join(folder, "a.log"), "a1\na2\n");
    writeFileSync(join(folder, "b.log"), "b1\n");
    await door.begin(folder, false);
    await door.ended();
    writeFileSync(join(folder, "a.log"), "a1\nA2\n");
    appendFileSync(join(folder, "b.log"), "b2\n");
    await door.begin(folder, false);
    await door.ended();
    expect(door.lines).toEqual(["a1", "a2", "b1", "a1", "A2", "b2"]);
    expect(door.notices).toEqual([{ event: "changed", file: join(folder, "a.log") }]);
  });

  it("leaves out what it cannot read, and says so", async () => {
    writeFileSync(join(folder, "a.bin"), Buffer.from([0, 1, 2]));
    writeFileSync(join(folder, "b.gz"), "not gzip");
    writeFileSync(join(folder, "c.log"), "c1\n");
    await door.begin(folder, false);
    await door.ended();
    expect(door.lines).toEqual(["c1"]);
    expect(door.notices).toMatchObject([
      { event: "left-out", file: join(folder, "a.bin") },
      { event: "left-out", file: join(folder, "b.gz") },
    ]);
  });

  it("gives all that can be read before it fails with a file that breaks off", async () => {
    const lines = Array.from({ length: 5_000 }, (_, index) => `a${index} ${Math.sin(index)}`);
    const zipped = gzipSync(lines.join("\n"));
    writeFileSync(join(folder, "a.log.gz"), zipped.subarray(0, zipped.length - 100));
    writeFileSync(join(folder, "b.log"), "b1\n");
    await door.begin(folder, false);
    await expect(door.ended()).rejects.toMatchObject({
      code: "InputFailed",
      where: join(folder, "a.log.gz"),
    });
    expect(door.lines.at(-1)).toBe("b1");
    expect(door.lines.length).toBeGreaterThan(1_000);
    door = new IntakeDoor();
  });

  it("is followed: files that grow, and files that come", async () => {
    writeFileSync(join(folder, "a.log"), "a1\n");
    await door.begin(folder, true);
    await door.until(count(1));
    writeFileSync(join(folder, "b.log"), "b1\nb2");
    await door.until(count(2));
    appendFileSync(join(folder, "a.log"), "a2\n");
    await door.until(count(3));
    appendFileSync(join(folder, "b.log"), " and more\n");
    await door.until(count(4));
    expect(door.lines).toEqual(["a1", "b1", "a2", "b2 and more"]);
  });

  it("is not read twice when a file in it is rotated, by a rename or by a copy", async () => {
    writeFileSync(path, "a1\na2\n");
    await door.begin(folder, true);
    await door.until(count(2));
    renameSync(path, `${path}.1`);
    writeFileSync(path, "b1\n");
    await door.until(count(3));
    copyFileSync(path, `${path}.2`);
    truncateSync(path, 0);
    await door.until(() => door.notices.some(({ event }) => event === "truncated"));
    appendFileSync(path, "c1\n");
    await door.until(count(4));
    expect(door.lines).toEqual(["a1", "a2", "b1", "c1"]);
    // Between the copy and the truncation both had the same content, and one may have looked then.
    const notices = door.notices.filter(({ event }) => event !== "same-content");
    expect(notices).toEqual([{ event: "truncated", file: path }]);
  });
});

describe("a file that is followed", () => {
  it("is followed through rotations: all that was written to the old one comes before the new one", async () => {
    writeFileSync(path, "");
    await door.begin(path, true);
    const expected: string[] = [];
    let lines = 0;
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 3; index++) {
        expected.push(`line ${lines++}`);
        appendFileSync(path, `${expected.at(-1)}\n`);
      }
      if (round % 2 === 0) await door.until(count(lines));
      renameSync(path, `${path}.${round}`);
      // Who writes has not noticed yet.
      expected.push(`line ${lines++}`);
      appendFileSync(`${path}.${round}`, `${expected.at(-1)}\n`);
      writeFileSync(path, "");
      await door.until(() => door.notices.length > round);
    }
    await door.until(count(lines));
    expect(door.lines).toEqual(expected);
    expect(door.notices.every(({ event }) => event === "rotated")).toBe(true);
  });

  it("gives what is written late to a file that was rotated", async () => {
    writeFileSync(path, "a1\n");
    await door.begin(path, true);
    await door.until(count(1));
    renameSync(path, `${path}.1`);
    writeFileSync(path, "b1\n");
    await door.until(count(2));
    appendFileSync(`${path}.1`, "a2\n");
    await door.until(count(3));
    appendFileSync(path, "b2\n");
    await door.until(count(4));
    expect(door.lines).toEqual(["a1", "b1", "a2", "b2"]);
  });

  it("is watched for a minute after it was rotated, or was last written to, and not longer", async () => {
    writeFileSync(path, "a1\n");
    await door.begin(path, true);
    await door.until(count(1));
    renameSync(path, `${path}.1`);
    let lines = 1;
    const now = async (file: string, line: string) => {
      appendFileSync(file, `${line}\n`);
      await door.until(count(++lines));
    };
    const looksAgain = async () => {
      const { rests } = door;
      await door.until(() => door.rests > rests + 1);
    };
    await now(path, "b1");
    for (const late of ["a2", "a3"]) {
      door.pass(50_000);
      await looksAgain();
      await now(`${path}.1`, late);
    }
    door.pass(60_000);
    await looksAgain();
    appendFileSync(`${path}.1`, "too late\n");
    await looksAgain();
    await now(path, "b2");
    expect(door.lines).not.toContain("too late");
  });

  it("is looked at again soon, however long it took until what was found was taken", async () => {
    writeFileSync(path, "a1\n");
    // As if who takes it had waited for a slow service all the while.
    door.onLine = () => door.pass(3_600_000);
    await door.begin(path, true);
    await door.until(count(1));
    appendFileSync(path, "a2\n");
    await door.until(count(2));
    expect(door.lines).toEqual(["a1", "a2"]);
  });

  it("is read from its beginning when it is truncated, also where it begins as it did before", async () => {
    writeFileSync(path, "started\nlong line of the first start\n");
    await door.begin(path, true);
    await door.until(count(2));
    truncateSync(path, 0);
    await door.until(() => door.notices.length > 0);
    appendFileSync(path, "started\n");
    await door.until(count(3));
    appendFileSync(path, "again\n");
    await door.until(count(4));
    expect(door.lines.slice(2)).toEqual(["started", "again"]);
  });

  it("gives what was copied before it was truncated, and not read by then", async () => {
    writeFileSync(path, "a1\n");
    await door.begin(path, true);
    await door.until(count(1));
    await door.stop();
    appendFileSync(path, "a2\n");
    copyFileSync(path, `${path}.1`);
    writeFileSync(path, "b1\n");
    await door.begin(path, true);
    await door.until(count(3));
    expect(door.lines).toEqual(["a1", "a2", "b1"]);
    expect(door.notices).toEqual([{ event: "found-rotated", file: `${path}.1` }]);
  });

  it.each([
    ["as they are", (file: string) => file],
    [
      "compressed",
      (file: string) => {
        writeFileSync(`${file}.gz`, gzipSync(readFileSync(file)));
        rmSync(file);
        return `${file}.gz`;
      },
    ],
  ])("is read on where it was left, through files that were rotated meanwhile: %s", async (_, pack) => {
    writeFileSync(path, "a1\na2\n");
    await door.begin(path, true);
    await door.until(count(2));
    await door.stop();
    appendFileSync(path, "a3\n");
    renameSync(path, `${path}.2`);
    pack(`${path}.2`);
    writeFileSync(`${path}.1`, "b1\n");
    writeFileSync(path, "c1\n");
    await door.begin(path, true);
    await door.until(count(5));
    expect(door.lines).toEqual(["a1", "a2", "a3", "b1", "c1"]);
    await door.stop();
    await door.begin(path, true);
    appendFileSync(path, "c2\n");
    await door.until(count(6));
    expect(door.lines.at(-1)).toBe("c2");
  });

  it("is new after a truncation that was noticed before it was stopped, though it begins as before", async () => {
    writeFileSync(path, "started\n");
    await door.begin(path, true);
    await door.until(count(1));
    truncateSync(path, 0);
    await door.until(() => door.notices.length > 0);
    appendFileSync(path, "started\n");
    await door.until(count(2));
    await door.stop();
    await door.begin(path, true);
    appendFileSync(path, "more\n");
    await door.until(count(3));
    expect(door.lines).toEqual(["started", "started", "more"]);
  });
});
