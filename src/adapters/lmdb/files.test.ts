import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { copyFile, mkdir, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open as openLmdb } from "lmdb";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  collect,
  event,
  eventRange,
  expectCode,
  readTexts,
  texts,
} from "../../../test/contract/event-log/harness.ts";
import { TestClock } from "../../../test/contract/event-log.ts";
import { type Bundle, bundleFixture } from "../../../test/fixtures/bundle.ts";
import { openLmdbLog } from "./log.ts";

/** Where there is one: a command that gives a process mounts of its own. */
const UNSHARE = "unshare";

let root: string;
let dir: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "headwater-log-"));
  dir = join(root, "log");
});
afterEach(() => rm(root, { recursive: true, force: true }));

type Options = Partial<Parameters<typeof openLmdbLog>[0]>;

function openLog(options: Options = {}) {
  return openLmdbLog({ dir, clock: new TestClock(), ids: { uuid: randomUUID }, ...options });
}

async function filled(): Promise<string> {
  const log = await openLog();
  for (let i = 0; i < 20; i++) {
    await log.append("a", "any", [event(String(i)), { ...event(), data: new Uint8Array(10_000) }]);
  }
  await log.close();
  return join(dir, "data.mdb");
}

describe("opening a folder", () => {
  it("makes it, with its parents, unless told not to", async () => {
    await expectCode(openLog({ create: false }), "LogMissing");
    await expect(stat(dir)).rejects.toThrow();
    dir = join(dir, "below");
    await (await openLog()).close();
    await (await openLog({ create: false })).close();
  });

  it("that cannot be one says so, with a hint", async () => {
    await writeFile(dir, "a file");
    await expect(openLog()).rejects.toMatchObject({ code: "LogUnavailable", hint: expect.any(String) });
    await expect(openLog({ dir: join(dir, "below") })).rejects.toMatchObject({ code: "LogUnavailable" });
    await expect(openLog({ dir: "/proc/headwater" })).rejects.toMatchObject({ code: "LogUnavailable" });
  });

  it.skipIf(process.getuid?.() === 0)("that cannot be written says so [skipped for root]", async () => {
    await mkdir(dir, { mode: 0o500 });
    await expectCode(openLog(), "LogUnavailable");
  });

  it("whose log was never begun begins it", async () => {
    await mkdir(dir);
    await writeFile(join(dir, "data.mdb"), "");
    const log = await openLog();
    await log.append("a", "no-stream", [event()]);
    await log.close();
  });

  it("that is empty LMDB begins a log", async () => {
    const empty = openLmdb(dir, { noSubdir: false, overlappingSync: false });
    await empty.close();
    await (await openLog()).close();
  });

  it("for reading reads, follows and refuses to write", async () => {
    await expectCode(openLog({ readOnly: true }), "LogMissing");
    await filled();
    const reader = await openLog({ readOnly: true });
    expect(await collect(reader.read("a"))).toHaveLength(40);
    await expectCode(reader.append("a", "any", [event()]), "LogUnavailable");
    await expectCode(reader.scavenge(), "LogUnavailable");
    await reader.close();
  });

  it("twice in one process works, whoever is closed first", async () => {
    const first = await openLog();
    const second = await openLog({ dir: `${dir}/../log/.` });
    expect(second.id).toBe(first.id);
    await first.close();
    await second.append("a", "no-stream", [event("second")]);
    const third = await openLog();
    expect(await readTexts(third.read("a"))).toEqual(["second"]);
    const [, again] = await Promise.all([Promise.all([second.close(), third.close()]), openLog()]);
    expect(await readTexts(again.read("a"))).toEqual(["second"]);
    await again.close();
  });
});

describe("a data file", () => {
  it("of another program is left alone", async () => {
    const other = openLmdb(dir, { noSubdir: false });
    await other.put("key", "value");
    await other.close();
    const before = await readFile(join(dir, "data.mdb"));
    await expectCode(openLog(), "LogForeign");
    expect(await readFile(join(dir, "data.mdb"))).toEqual(before);
  });

  it("of another program that has tables of the same names is left alone", async () => {
    const other = openLmdb(dir, { noSubdir: false, overlappingSync: false });
    await other.openDB("meta", { encoding: "json" }).put("log", { format: "other", version: 7 });
    await other.close();
    await expectCode(openLog(), "LogForeign");
  });

  it("that LMDB did not write is not handed to it", async () => {
    await mkdir(dir);
    for (const content of ["short", "x".repeat(100_000), new Uint8Array(8192)]) {
      await writeFile(join(dir, "data.mdb"), content);
      await expectCode(openLog(), "LogDamaged");
    }
  });

  it("of a newer version says so", async () => {
    await filled();
    const bytes = { encoding: "binary", keyEncoding: "binary" } as const;
    const raw = openLmdb(dir, { noSubdir: false, overlappingSync: false, ...bytes });
    const identity = { format: "headwater-log", version: 2, id: randomUUID() };
    await raw.openDB("meta", bytes).put(Buffer.from("log"), Buffer.from(JSON.stringify(identity)));
    await raw.close();
    await expectCode(openLog(), "LogTooNew");
    const file = await open(join(dir, "data.mdb"), "r+");
    await file.write(Buffer.from([3, 0]), 0, 2, 28);
    await file.close();
    await expectCode(openLog(), "LogTooNew");
  });

  it("that was cut short is noticed, wherever the cut is", async () => {
    const path = await filled();
    const copy = join(root, "copy");
    await copyFile(path, copy);
    const { size } = await stat(path);
    for (const left of [size - 1, size - 4096, Math.floor(size / 2), 8192, 8191, 4096, 100]) {
      await copyFile(copy, path);
      await truncate(path, left);
      await expectCode(openLog(), "LogDamaged");
    }
    await copyFile(copy, path);
    const log = await openLog();
    expect(await collect(log.read("a"))).toHaveLength(40);
    await log.close();
  });

  it("that only lacks pages nobody refers to is not damaged", async () => {
    const path = await filled();
    const file = await open(path, "r+");
    const { size } = await file.stat();
    const lastPage = Buffer.alloc(8);
    lastPage.writeBigUInt64LE(BigInt(size / 4096 + 10));
    for (const meta of [0, 4096]) await file.write(lastPage, 0, 8, meta + 144);
    await file.close();
    const log = await openLog();
    expect(await collect(log.read("a"))).toHaveLength(40);
    await log.append("a", "any", [event()]);
    await log.close();
  });

  it("whose first pages were overwritten is noticed", async () => {
    const path = await filled();
    const whole = await readFile(path);
    for (const at of [24, 48, 4096 + 24]) {
      const damaged = Buffer.from(whole);
      damaged.fill(0xaa, at, at + 4);
      await writeFile(path, damaged);
      await expectCode(openLog(), "LogDamaged");
    }
  });
});

