import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeCanonical } from "../core/canonical.ts";
import type { EventLog, NewEvent } from "../ports/event-log.ts";
import { openLog } from "../runtime/compose.ts";
import { call } from "./testing/fake-io.ts";

let folder = "";
let spec = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-cli-"));
  spec = `lmdb:${join(folder, "log")}`;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const event = (data: unknown, type = "Tested"): NewEvent => ({
  id: randomUUID(),
  type,
  data: encodeCanonical(data),
  metadata: Buffer.from('{"note":"for people"}'),
});

async function fill(use?: (log: EventLog) => Promise<void>): Promise<string> {
  const log = await openLog(spec);
  await log.append("source_p.s", "no-stream", [event({ n: 0 }), event({ n: 1 })]);
  await log.append("steps_p.s.0000", "no-stream", [
    event({ bytes: new Uint8Array(40).fill(255), big: 7n, odd: [-0, Number.NaN, Infinity, 1.5] }),
  ]);
  await log.append("source_p.s", 1, [event({ n: 2 })]);
  await log.append("foreign", "no-stream", [
    { ...event(null), data: Buffer.from('{"a":1}') },
    { ...event(null), data: Buffer.from([0xc1, 0xff]), metadata: new Uint8Array(0) },
  ]);
  await use?.(log);
  await log.close();
  return log.id;
}

const cli = (...argv: string[]) => call([...argv, "--log", spec]);
const jsonLines = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe("headwater log", () => {
  it.each([
    ["streams"],
    ["show", "source_p.s"],
    ["tail"],
    ["tail", "--follow"],
    ["export"],
    ["scavenge"],
    ["backup", "copy"],
  ])("makes nothing where there is no log: %s", async (...argv) => {
    const { code, stdout, stderr } = await cli("log", ...argv.filter((word) => typeof word === "string"));
    expect([2, 3]).toContain(code);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^headwater: .+\n.+/);
    expect(existsSync(join(folder, "log"))).toBe(false);
    expect(existsSync("copy")).toBe(false);
  });

  it("refuses what is no log", async () => {
    expect(await call(["log", "streams", "--log", "ftp:x"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('"ftp:x": --log\n'),
    });
    expect(await call(["log", "streams"], { env: { HEADWATER_LOG: "ftp:x" } })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('"ftp:x": HEADWATER_LOG\n'),
    });
    expect(await call(["log", "streams", "--log", "memory:"])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("no events"),
    });
  });
});

describe("headwater log streams", () => {
  it("lists streams with counts, sizes and times", async () => {
    await fill();
    const { code, stdout } = await cli("log", "streams", "--json");
    expect(code).toBe(0);
    const streams = JSON.parse(stdout) as Record<string, unknown>[];
    expect(streams.map(({ stream, events }) => [stream, events])).toEqual([
      ["foreign", 2],
      ["source_p.s", 3],
      ["steps_p.s.0000", 1],
    ]);
    expect(streams[1]).toMatchObject({
      firstRevision: 0,
      lastRevision: 2,
      deleted: false,
      bytes: expect.any(Number),
    });
    expect(streams[1]?.["first"]).toMatch(/^\d{4}-.*Z$/);
    const lines = (await cli("log", "streams")).stdout.split("\n");
    expect(lines[0]).toMatch(/^stream +events +size +first +last$/);
    expect(lines[2]).toMatch(/^source_p\.s +3 +[\d.]+ B +\d{4}-/);
  });
});

