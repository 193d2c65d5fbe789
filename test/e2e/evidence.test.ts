import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verify } from "../../src/app/verify.ts";
import { eventDigest, eventId, linkInMetadata } from "../../src/core/chain.ts";
import { toHex } from "../../src/core/digest.ts";
import { decodeEvidence, type Evidence, encodeEvidence } from "../../src/core/evidence.ts";
import type { EventLog, RecordedEvent } from "../../src/ports/event-log.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { readOne } from "../../src/runtime/seek.ts";
import { seededRandom, upTo } from "../simulation/virtual-world.ts";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { pythonWithLibraries } from "./python.ts";

const FLIPS = 400;
const SCRIPT = projectFile("examples/verify-evidence.py");

const place = new Workplace();
let folder = "";
let verifier = "";
const run = (...args: string[]) => headwater(args, { cwd: folder });
const make = (record: string, ...more: string[]) =>
  run("evidence", record, "--checkpoint", "now.note", "--out", "e.evidence", "--json", ...more);

beforeAll(async () => {
  folder = await place.folder();
  const input = projectFile("node_modules/vega-datasets/data/earthquakes.json");
  const pairs = projectFile("examples/earthquake-pairs.ts");
  verifier = (await run("keygen", "k")).stdout.trimEnd();
  await run("run", pairs, "--input", `usgs=${input}`, "--quiet");
  await run("checkpoint", "--key", "k.key", "--out", "old.note");
  await run("log", "backup", "older");
  await run("run", projectFile("examples/earthquakes.ts"), "--input", `usgs=${input}`, "--quiet");
  await run("checkpoint", "--key", "k.key", "--out", "now.note");
});
afterAll(() => place.clear());

