/** Text files that are rotated and truncated while they are followed, and folders of them; outputs that are rotated. */
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Command, headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { until } from "./kill-history.ts";
import { clearSound, countEvents } from "./open-log.ts";

const MINUTES = 60_000;
const TEXT = projectFile("test/e2e/fixtures/text.ts");
const place = new Workplace();
let cwd: string;
beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

function args(input: string, ...more: readonly string[]): string[] {
  return ["run", TEXT, "--input", `lines=${input}`, "--output", "out=out.jsonl", ...more];
}

const linesOf = (text: string): string[] =>
  text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line).line);

function output(): string[] {
  const path = join(cwd, "out.jsonl");
  return existsSync(path) ? linesOf(readFileSync(path, "utf8")) : [];
}

describe("what is followed and is not there, or is very much", () => {
  it("a file that comes later is waited for, and that is said", async () => {
    const command = place.start(args("late/app.log", "--follow"), { cwd });
    await command.says("late/app.log is not there yet: it is read when it comes");
    mkdirSync(join(cwd, "late"));
    appendFileSync(join(cwd, "late/app.log"), "line 1\nline 2\n");
    await until(() => output().length >= 2 || command.exited);
    command.kill("SIGTERM");
    const { code, stderr } = await command.ended;
    expect(code, stderr).toBe(0);
    expect(output()).toEqual(["line 1", "line 2"]);
  }, 60_000);

  it("a folder goes on being followed when it has more than a thousand files, whose names are long", async () => {
    // What is known of so many files does not fit into one event.
    const deep = Array.from({ length: 10 }, (_, index) => `${index}`.repeat(200)).join("/");
    const folder = join("in", deep);
    mkdirSync(join(cwd, folder), { recursive: true });
    const write = (from: number, to: number) => {
      for (let index = from; index < to; index++)
        writeFileSync(join(cwd, folder, `${index}.log`), `line ${index}\n`);
    };
    write(0, 600);
    const run = (...more: readonly string[]) => place.start(args(folder, ...more), { cwd });
    const first = run("--follow");
    await until(() => output().length >= 600 || first.exited);
    write(600, 1_100);
    await until(() => output().length >= 1_100 || first.exited);
    first.kill("SIGKILL");
    await first.ended;
    write(1_100, 1_101);
    const { code, stderr } = await run().ended;
    expect(code, stderr).toBe(0);
    expect(output()).toHaveLength(1_101);
    expect(new Set(output())).toEqual(new Set(Array.from({ length: 1_101 }, (_, index) => `line ${index}`)));
  }, 300_000);
});

