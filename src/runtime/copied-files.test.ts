import { appendFileSync, copyFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IntakeDoor } from "../../test/fixtures/intake-door.ts";

let folder: string;
let path: string;
let door: IntakeDoor;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headwater-copied-"));
  path = join(folder, "app.log");
  door = new IntakeDoor();
});
afterEach(async () => {
  await door.stop();
  rmSync(folder, { recursive: true });
});

const count = (lines: number) => () => door.lines.length >= lines;

describe("files of a folder that have the same lines", () => {
  const file = (name: string) => join(folder, name);
  const write = (name: string, lines: readonly string[]) =>
    writeFileSync(file(name), lines.map((line) => `${line}\n`).join(""));
  /** Reads the folder to its end, and answers what was taken and told. */
  const read = async () => {
    const before = [door.lines.length, door.notices.length] as const;
    await door.begin(folder, false);
    await door.ended();
    return { lines: door.lines.slice(before[0]), notices: door.notices.slice(before[1]) };
  };
  const NOTHING = { lines: [], notices: [] };

  it("a copy is not taken, then or when either of them has grown, and that is said once", async () => {
    write("app.log", ["1", "2", "3"]);
    await read();
    copyFileSync(path, file("app.bak"));
    const notice = { event: "same-content", file: file("app.bak"), as: path };
    expect(await read()).toEqual({ lines: [], notices: [notice] });
    expect(await read()).toEqual(NOTHING);
    appendFileSync(path, "4\n");
    expect(await read()).toEqual({ lines: ["4"], notices: [] });
    expect(await read()).toEqual(NOTHING);
    appendFileSync(file("app.bak"), "5\n");
    appendFileSync(path, "6\n");
    expect(await read()).toEqual({ lines: ["5", "6"], notices: [] });
    expect(await read()).toEqual(NOTHING);
  });

  it("a copy that was there only when the other one had grown in between is known, too", async () => {
    write("app.log", ["1", "2"]);
    await read();
    copyFileSync(path, file("z.log"));
    appendFileSync(path, "3\n");
    expect((await read()).lines).toEqual(["3"]);
    expect(await read()).toEqual(NOTHING);
  });

  it("of a copy that has more, the rest is taken, and it is not said that nothing is", async () => {
    write("app.log", ["1", "2"]);
    await read();
    write("app.bak", ["1", "2", "3"]);
    expect(await read()).toEqual({ lines: ["3"], notices: [] });
    expect(await read()).toEqual(NOTHING);
  });

  it("a copy is known as one while the folder is followed, before the other one grows", async () => {
    write("app.log", ["1", "2"]);
    await door.begin(folder, true);
    await door.until(count(2));
    copyFileSync(path, file("app.bak"));
    await door.until(() => door.notices.length > 0);
    appendFileSync(path, "3\n");
    await door.until(count(3));
    await door.stop();
    expect(await read()).toEqual(NOTHING);
    expect(door.lines).toEqual(["1", "2", "3"]);
  });

  it.each([
    ["the same", ["1", "2", "3"]],
    ["more", ["1", "2", "3", "4"]],
    ["less", ["1", "2"]],
  ])(
    "both are taken that are there at the start, wherever it is killed: the other has %s",
    async (_, other) => {
      const lines = ["1", "2", "3"];
      for (let killed = 0; killed <= lines.length + other.length; killed++) {
        await door.stop();
        door = new IntakeDoor();
        write("a.log", lines);
        write("b.log", other);
        await door.begin(folder, false, killed);
        await door.ended();
        expect(door.lines.length).toBe(killed);
        await read();
        expect(door.lines).toEqual([...lines, ...other]);
        write("c.log", ["c"]);
        expect(await read()).toEqual({ lines: ["c"], notices: [] });
        expect(await read()).toEqual(NOTHING);
        rmSync(file("c.log"));
      }
    },
  );

  it("both are taken that come together while the folder is followed, wherever it is killed", async () => {
    for (let killed = 1; killed <= 5; killed++) {
      for (const name of ["a.log", "b.log", "c.log"]) rmSync(file(name), { force: true });
      await door.stop();
      door = new IntakeDoor();
      write("c.log", ["c"]);
      await door.begin(folder, true, killed);
      if (killed > 1) await door.until(count(1));
      else await door.ended();
      if (killed === 1) await door.begin(folder, true, 2);
      write("a.log", ["1", "2"]);
      write("b.log", ["1", "2"]);
      await door.ended();
      await read();
      expect(door.lines).toEqual(["c", "1", "2", "1", "2"]);
    }
  });

  it("one that another file was moved over since it was found is known by what that one had", async () => {
    write("a.log", ["1", "2"]);
    write("b.log", ["1", "2"]);
    await door.begin(folder, false, 2);
    await door.ended();
    renameSync(file("a.log"), file("b.log"));
    expect(await read()).toEqual(NOTHING);
  });

  it("a file that was moved goes on under its new name, and what has the old one is new", async () => {
    write("app.log", ["started", "1"]);
    await read();
    renameSync(path, file("app.log.1"));
    appendFileSync(file("app.log.1"), "2\n");
    write("app.log", ["started"]);
    expect((await read()).lines).toEqual(["started", "2"]);
    // It begins as the one before did, and nothing of that is left out.
    appendFileSync(path, "1\n3\n");
    expect((await read()).lines).toEqual(["1", "3"]);
    // Neither file has what the one that was moved had then.
    write("z.log", ["started", "1", "4"]);
    expect((await read()).lines).toEqual(["started", "1", "4"]);
  });

  it("one that was moved over another, which it begins with, is taken for itself", async () => {
    write("app.log.1", ["started"]);
    await read();
    write("app.log", ["started", "1"]);
    expect((await read()).lines).toEqual(["1"]);
    appendFileSync(path, "2\n");
    expect((await read()).lines).toEqual(["2"]);
    renameSync(path, file("app.log.1"));
    expect(await read()).toEqual(NOTHING);
  });

  it("one that was saved as another file is the same input, and is known as that file from then on", async () => {
    write("a.log", ["1"]);
    write("b.log", ["1"]);
    expect((await read()).lines).toEqual(["1", "1"]);
    copyFileSync(file("b.log"), file(".b"));
    renameSync(file(".b"), file("b.log"));
    appendFileSync(file("a.log"), "2\n");
    expect(await read()).toEqual({ lines: ["2"], notices: [] });
    appendFileSync(file("b.log"), "2\n");
    expect(await read()).toEqual({ lines: ["2"], notices: [] });
    expect(await read()).toEqual(NOTHING);
  });

  it("of two copies of a file that is gone one goes on with it, and the other is a copy of that one", async () => {
    write("app.log", ["1", "2"]);
    await read();
    copyFileSync(path, file("y.log"));
    renameSync(path, file("z.log"));
    const notice = { event: "same-content", file: file("z.log"), as: file("y.log") };
    expect(await read()).toEqual({ lines: [], notices: [notice] });
    appendFileSync(file("y.log"), "3\n");
    appendFileSync(file("z.log"), "4\n");
    expect(await read()).toEqual({ lines: ["3", "4"], notices: [] });
    expect(await read()).toEqual(NOTHING);
  });
});