describe("evidence of a record", () => {
  it("is verified without the log, and shows its way back to the sources", async () => {
    const made = await make("earthquakes/strong#7");
    expect(made.code).toBe(0);
    const elsewhere = await place.folder();
    await copyFile(join(folder, "e.evidence"), join(elsewhere, "e.evidence"));
    const { code, stdout } = await headwater(["verify", "e.evidence", "--verifier", verifier, "--json"], {
      cwd: elsewhere,
    });
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ ok: true, record: JSON.parse(made.stdout).record, failures: [] });
    const source = report.records.at(-1);
    expect(source.address).toMatch(/^source_earthquakes\.usgs@\d+$/);
    expect(source.value.properties.mag).toBeGreaterThanOrEqual(5);
    expect(report.edges.at(-1).from).toBe(source.address);
  });

  it("goes through standard output and standard input, and what is said of it does not", async () => {
    await make("earthquakes/strong#7");
    const before = await readdir(folder);
    const command = (args: readonly string[], input?: Uint8Array) =>
      spawnSync(process.execPath, [projectFile("bin/headwater.js"), ...args], {
        cwd: folder,
        ...(input !== undefined && { input }),
      });
    const asked = ["evidence", "earthquakes/strong#7", "--checkpoint", "now.note", "--out", "-"];
    const made = command(asked);
    expect(made.status, String(made.stderr)).toBe(0);
    expect(Buffer.compare(made.stdout, await readFile(join(folder, "e.evidence")))).toBe(0);
    expect(String(made.stderr)).toMatch(/proven by \d+ events: standard output/);
    const told = command([...asked, "--json"]);
    expect(Buffer.compare(told.stdout, made.stdout)).toBe(0);
    expect(JSON.parse(String(told.stderr))).toMatchObject({ file: null, bytes: made.stdout.length });
    expect(await readdir(folder)).toEqual(before);

    const verified = command(["verify", "-", "--verifier", verifier, "--json"], made.stdout);
    expect([verified.status, JSON.parse(String(verified.stdout)).ok]).toEqual([0, true]);
    const cut = command(["verify", "-", "--verifier", verifier, "--json"], made.stdout.subarray(9));
    expect([cut.status, JSON.parse(String(cut.stderr)).error]).toMatchObject([
      2,
      { code: "BadInput", where: "standard input" },
    ]);
    const nothing = command(["verify", "-", "--verifier", verifier], new Uint8Array());
    expect(nothing.status).toBe(2);
  });

  it("is not made of a log that was rolled back behind the checkpoint, which is told", async () => {
    const refused = await make("earthquake-pairs/pairs#3", "--log", "lmdb:older");
    expect(refused.code).toBe(3);
    expect(jsonError(refused)).toMatchObject({
      code: "LogDamaged",
      message: expect.stringMatching(
        /is not the one whose first \d+ events were signed: it has \d+, and was rolled back/,
      ),
    });
  });

  it.each(["earthquake-pairs/pairs#3", "earthquake-pairs/pairs#8"])(
    "holds where members of a join came in with other batches: %s",
    async (record) => {
      const elsewhere = await place.folder();
      const at = (...args: string[]) => headwater(args, { cwd: elsewhere });
      const input = projectFile("node_modules/vega-datasets/data/earthquakes.json");
      await at(
        "run",
        projectFile("examples/earthquake-pairs.ts"),
        "--input",
        `usgs=${input}`,
        "--batch",
        "20",
        "--quiet",
      );
      await at("checkpoint", "--key", join(folder, "k.key"), "--out", "n");
      expect((await at("evidence", record, "--checkpoint", "n", "--out", "e")).code).toBe(0);
      expect((await at("verify", "e", "--verifier", verifier)).code).toBe(0);
    },
  );

  it("is verified by a script in another language", async ({ skip }) => {
    const python = pythonWithLibraries();
    if (python === undefined) skip("no python3 has the packages cryptography and msgpack");
    else {
      for (const record of ["earthquakes/strong#7", "earthquake-pairs/pairs#3"]) {
        const made = await make(record);
        expect(made.code, made.stderr).toBe(0);
        const told = python.run([SCRIPT, join(folder, "e.evidence"), verifier]);
        expect(told).toContain(`${JSON.parse(made.stdout).record}: proven by`);
        expect(told).toMatch(/^source_/m);
      }
    }
  });

  it("does not survive a change anywhere in it", async () => {
    await make("earthquake-pairs/pairs#3");
    const bytes = await readFile(join(folder, "e.evidence"));
    const random = seededRandom(77);
    const file = join(folder, "flipped");
    for (let flip = 0; flip < FLIPS; flip++) {
      const at = upTo(random, bytes.length - 1);
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] as number) ^ (1 << upTo(random, 7));
      await writeFile(file, changed);
      const ok = await verify({ file, verifiers: [verifier] }).then(
        (report) => report.ok,
        (error: unknown) => {
          expect(error, `byte ${at}`).toMatchObject({ code: expect.stringMatching(/^(BadInput|BadUsage)$/) });
          return false;
        },
      );
      expect(ok, `byte ${at}`).toBe(false);
    }
  });

  it("does not hold without all its events", async () => {
    await make("earthquake-pairs/pairs#3");
    const evidence = decodeEvidence(await readFile(join(folder, "e.evidence")));
    const file = join(folder, "cut");
    for (const at of evidence.events.keys()) {
      await writeFile(file, encodeEvidence({ ...evidence, events: evidence.events.toSpliced(at, 1) }));
      const report = await verify({ file, verifiers: [verifier] });
      expect(report).toMatchObject({
        ok: false,
        failures: [{ message: expect.stringContaining("whole way") }],
      });
    }
  });
});