describe("a log file that is followed", () => {
  it.each([
    ["renamed twice", "SIGTERM"],
    ["copied and truncated twice", "SIGTERM"],
    ["copied and truncated", "kill"],
    ["renamed between two runs", "kill"],
  ] as const)(
    "gives every line once where it was %s, and who reads on ends by %s before the new file has a line",
    async (what, end) => {
      const path = join(cwd, "app.log");
      let written = 0;
      const write = (count: number) => {
        appendFileSync(path, Array.from({ length: count }, () => `line ${written++}\n`).join(""));
      };
      const start = (env: Record<string, string> = {}) =>
        place.start(args("app.log", "--follow", "--batch", "16"), { cwd, env });
      const all = (command: Command) => until(() => output().length >= written || command.exited);
      const stop = async (command: Command) => {
        command.kill("SIGTERM");
        await command.ended;
      };
      const truncated = () => {
        copyFileSync(path, `${path}.1`);
        truncateSync(path, 0);
      };
      const renamed = () => {
        renameSync(path, `${path}.1`);
        writeFileSync(path, "");
      };
      write(16);
      const killed = end === "kill" ? { HEADWATER_FAIL_AT: "door:before:2" } : undefined;
      let command = start(what === "copied and truncated" ? killed : {});
      await all(command);
      if (what === "copied and truncated") {
        write(16);
        truncated();
        expect((await command.ended).signal).toBe("SIGKILL");
      } else if (what === "renamed between two runs") {
        await stop(command);
        write(40);
        renamed();
        command = start(killed);
        expect((await command.ended).signal).toBe("SIGKILL");
      } else {
        const rotate = what === "renamed twice" ? renamed : truncated;
        rotate();
        await command.says(what === "renamed twice" ? "is another file now" : "was truncated");
        write(30);
        await all(command);
        if (what === "renamed twice") await stop(command);
        write(20);
        renameSync(`${path}.1`, `${path}.2`);
        rotate();
        if (command.exited) command = start();
        await all(command);
        await stop(command);
      }
      command = start();
      await command.says("were taken in before");
      write(10);
      await all(command);
      await stop(command);
      expect(output()).toEqual(Array.from({ length: written }, (_, n) => `line ${n}`));
    },
    2 * MINUTES,
  );

  it("gives every line once, in order, where it was rotated more than once between two looks", async () => {
    const path = join(cwd, "app.log");
    const written: string[] = [];
    const write = (name: string, count: number) => {
      const lines = Array.from({ length: count }, () => `line ${written.push("") - 1}`);
      for (const line of lines) written[Number(line.slice("line ".length))] = line;
      appendFileSync(name, lines.map((line) => `${line}\n`).join(""));
    };
    const rotate = () => {
      for (const index of [3, 2, 1]) {
        if (existsSync(`${path}.${index}`)) renameSync(`${path}.${index}`, `${path}.${index + 1}`);
      }
      renameSync(path, `${path}.1`);
    };
    // Others that are there, and are not looked into.
    writeFileSync(`${path}.7`, "an old one\n");
    writeFileSync(`${path}.index`, "an index\n");
    write(path, 10);
    const command = place.start(args("app.log", "--follow"), { cwd });
    const all = () => until(() => output().length >= written.length || command.exited);
    await all();
    for (let round = 0; round < 3; round++) {
      rmSync(`${path}.7`, { force: true });
      writeFileSync(`${path}.index`, `index ${round}\n`);
      for (let times = 0; times < 3; times++) {
        rotate();
        write(path, 10);
      }
      await all();
    }
    // One that is copied and truncated likewise.
    for (let times = 0; times < 2; times++) {
      if (existsSync(`${path}.1`)) renameSync(`${path}.1`, `${path}.c${times}`);
      copyFileSync(path, `${path}.1`);
      truncateSync(path, 0);
      write(path, 7);
      renameSync(`${path}.1`, `${path}.${5 - times}`);
    }
    await all();
    command.kill("SIGTERM");
    const { code, stderr } = await command.ended;
    expect(code, stderr).toBe(0);
    expect(stderr).toContain("had come and was rotated before it was looked at");
    expect(output()).toEqual(written);
  }, 60_000);

  it(
    "gives every line once, in order, through rotations, truncations and kills",
    async () => {
      const path = join(cwd, "app.log");
      const written: string[] = [];
      const write = (file: string, count: number) => {
        const lines = Array.from({ length: count }, (_, index) => `line ${written.length + index}`);
        appendFileSync(file, lines.map((line) => `${line}\n`).join(""));
        written.push(...lines);
      };
      write(path, 100);
      const start = () => place.start(args("app.log", "--follow"), { cwd });
      let command = start();
      const all = () => until(() => output().length >= written.length || command.exited);
      const killed = async (running: Command) => {
        running.kill("SIGKILL");
        await running.ended;
      };

      await all();
      for (let round = 0; round < 3; round++) {
        // Rotated while it is followed; who writes is late to notice.
        write(path, 200);
        renameSync(path, `${path}.${round}`);
        write(`${path}.${round}`, 50);
        writeFileSync(path, "");
        await command.says("is another file now");
        write(path, 150);
        await all();
        // Rotated, and read on by another process than the one that had begun it.
        write(path, 70);
        await killed(command);
        write(path, 30);
        renameSync(path, `${path}.${round}b`);
        write(path, 20);
        command = start();
        await all();
        // Copied and truncated.
        copyFileSync(path, `${path}.${round}c`);
        truncateSync(path, 0);
        await command.says("was truncated");
        write(path, 40);
        await all();
        await killed(command);
        command = start();
        await command.says("going on after them");
        // A kill takes back what was not said to be delivered: a line more is there when that is written again.
        write(path, 10);
        await all();
      }
      command.kill("SIGTERM");
      const { code, stderr } = await command.ended;
      expect(code, stderr).toBe(0);
      expect(output()).toEqual(written);
    },
    3 * MINUTES,
  );
});