describe("headwater log show", () => {
  it("decodes events", async () => {
    await fill();
    const shown = jsonLines((await cli("log", "show", "steps_p.s.0000", "--json")).stdout);
    expect(shown).toMatchObject([
      {
        stream: "steps_p.s.0000",
        revision: 0,
        type: "Tested",
        position: expect.stringMatching(/^C:\d+\/P:\d+$/),
        data: {
          bytes: { $bytes: "ff".repeat(40) },
          big: { $bigint: "7" },
          odd: [{ $float: "-0" }, { $float: "NaN" }, { $float: "Infinity" }, 1.5],
        },
        metadata: { note: "for people" },
      },
    ]);
    expect((await cli("log", "show", "steps_p.s.0000")).stdout).toContain(
      `{"$bytes":"${"ff".repeat(32)}…","length":40}`,
    );
    expect(jsonLines((await cli("log", "show", "foreign", "--json")).stdout)).toMatchObject([
      { data: { a: 1 } },
      { data: { $bytes: "c1ff" }, metadata: null },
    ]);
  });

  it("shows one event, or the first ones", async () => {
    await fill();
    const numbers = async (...argv: string[]) =>
      jsonLines((await cli("log", "show", ...argv, "--json")).stdout).map(
        ({ data }) => (data as { n: number }).n,
      );
    expect(await numbers("source_p.s")).toEqual([0, 1, 2]);
    expect(await numbers("source_p.s@1")).toEqual([1]);
    expect(await numbers("source_p.s", "--limit", "2")).toEqual([0, 1]);
  });

  it("says what there is when something is not", async () => {
    await fill();
    expect(await cli("log", "show", "nothing")).toMatchObject({ code: 2, stdout: "" });
    expect(await cli("log", "show", "source_p.s@3")).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^headwater: the stream has no event 3: source_p\.s\nIt has 0 to 2\. An address counts records/,
      ),
    });
  });
});

describe("headwater log tail", () => {
  it("shows the last events in order", async () => {
    await fill();
    const places = async (...argv: string[]) =>
      jsonLines((await cli("log", "tail", ...argv, "--json")).stdout).map(
        ({ stream, revision }) => `${stream}@${revision}`,
      );
    expect(await places("-n", "3")).toEqual(["source_p.s@2", "foreign@0", "foreign@1"]);
    expect(await places("source_p.s", "--lines", "2")).toEqual(["source_p.s@1", "source_p.s@2"]);
    expect(await places()).toHaveLength(6);
    expect(await cli("log", "tail", "nothing")).toMatchObject({ code: 2 });
  });

  it("follows with --follow until Ctrl-C", async () => {
    await fill();
    const writer = await openLog(spec);
    const { tailLog } = await import("../app/log.ts");
    const controller = new AbortController();
    const seen: string[] = [];
    for await (const { stream, revision } of tailLog(writer, {
      count: 1,
      follow: true,
      signal: controller.signal,
    })) {
      seen.push(`${stream}@${revision}`);
      if (seen.length === 1) await writer.append("source_p.s", 2, [event({ n: 3 })]);
      else controller.abort();
    }
    await writer.close();
    expect(seen).toEqual(["foreign@1", "source_p.s@3"]);
  });
});