describe("a log that was changed", () => {
  /** In the file, how far ahead of an event's id the checksum of what no digest covers is. */
  const CHECKSUM_BEFORE_ID = 26;
  /** Bytes, those in their place, and if so how far ahead of them a checksum is to be taken out. */
  type Change = readonly [was: Uint8Array, is: Uint8Array, checksumBefore?: number];
  const uuidBytes = (id: string) => Buffer.from(id.replaceAll("-", ""), "hex");
  /** A copy of the log in whose file each of `changes` is made, wherever its bytes are; and evidence of it. */
  async function changedCopy(changes: readonly Change[]): Promise<string> {
    const copy = await place.folder();
    const file = await readFile(join(folder, ".headwater", "data.mdb"));
    for (const [was, is, checksumBefore] of changes) {
      let found = 0;
      for (let at = file.indexOf(was); at >= 0; at = file.indexOf(was, at + was.length)) {
        file.set(is, at);
        // 0: none was noted.
        if (checksumBefore !== undefined) file.writeUInt16LE(0, at - checksumBefore);
        found++;
      }
      expect(found).toBeGreaterThan(0);
    }
    await writeFile(join(copy, "data.mdb"), file);
    return copy;
  }
  async function madeAfter(changes: readonly Change[]) {
    const copy = await changedCopy(changes);
    await make("earthquakes/strong#7");
    const out = join(copy, "e.evidence");
    const ended = await run(
      ...["evidence", "earthquakes/strong#7", "--checkpoint", "now.note", "--out", out, "--json"],
      ...["--log", `lmdb:${copy}`],
    );
    expect(existsSync(out)).toBe(false);
    return ended;
  }
  async function ofFile<T>(read: (log: EventLog, evidence: Evidence) => Promise<T>): Promise<T> {
    await make("earthquakes/strong#7");
    const log = await openLog(`lmdb:${join(folder, ".headwater")}`, { readOnly: true });
    try {
      return await read(log, decodeEvidence(await readFile(join(folder, "e.evidence"))));
    } finally {
      await log.close();
    }
  }
  const turned = (bytes: Uint8Array, at = bytes.length - 1) =>
    bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
  /** The payload event that has a record's bytes, and where in it they end. */
  async function payloadOf(log: EventLog, record: Uint8Array) {
    for await (const event of log.read("payload_earthquakes.usgs")) {
      const at = Buffer.from(event.data).indexOf(record);
      if (at >= 0) return { event, end: at + record.length - 1 };
    }
    throw new Error("no payload has the record");
  }
  const claim = (digest: Uint8Array) => Buffer.from(`"digest":"${toHex(digest)}"`);
  /** The changes that make an event with other data look whole: its id, and the digest in its metadata. */
  function inItself(event: RecordedEvent, data: Uint8Array): Change[] {
    const { previous = new Uint8Array(0), digest = previous } = linkInMetadata(event.metadata) ?? {};
    const id = eventId(event, data);
    const now = eventDigest(previous, event, id, event.type, data);
    return [
      [event.data, data],
      [uuidBytes(event.id), uuidBytes(id), CHECKSUM_BEFORE_ID],
      [claim(digest), claim(now)],
    ];
  }

  it("gives no evidence, but the address of the event that was changed", async () => {
    for (const { stream, revision, data } of await ofFile(async (_, { events }) => events)) {
      const ended = await madeAfter([[data, turned(data)]]);
      expect(ended.code, ended.stderr).toBe(3);
      expect(jsonError(ended)).toMatchObject({ code: "LogDamaged", where: `${stream}@${revision}` });
    }
  });

  it.each([
    ["lineage", "earthquakes/strong#7"],
    ["lineage", "source_earthquakes.usgs@0", "--forward"],
    ["search", "earthquakes", "--node", "node-1"],
    ["state", "earthquakes", "totals"],
    ["replay", "earthquakes"],
    ["quarantine", "list", "earthquakes"],
  ])("ends what reads the event that was changed, with its address: %s %s", async (...command) => {
    const stream = "pipeline_earthquakes";
    const { data } = await ofFile((log) => readOne(log, stream, 0));
    // The time in it: nothing else is wrong with it.
    const copy = await changedCopy([[data, turned(data)]]);
    const ended = await run(...command, "--json", "--log", `lmdb:${copy}`);
    expect(ended.code, ended.stderr).toBe(3);
    expect(jsonError(ended)).toMatchObject({ code: "LogDamaged", where: `${stream}@0` });
  });

  it("is found where the event was given the id and digest of what it is now, by the tree", async () => {
    const changed = await ofFile(async (log, { events }) =>
      Promise.all(events.map(({ stream, revision }) => readOne(log, stream, revision))),
    );
    for (const event of changed) {
      // The time in it: it says the same of its records.
      const ended = await madeAfter(inItself(event, turned(event.data)));
      expect(ended.code, ended.stderr).toBe(3);
      expect(jsonError(ended)).toMatchObject({
        code: "LogDamaged",
        where: `${event.stream}@${event.revision}`,
        message: expect.stringContaining("not in the tree"),
      });
    }
  });

  it("is found in what is beside the events of the way: the bytes of a record", async () => {
    const { address, event, end } = await ofFile(async (log, { records }) => {
      const [address = "", record = new Uint8Array(0)] = records.at(-1) ?? [];
      return { address, ...(await payloadOf(log, record)) };
    });
    const where = `${event.stream}@${event.revision}`;
    const data = turned(event.data, end);
    const seen = await madeAfter([[event.data, data]]);
    expect([seen.code, jsonError(seen)]).toMatchObject([3, { code: "LogDamaged", where }]);
    // With the id and digest of the changed bytes the record does not have its own any more.
    const mended = await madeAfter(inItself(event, data));
    expect([mended.code, jsonError(mended)]).toMatchObject([3, { code: "LogDamaged", where: address }]);
    // Columns that do not fit each other.
    const lengths = Buffer.from(event.data).indexOf("lengths") + "lengths".length + 8;
    const misfit = await madeAfter(inItself(event, turned(event.data, lengths)));
    expect([misfit.code, jsonError(misfit)]).toMatchObject([
      3,
      { code: "LogDamaged", where: address, message: expect.stringContaining("columns do not fit") },
    ]);
  });
});