describe("a log that has no space left", () => {
  it("by its own limit says so, keeps what was acknowledged, and goes on after a scavenge", async () => {
    const log = await openLog({ mapSizeBytes: 2 * 1024 * 1024 });
    let acknowledged = 0;
    const append = () => log.append("a", "any", [{ ...event(), data: new Uint8Array(50_000) }]);
    const fill = async () => {
      for (;;) {
        await append();
        acknowledged += 1;
      }
    };
    await expectCode(fill(), "LogFull");
    expect(acknowledged).toBeGreaterThan(30);
    expect(await collect(log.read("a"))).toHaveLength(acknowledged);
    await log.setMetadata("a", { truncateBefore: acknowledged - 1 });
    expect((await log.scavenge()).events).toBe(acknowledged - 1);
    for (let i = 0; i < 10; i++) await append();
    await log.close();
    const again = await openLog();
    expect(await collect(again.read("a"))).toHaveLength(11);
    await again.close();
  });

  describe("on its medium", () => {
    const namespaces =
      spawnSync(UNSHARE, ["-Urm", "sh", "-c", `mount -t tmpfs tmpfs ${tmpdir()}`]).status === 0;
    const shell = spawnSync("sh", ["-c", "ulimit -f 3000"]).status === 0;
    let bundle: Bundle;
    beforeAll(() => {
      bundle = bundleFixture("log-writer");
    });
    afterAll(() => bundle.remove());

    /** Fills the log in another process, which `before` gives its limits. */
    function fill(before: string, bytes: number, command: readonly [string, ...string[]] = ["sh"]) {
      const script = `${before} && exec "$2" "$3" "$1" fill ${bytes}`;
      const [program, ...args] = command;
      const all = [...args, "-c", script, "sh", dir, process.execPath, bundle.path];
      const { stdout, stderr, status } = spawnSync(program, all, { encoding: "utf8" });
      expect(status, stderr).toBe(0);
      const report = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
      expect(report.acknowledged).toBeGreaterThan(0);
      expect(report).toMatchObject({ readable: report.acknowledged, reopened: report.acknowledged });
      return { code: report.code, stderr };
    }

    it.skipIf(!namespaces)("says so, and keeps what was acknowledged [needs user namespaces]", async () => {
      await mkdir(dir);
      for (const [size, bytes] of [
        ["3m", 60_000],
        ["2500k", 1_000_000],
        ["2m", 3_000],
      ] as const) {
        const command = [UNSHARE, "-Urm", "sh"] as const;
        const filled = fill(`mount -t tmpfs -o size=${size} tmpfs "$1"`, bytes, [...command]);
        expect(filled).toEqual({ code: "LogFull", stderr: "" });
      }
    });

    it.skipIf(!shell)("that only LMDB notices keeps what was acknowledged [needs ulimit]", async () => {
      // A file that must not grow, on a medium that has space. LMDB reports a write that was cut short as EIO.
      for (const bytes of [3_000, 60_000, 300_000]) {
        expect(fill("ulimit -f 3000", bytes).code).toMatch(/^(LogFull|LogUnavailable)$/);
        await rm(dir, { recursive: true });
      }
    });
  });
});

describe("a backup", () => {
  it("is a log of its own, as it was, while the first goes on", async () => {
    const log = await openLog();
    await log.append("a", "any", eventRange(0, 100));
    const target = join(root, "copies", "first");
    const going = Array.from({ length: 50 }, () => log.append("b", "any", [event()]));
    await log.backup?.(target);
    await Promise.all(going);
    const copy = await openLog({ dir: target });
    expect(copy.id).toBe(log.id);
    expect(await readTexts(copy.read("a"))).toEqual(texts(0, 100));
    await copy.append("a", 99, [event("100")]);
    await copy.close();
    await expectCode(log.backup?.(target) ?? Promise.resolve(), "LogUnavailable");
    await log.close();
  });
});