describe("headwater log export and import", () => {
  const exported = async (...argv: string[]) => (await cli("log", "export", ...argv)).stdout;
  const importing = async (text: string | Uint8Array, name = "export.jsonl", ...argv: string[]) => {
    const file = join(folder, name);
    await writeFile(file, text);
    const target = `lmdb:${join(folder, "copy")}`;
    return { file, target, ...(await call(["log", "import", file, "--log", target, ...argv])) };
  };

  it("makes the same log out of an export", async () => {
    const id = await fill();
    const text = await exported();
    expect(jsonLines(text)[0]).toEqual({ format: "headwater-export", version: 1, log: id });
    for (const [name, content] of [
      ["export.jsonl", text],
      ["export.jsonl.gz", gzipSync(text)],
    ] as const) {
      const { code, stdout, target } = await importing(content, name, "--json");
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toEqual({ log: id, events: 6, streams: 3 });
      const again = (await call(["log", "export", "--log", target])).stdout;
      const without = (lines: Record<string, unknown>[]) =>
        lines.map(({ position, created, ...event }) => event);
      expect(without(jsonLines(again))).toEqual(without(jsonLines(text)));
      await rm(join(folder, "copy"), { recursive: true });
    }
  });

  it("imports logs larger than one append", async () => {
    await fill(async (log) => {
      for (let n = 0; n < 300; n++) {
        await log.append("large", n === 0 ? "no-stream" : n - 1, [event({ n, filler: "x".repeat(30_000) })]);
      }
      await log.append(
        "many",
        "no-stream",
        Array.from({ length: 3_000 }, (_, n) => event(n)),
      );
    });
    const { code, target } = await importing(await exported());
    expect(code).toBe(0);
    const copy = await openLog(target.toString(), { readOnly: true });
    expect((await copy.streamInfo("large"))?.lastRevision).toBe(299);
    expect((await copy.streamInfo("many"))?.lastRevision).toBe(2_999);
    await copy.close();
  });

  it("exports between two places", async () => {
    await fill();
    const all = jsonLines(await exported());
    const [from, to] = [String(all[2]?.["position"]), String(all[4]?.["position"])];
    expect(jsonLines(await exported("--from", from, "--to", to))).toEqual([all[0], ...all.slice(2, 5)]);
    expect(jsonLines(await exported("--from", "-1h"))).toEqual(all);
    expect(jsonLines(await exported("--to", "-1h"))).toEqual(all.slice(0, 1));
    expect(jsonLines(await exported("--from", String(all[1]?.["created"]), "--to", "9999-01-01"))).toEqual(
      all,
    );
    for (const bad of ["yesterday", "12", "2026-13-01", "C:1"]) {
      expect(await cli("log", "export", "--from", bad)).toMatchObject({ code: 2, stdout: "" });
    }
  });

  it("refuses a log that is not new", async () => {
    await fill();
    const file = join(folder, "export.jsonl");
    await writeFile(file, await exported());
    expect(await cli("log", "import", file)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("cannot import into this log: it holds events"),
    });
    const other = `lmdb:${join(folder, "other")}`;
    await (await openLog(other)).close();
    expect(await call(["log", "import", file, "--log", other])).toMatchObject({ code: 2 });
  });

  it.each<[string, (lines: string[]) => string[], number, string]>([
    ["no header", (lines) => lines.slice(1), 1, "does not begin with the header"],
    [
      "a newer version",
      ([head = "", ...lines]) => [head.replace('"version":1', '"version":2'), ...lines],
      1,
      "version 2",
    ],
    ["a broken line", (lines) => lines.with(3, "{"), 4, "broken JSON"],
    ["a missing event", (lines) => lines.toSpliced(2, 1), 4, "goes on at revision 2, not at 1"],
    [
      "bad base64",
      (lines) => lines.with(2, (lines[2] ?? "").replace('"data":"', '"data":"*')),
      3,
      '"data" is not base64',
    ],
    [
      "a bad id",
      (lines) => lines.with(2, (lines[2] ?? "").replace('"id":"', '"id":"x')),
      3,
      '"id" is not a UUID',
    ],
    ["no event", (lines) => lines.with(2, "[]"), 3, "not an exported event"],
  ])("names the line of a bad file and makes nothing: %s", async (_, damage, line, message) => {
    await fill();
    const { code, stderr, file } = await importing(
      damage((await exported()).trimEnd().split("\n")).join("\n"),
    );
    expect(stderr).toContain(message);
    expect(stderr).toContain(`: ${file}:${line}\n`);
    expect(code).toBe(2);
    expect(existsSync(join(folder, "copy"))).toBe(false);
  });
});

describe("headwater log backup and scavenge", () => {
  it("copies the log", async () => {
    await fill();
    const copy = join(folder, "copy");
    expect(await cli("log", "backup", copy)).toMatchObject({ code: 0 });
    const exported = async (log: string) => (await call(["log", "export", "--log", log])).stdout;
    expect(await exported(`lmdb:${copy}`)).toBe(await exported(spec));
    expect(await cli("log", "backup", copy)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("not empty"),
    });
    expect((await readFile(join(copy, "data.mdb"))).length).toBeGreaterThan(0);
  });

  it("makes space usable again", async () => {
    await fill((log) => log.setMetadata("source_p.s", { truncateBefore: 2 }));
    const { code, stdout } = await cli("log", "scavenge", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ events: 2 });
    expect(jsonLines((await cli("log", "export")).stdout)).toHaveLength(5);
  });
});