describe("a folder of log files", () => {
  it("is read file by file, through kills, and only what is new the next time", async () => {
    const folder = join(cwd, "logs");
    mkdirSync(folder);
    const expected: string[] = [];
    for (let file = 0; file < 70; file++) {
      const lines = Array.from({ length: 1 + (file % 7) }, (_, index) => `${file} ${index}`);
      writeFileSync(join(folder, `${String(file).padStart(2, "0")}.log`), lines.join("\n"));
      expected.push(...lines);
    }
    for (const point of ["door:before:9", "door:after:30", "steps:before:5", "delivered:before:1"]) {
      const ended = await headwater(args("logs"), { cwd, env: { HEADWATER_FAIL_AT: point } });
      expect(["SIGKILL", null]).toContain(ended.signal);
    }
    const ended = await headwater(args("logs"), { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect(output()).toEqual(expected);

    const events = await countEvents(join(cwd, ".headwater"));
    expect((await headwater(args("logs"), { cwd })).code).toBe(0);
    expect(await countEvents(join(cwd, ".headwater"))).toBe(events);

    appendFileSync(join(folder, "03.log"), "\n3 more\n");
    writeFileSync(join(folder, "99.log"), "99 0\n");
    expect((await headwater(args("logs"), { cwd })).code).toBe(0);
    expect(output()).toEqual([...expected, "3 more", "99 0"]);
  });
});

describe("an output that is rotated", () => {
  const LINES = Array.from({ length: 400 }, (_, index) => `${index} ${"x".repeat(index % 60)}`);
  const parts = () =>
    readdirSync(cwd)
      .filter((name) => /^out-\d{6}\.jsonl$/.test(name))
      .sort();
  const content = (names: readonly string[]) =>
    linesOf(names.map((name) => readFileSync(join(cwd, name), "utf8")).join(""));
  const run = (env: Readonly<Record<string, string>> = {}, { module = TEXT } = {}) => {
    const [command = "", , ...more] = args("in.txt", "--rotate", "4KiB", "--batch", "16", "--json");
    return headwater([command, module, ...more], { cwd, env });
  };

  beforeEach(() => writeFileSync(join(cwd, "in.txt"), LINES.map((line) => `${line}\n`).join("")));

  it("has the same files, byte for byte, wherever it was killed", async () => {
    expect((await run()).code).toBe(0);
    const whole = new Map(parts().map((name) => [name, readFileSync(join(cwd, name), "utf8")]));
    expect(whole.size).toBeGreaterThan(3);
    expect(content([...whole.keys()])).toEqual(LINES);
    for (const [name, text] of whole) expect(text.length, name).toBeLessThanOrEqual(4_096);

    for (const point of [
      "prepared:before",
      "prepared:after",
      "write:after",
      "flush:after",
      "delivered:after",
    ]) {
      for (const name of [...parts(), ".headwater"]) rmSync(join(cwd, name), { recursive: true });
      for (const times of [1, 2, 3])
        expect((await run({ HEADWATER_FAIL_AT: `${point}:${times}` })).signal).toBe("SIGKILL");
      const ended = await run();
      expect(ended.code, ended.stderr).toBe(0);
      expect(new Map(parts().map((name) => [name, readFileSync(join(cwd, name), "utf8")]))).toEqual(whole);
    }
  });

  it.each([
    ["as it was", []],
    ["in a pipeline that is another now, and after a kill", ["rewrite:between", "rewrite:after"]],
  ] as const)(
    "has its last file again when that is gone, %s, and nothing of the others",
    async (_, kills) => {
      expect((await run()).code).toBe(0);
      const before = parts();
      const last = before.at(-1) ?? "";
      const text = readFileSync(join(cwd, last), "utf8");
      for (const name of before) rmSync(join(cwd, name));
      appendFileSync(join(cwd, "in.txt"), "one more\n");
      const module = kills.length === 0 ? {} : { module: projectFile("test/e2e/fixtures/text-edited.ts") };
      for (const point of kills) {
        expect((await run({ HEADWATER_FAIL_AT: `${point}:1` }, module)).signal).toBe("SIGKILL");
        expect(parts()).toEqual([]);
      }
      const again = await run({}, module);
      expect(again.code, again.stderr).toBe(0);
      expect(again.stderr).toContain(`${last} was gone, the last file of the sink out, of `);
      expect(again.stderr).toContain("it was written again from the log");
      expect(parts()).toEqual([last]);
      expect(readFileSync(join(cwd, last), "utf8").startsWith(text)).toBe(true);
      expect(content(parts())).toEqual([...linesOf(text), "one more"]);
      expect(readdirSync(cwd).filter((name) => name.endsWith(".new"))).toEqual([]);
    },
  );

  it("goes on with the next file, and says so, when the log has not kept what the last one had", async () => {
    expect((await run()).code).toBe(0);
    expect((await headwater(["log", "retain", "text", "--payload", "events=1"], { cwd })).code).toBe(0);
    appendFileSync(join(cwd, "in.txt"), "one\n");
    expect((await run()).code).toBe(0);
    const before = parts();
    for (const name of before) rmSync(join(cwd, name));
    appendFileSync(join(cwd, "in.txt"), "one more\n");
    const again = await run();
    expect(again.code, again.stderr).toBe(0);
    expect(again.stderr).toContain(`${before.at(-1)} was gone, the last file of the sink out, of `);
    expect(again.stderr).toContain("The log does not have any more what it had");
    expect(parts()).toHaveLength(1);
    expect((parts()[0] ?? "") > (before.at(-1) ?? "")).toBe(true);
    expect(content(parts())).toEqual(["one more"]);
  });

  it.each(["write:after", "flush:after"])(
    "does not write again what was complete and taken away before a kill at %s",
    async (point) => {
      const all = (env: Readonly<Record<string, string>> = {}) =>
        headwater(args("in.txt", "--rotate", "1KiB", "--batch", "150", "--json"), { cwd, env });
      expect((await all()).code).toBe(0);
      const whole = new Map(parts().map((name) => [name, readFileSync(join(cwd, name), "utf8")]));
      for (const name of [...parts(), ".headwater"]) rmSync(join(cwd, name), { recursive: true });
      const taken = new Map<string, string>();
      for (const times of [1, 2]) {
        expect((await all({ HEADWATER_FAIL_AT: `${point}:${times}` })).signal).toBe("SIGKILL");
        const complete = parts().slice(0, -1);
        expect(complete.length).toBeGreaterThan(1);
        for (const name of complete) {
          expect([...taken.keys()]).not.toContain(name);
          taken.set(name, readFileSync(join(cwd, name), "utf8"));
          rmSync(join(cwd, name));
        }
      }
      const ended = await all();
      expect(ended.code, ended.stderr).toBe(0);
      expect(ended.stderr).not.toContain("was gone");
      for (const name of parts()) {
        expect([...taken.keys()]).not.toContain(name);
        taken.set(name, readFileSync(join(cwd, name), "utf8"));
      }
      expect(new Map([...taken].sort())).toEqual(whole);
    },
  );

  it("says nothing of files that were complete when they were taken away", async () => {
    expect((await run()).code).toBe(0);
    for (const name of parts().slice(0, -1)) rmSync(join(cwd, name));
    appendFileSync(join(cwd, "in.txt"), "one more\n");
    expect((await run()).stderr).not.toContain("was gone");
  });

  it("is not divided in another way, and that is said as it is", async () => {
    expect((await run()).code).toBe(0);
    const before = new Map(parts().map((name) => [name, readFileSync(join(cwd, name), "utf8")]));
    const divided = () => headwater(args("in.txt", "--rotate", "8KiB", "--json"), { cwd });
    const refused = await divided();
    expect(refused.code).toBe(2);
    expect(jsonError(refused)).toMatchObject({
      code: "ForeignOutput",
      message: expect.stringContaining("were begun anew after 4096 bytes each"),
      hint: expect.stringContaining("Keep the --rotate that there was"),
    });
    for (const [name, text] of before) expect(readFileSync(join(cwd, name), "utf8")).toBe(text);
    for (const name of before.keys()) rmSync(join(cwd, name));
    expect((await divided()).code).toBe(0);
    expect(content(parts())).toEqual(LINES);
    expect(parts().length).toBeLessThan(before.size);
  });

  it("does not write over a file that is not its own", async () => {
    writeFileSync(join(cwd, "out-000001.jsonl"), "mine\n");
    const refused = await run();
    expect(refused.code).toBe(2);
    expect(jsonError(refused)).toMatchObject({
      code: "ForeignOutput",
      message: "the output has content that this pipeline's log knows nothing of",
      where: join(cwd, "out-000001.jsonl"),
    });
    expect(readFileSync(join(cwd, "out-000001.jsonl"), "utf8")).toBe("mine\n");
  });
});
