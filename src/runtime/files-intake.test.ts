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
import { createFiles } from "../adapters/files/files.ts";
import { createSystemClock } from "../adapters/system/clock.ts";
import type { InputProgress } from "../core/events.ts";
import { type FileNotice, FilesIntake } from "./files-intake.ts";
import { isRefusedAlready } from "./intake.ts";
import { otherInputs } from "./other-inputs.ts";

let folder: string;
let path: string;
let door: Door;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headwater-intake-"));
  path = join(folder, "app.log");
  door = new Door();
});
afterEach(async () => {
  await door.stop();
  rmSync(folder, { recursive: true });
});

/** Takes in what an intake gives, and makes it durable at once, as a door does in a log that outlives it. */
class Door {
  readonly lines: string[] = [];
  readonly notices: FileNotice[] = [];
  turns = 0;
  /** What is known, as a door has it in mind. */
  #others: readonly InputProgress[] = [];
  #input: InputProgress | undefined;
  #linesMost = Number.POSITIVE_INFINITY;
  #stop = new AbortController();
  #done: Promise<void> = Promise.resolve();
  #intake: FilesIntake | undefined;
  #changed: () => void = () => {};

  /** Begins to read `path`, with what was taken before in mind. After `linesMost` lines in all it is as if killed. */
  async begin(path: string, follow: boolean, linesMost = Number.POSITIVE_INFINITY): Promise<void> {
    await this.#intake?.close();
    this.#linesMost = linesMost;
    const intake = await FilesIntake.open({
      files: createFiles(),
      clock: createSystemClock(),
      path,
      format: undefined,
      again: false,
      follow,
      onFile: (notice) => {
        this.notices.push(notice);
        this.#changed();
      },
    });
    this.#intake = intake;
    this.#stop = new AbortController();
    this.#done = this.#take(intake, this.#stop.signal);
  }

  /** Resolves when the files are read to their ends. */
  ended(): Promise<void> {
    return this.#done;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
    await this.#intake?.close();
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  async #take(intake: FilesIntake, signal: AbortSignal): Promise<void> {
    if ((await intake.exhausted(this.#known, signal)) !== undefined) return;
    const { input, inputs = [] } = await intake.locate(this.#known);
    this.#others = otherInputs(this.#known, inputs, input);
    this.#input = input;
    for await (const step of intake.steps(input, () => this.#known, signal)) {
      if (step.kind === "input") {
        this.turns++;
        const left = this.#input === undefined ? [] : [this.#input];
        this.#others = otherInputs(this.#others, left, step.input);
        this.#input = step.input;
      }
      if (step.kind === "found") this.#others = otherInputs(this.#others, step.inputs, this.#input);
      if (step.kind !== "records") continue;
      const now = this.#input;
      if (now === undefined) throw new Error("records of no input");
      const records = step.records
        .filter((record) => !isRefusedAlready(record, now))
        .slice(0, this.#linesMost - this.lines.length);
      for (const { value } of records) this.lines.push((value as { line: string }).line);
      const bytes = records.at(-1)?.end ?? now.bytes;
      const read = now.read + records.length;
      this.#input = { ...now, name: intake.name, bytes, digest: intake.digestUpTo(bytes), read };
      this.#changed();
      if (this.lines.length >= this.#linesMost) return;
    }
  }

  get #known(): readonly InputProgress[] {
    return this.#input === undefined ? this.#others : [...this.#others, this.#input];
  }
}

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
    door = new Door();
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
        door = new Door();
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
      door = new Door();
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
