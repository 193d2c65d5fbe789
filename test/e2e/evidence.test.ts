import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verify } from "../../src/app/verify.ts";
import { decodeEvidence, encodeEvidence } from "../../src/core/evidence.ts";
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

  it("is verified by a script in another language", async ({ skip }) => {
    const python = pythonWithLibraries();
    if (python === undefined) skip("no python3 has the packages cryptography and msgpack");
    else {
      for (const record of ["earthquakes/strong#7", "earthquake-pairs/pairs#3"]) {
        const made = await make(record);
        expect(made.code, made.stderr).toBe(0);
        const told = python([SCRIPT, join(folder, "e.evidence"), verifier]);
        expect(told).toContain(`${JSON.parse(made.stdout).record}: proven by`);
        expect(told).toMatch(/^source_/m);
      }
      const bytes = await readFile(join(folder, "e.evidence"));
      const evidence = decodeEvidence(bytes);
      const [[address = "", record = new Uint8Array(0)] = []] = evidence.records;
      const changed = { ...evidence, records: [[address, Uint8Array.from([...record, 0xc0])] as const] };
      await writeFile(join(folder, "changed"), encodeEvidence(changed));
      expect(() => python([SCRIPT, join(folder, "changed"), verifier])).toThrow(/is not what was processed/);
      // A record that is not of this way, and a way of which a part is missing.
      const another = { ...evidence, record: evidence.records.at(-1)?.[0] ?? "" };
      await writeFile(join(folder, "changed"), encodeEvidence(another));
      expect(() => python([SCRIPT, join(folder, "changed"), verifier])).toThrow(/is not on the way/);
      for (const [at, { stream }] of evidence.events.entries()) {
        if (!/^(source|steps)_/.test(stream)) continue;
        await writeFile(
          join(folder, "cut"),
          encodeEvidence({ ...evidence, events: evidence.events.toSpliced(at, 1) }),
        );
        expect(() => python([SCRIPT, join(folder, "cut"), verifier])).toThrow(/NOT PROVEN/);
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

  it("does not hold without all its events and records", async () => {
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
