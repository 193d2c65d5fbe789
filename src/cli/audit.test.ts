import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fill } from "../../test/small-log.ts";
import type { EventLog, NewEvent } from "../ports/event-log.ts";
import { openLog } from "../runtime/compose.ts";
import { call } from "./testing/fake-io.ts";

let folder = "";
const at = (name: string) => join(folder, name);
const audit = (...more: string[]) =>
  call(["audit", ...(more.includes("--log") ? [] : ["--log", `lmdb:${at("log")}`]), ...more]);

async function withLog<T>(use: (log: EventLog) => Promise<T>): Promise<T> {
  const log = await openLog(`lmdb:${at("log")}`);
  try {
    return await use(log);
  } finally {
    await log.close();
  }
}

/** Makes a key, and answers what verifies it. */
async function key(name: string): Promise<string> {
  return (await call(["keygen", name, "--out", folder])).stdout.trimEnd();
}

const sign = (name: string, note: string) =>
  call(["checkpoint", "--key", at(`${name}.key`), "--out", at(note), "--log", `lmdb:${at("log")}`]);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-audit-"));
  await withLog((log) => fill(log, 40));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("headwater audit", () => {
  it.each(["x", "", "0", "1.5", "-1", "1%"])("says what was typed where %j is no share", async (text) => {
    const { code, stderr } = await audit("--reexecute", text);
    expect(code).toBe(2);
    expect(stderr).toContain(`not a share of all inputs: ${JSON.stringify(text)}: --reexecute`);
  });

  it("finds a log that goes on from its checkpoints good", async () => {
    const [one, two] = [await key("one"), await key("two")];
    await sign("one", "first.note");
    await withLog((log) => fill(log, 10, { seed: 2 }));
    await sign("two", "second.note");
    await withLog((log) => fill(log, 5, { seed: 3 }));
    const given = ["--checkpoint", at("second.note"), "--checkpoint", at("first.note")];
    const { code, stdout } = await audit(...given, "--verifier", one, "--verifier", two, "--json");
    const check = { ok: true, failed: 0, failures: [] };
    expect(JSON.parse(stdout)).toEqual({
      ok: true,
      checks: [
        { name: "chain", checked: 59, unverifiable: 0, ...check },
        { name: "checkpoint", checked: 50, unverifiable: 5, ...check },
        { name: "continuity", checked: 0, unverifiable: 0, ...check },
        { name: "payload", checked: 0, unverifiable: 0, ...check },
        { name: "conservation", checked: 0, unverifiable: 0, ...check, counts: expect.anything() },
      ],
    });
    expect(code).toBe(0);
    const text = await audit();
    expect(text.code).toBe(0);
    expect(text.stdout).toMatch(/^chain +ok +59$/m);
    expect(text.stdout).toMatch(/^checkpoint +ok +0 +55$/m);
    expect((await audit("--quiet")).stdout).toBe("");
  });

  it("exits with 1 and names what was written by somebody else", async () => {
    const verifier = await key("k");
    const note = await sign("k", "k.note").then(() => readFile(at("k.note"), "utf8"));
    await withLog(async (log) => {
      let stolen: NewEvent | undefined;
      for await (const { id, type, data, metadata } of log.read("supervisor_a", { from: 3, limit: 1 })) {
        stolen = { id: id.replace(/^./, "0"), type, data, metadata };
      }
      if (stolen !== undefined) await log.append("supervisor_b", "any", [stolen]);
    });
    const last = (await withLog((log) => log.streamInfo("supervisor_b")))?.lastRevision;
    const { code, stdout } = await audit("--checkpoint", at("k.note"), "--verifier", verifier);
    expect(code).toBe(1);
    expect(stdout).toContain(`supervisor_b@${last}: the event's id is not that of its content`);
    expect(stdout).toMatch(/^chain +FAILED +\d+ +1$/m);
    expect(await readFile(at("k.note"), "utf8")).toBe(note);
  });

  it("says of which streams nobody can tell how many records were let go of", async () => {
    const sinks = ["a", "b", "c", "d", "e"].map((name) => `sink_p.${name}`);
    await withLog(async (log) => {
      for (const stream of sinks) {
        await fill(log, 3, { streams: [stream] });
        await log.setMetadata(stream, { truncateBefore: 2 });
      }
    });
    const { stdout } = await audit();
    expect(stdout).toContain(
      "How many were let go of in sink_p.a, sink_p.b, sink_p.c and 2 more is not known: nothing that is left of it says so.",
    );
    const { checks } = JSON.parse((await audit("--json")).stdout);
    expect(checks.at(-1)).toMatchObject({ name: "conservation", uncounted: sinks });
  });

  it("names what is missing when the log is behind its checkpoint", async () => {
    const verifier = await key("k");
    await call(["log", "backup", at("old"), "--log", `lmdb:${at("log")}`]);
    await sign("k", "k.note");
    const { code, stdout } = await audit(
      "--checkpoint",
      at("k.note"),
      "--verifier",
      verifier,
      "--log",
      `lmdb:${at("old")}`,
      "--json",
    );
    expect(code).toBe(1);
    expect(JSON.parse(stdout).checks[1].failures[0]).toMatchObject({
      address: "audit_log",
      code: "RolledBack",
    });
  });

  describe("says what is wrong with what it is given", () => {
    let verifier = "";
    beforeEach(async () => {
      verifier = await key("k");
      await sign("k", "k.note");
    });

    it.each([
      ["no key", () => [], "a checkpoint needs the key that verifies it: --verifier"],
      ["a key that is none", () => ["--verifier", "abc"], "not a verifier key: abc"],
      [
        "another key",
        () => ["--verifier", "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"],
        "none of the keys given has signed the checkpoint; it has signatures of k",
      ],
    ])("%s", async (_, more, message) => {
      const { code, stderr, stdout } = await audit("--checkpoint", at("k.note"), ...more());
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr).toContain(`headwater: ${message}`);
    });

    it.each([
      [
        "edited",
        (note: string) => note.replace("\n40\n", "\n41\n"),
        "the checkpoint is not what k has signed",
      ],
      ["cut", (note: string) => note.slice(0, -10), "not a signed note"],
      ["empty", () => "", "not a signed note"],
      [
        "cut within a character",
        (note: string) => Buffer.concat([Buffer.from(note), Buffer.of(0xe2, 0x80)]),
        "the file is not text in UTF-8",
      ],
    ])("a note that was %s", async (_, change, message) => {
      await writeFile(at("k.note"), change(await readFile(at("k.note"), "utf8")));
      const { code, stderr } = await audit("--checkpoint", at("k.note"), "--verifier", verifier);
      expect(code).toBe(2);
      expect(stderr).toContain(`headwater: ${message}`);
      expect(stderr).toContain(at("k.note"));
      // What to do is said, too.
      expect(stderr.trimEnd().split("\n")).toHaveLength(2);
    });

    it("a note of another log", async () => {
      const other = await openLog(`lmdb:${at("other")}`);
      await other.close();
      const { code, stderr } = await audit(
        "--checkpoint",
        at("k.note"),
        "--verifier",
        verifier,
        "--log",
        `lmdb:${at("other")}`,
      );
      expect(code).toBe(2);
      expect(stderr).toContain("the checkpoint is of another log");
    });

    it("a file, a log or a pipeline that is not there", async () => {
      expect((await audit("--checkpoint", at("none"), "--verifier", verifier)).code).toBe(2);
      expect((await audit("--log", `lmdb:${at("none")}`)).code).toBe(3);
      const file = await audit("--log", `lmdb:${at("k.note")}`);
      expect(file.code).toBe(3);
      expect(file.stderr).toContain(
        "headwater: the log cannot be used: it is a file, or in one, and no folder",
      );
      const { code, stderr } = await audit("nobody");
      expect({ code, stderr }).toMatchObject({
        code: 2,
        stderr: expect.stringContaining("no such pipeline: nobody"),
      });
    });
  });
});