describe("what is wrong is said", () => {
  const OTHER = "other+6e9d32c1+AW9N4mfVGqvH0bI6HgeGF5SPJBLz0pvfYNiNv5LkFQFX";
  it("of a file that was cut, and of one that is none", async () => {
    await make("earthquakes/strong#7");
    const bytes = await readFile(join(folder, "e.evidence"));
    await writeFile(join(folder, "half"), bytes.subarray(0, bytes.length / 2));
    const cut = await run("verify", "half", "--verifier", verifier, "--json");
    expect(cut.code).toBe(2);
    expect(jsonError(cut)).toMatchObject({ code: "BadInput", where: "half" });
    const none = await run("verify", "now.note", "--verifier", verifier, "--json");
    expect([none.code, jsonError(none).code]).toEqual([2, "BadInput"]);
  });

  it("of a key that has not signed it", async () => {
    await run("keygen", "other");
    const { stdout } = await run("keygen", "another");
    const wrong = await run("verify", "e.evidence", "--verifier", stdout.trimEnd(), "--json");
    expect(wrong.code).toBe(2);
    expect(jsonError(wrong).message).toContain("none of the keys");
    expect((await run("verify", "e.evidence", "--verifier", OTHER, "--json")).code).toBe(2);
  });

  it("of a checkpoint that is older than the record", async () => {
    const old = await run(
      ...["evidence", "earthquakes/strong#7", "--checkpoint", "old.note", "--out", "x", "--json"],
    );
    expect(old.code).toBe(2);
    expect(jsonError(old)).toMatchObject({ code: "BadInput", message: expect.stringContaining("older") });
  });

  it("of a checkpoint of another log", async () => {
    const input = projectFile("node_modules/vega-datasets/data/earthquakes.json");
    await run("run", projectFile("examples/earthquakes.ts"), "--input", `usgs=${input}`, "--log", "lmdb:b");
    await run("checkpoint", "--key", "k.key", "--out", "b.note", "--log", "lmdb:b");
    const other = await run(
      ...["evidence", "earthquakes/strong#7", "--checkpoint", "b.note", "--out", "x", "--json"],
    );
    expect(other.code).toBe(2);
    expect(jsonError(other)).toMatchObject({
      message: expect.stringContaining("another log"),
      where: "b.note",
    });
  });

  it("of a record that is not there, and of a file that is something else", async () => {
    const missing = await make("source_earthquakes.usgs@99999");
    expect([missing.code, jsonError(missing).code]).toEqual([2, "RecordNotFound"]);
    const foreign = await run(
      ...["evidence", "earthquakes/strong#7", "--checkpoint", "now.note", "--out", "k.key", "--json"],
    );
    expect([foreign.code, jsonError(foreign).code]).toEqual([2, "ForeignOutput"]);
  });
});
