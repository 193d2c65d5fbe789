import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLog } from "../../src/runtime/compose.ts";
import { type Draft, StreamTail } from "../../src/runtime/stream-tail.ts";
import { type Ended, headwater, jsonError, projectFile, Workplace } from "./command.ts";

const place = new Workplace();
let folder = "";
let verifier = "";
const run = (...args: string[]): Promise<Ended> => headwater(args, { cwd: folder });
const audit = (...more: string[]) =>
  run("audit", "--checkpoint", "now.note", "--verifier", verifier, "--json", ...more);

beforeAll(async () => {
  folder = await place.folder();
  const input = projectFile("node_modules/vega-datasets/data/earthquakes.json");
  await run("run", projectFile("examples/earthquakes.ts"), "--input", `usgs=${input}`, "--quiet");
  verifier = (await run("keygen", "k")).stdout.trimEnd();
  await run("checkpoint", "--key", "k.key", "--out", "now.note");
});
afterAll(() => place.clear());

describe("an audit of a log of a real run", () => {
  it("is clean, and goes on being so", async () => {
    const { code, stdout } = await audit();
    expect(code).toBe(0);
    const [chain, checkpoint, continuity, payload, conservation] = JSON.parse(stdout).checks;
    const signed = Number((await readFile(join(folder, "now.note"), "utf8")).split("\n")[1]);
    expect(chain).toMatchObject({ ok: true, unverifiable: 0 });
    expect(chain.checked).toBeGreaterThan(signed);
    expect(checkpoint).toMatchObject({ ok: true, checked: signed, unverifiable: 0 });
    // What came in, and what both branches handed out.
    expect(payload).toMatchObject({ ok: true, checked: 1_707 + 1_679 + 39, unverifiable: 0 });
    expect(continuity).toMatchObject({ ok: true, unverifiable: 0 });
    expect(conservation).toMatchObject({
      ok: true,
      unverifiable: 0,
      counts: { accepted: 1_707, pending: 0 },
    });
  });

  it("is checked by checks of the user's own, too", async () => {
    const { code, stdout } = await audit("--check", projectFile("examples/few-failures.ts"));
    expect(code).toBe(0);
    expect(JSON.parse(stdout).checks[5]).toMatchObject({ name: "few-failures", ok: true, failed: 0 });
    await writeFile(
      join(folder, "never.ts"),
      `const none = { checked: 1, unverifiable: 0, failed: 1 };
       const failures = [{ address: "source_x@0", code: "Never", message: "never good" }];
       export default { name: "never", version: 1, init: () => ({ ...none, failures }), apply: (state) => state };`,
    );
    const refused = await audit("--check", "never.ts");
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stdout).checks[5]).toMatchObject({ name: "never", ok: false });
    await writeFile(join(folder, "chain.ts"), `export default { name: "chain" };`);
    const bad = await audit("--check", "chain.ts");
    expect(bad.code).toBe(2);
    expect(jsonError(bad).message).toContain("not a check");
  });

  it("does not lay the mistakes of a check of the user's own on the log", async () => {
    const tally = "({ checked: 0, unverifiable: 0, failed: 0, failures: [] })";
    for (const [init, apply, what] of [
      ['() => { throw new Error("no tally") }', "(state) => state", "init threw: no tally"],
      ["() => ({})", "(state) => state", "init gives no state with a tally"],
      [`() => ${tally}`, "() => {}", "apply gives no state with a tally"],
      [`() => ${tally}`, "async (state) => state", "apply gives no state with a tally"],
    ]) {
      const text = `export default { name: "bad", version: 1, init: ${init}, apply: ${apply} };`;
      await writeFile(join(folder, "bad.ts"), text);
      const { code, stderr } = await audit("--check", "bad.ts");
      expect(code).toBe(2);
      const { error } = JSON.parse(stderr);
      expect(error).toMatchObject({ code: "BadUsage", where: "bad, bad.ts" });
      expect(error.message).toContain(what);
    }
    const throws = `(state, item) => { if (item.kind === "event") throw new Error("boom"); return state; }`;
    const text = `export default { name: "bad", version: 1, init: () => ${tally}, apply: ${throws} };`;
    await writeFile(join(folder, "bad.ts"), text);
    const { code, stdout } = await audit("--check", "bad.ts");
    expect(code).toBe(1);
    expect(JSON.parse(stdout).checks[5].failures[0].message).toBe("the check threw here: boom");
  });

  it("tells of a log that is not there as every command does", async () => {
    const ended = await audit("--log", "lmdb:none");
    expect(ended.code).toBe(3);
    expect(jsonError(ended).hint).not.toBeNull();
  });

  it("says of a log that a newer Headwater wrote to that it cannot tell", async () => {
    const copy = await place.folder();
    await run("log", "backup", join(copy, "log"));
    const where = `lmdb:${join(copy, "log")}`;
    const log = await openLog(where, {});
    const tail = await StreamTail.open(log, "supervisor_earthquakes");
    await tail.append([{ type: "Heartbeat", event: { v: 99, wall: 0, epoch: 99 } } as unknown as Draft]);
    await log.close();
    for (const args of [[], ["earthquakes"]]) {
      const ended = await audit("--log", where, ...args);
      expect(ended).toMatchObject({ code: 3, stdout: "" });
      expect(jsonError(ended)).toMatchObject({
        code: "LogTooNew",
        message: expect.stringContaining("version 99"),
        where: `supervisor_earthquakes@${tail.revision}`,
        hint: expect.stringContaining("newer Headwater"),
      });
    }
  });

  it("finds changed bytes of the file, whatever they do to who reads it", async () => {
    const source = join(folder, ".headwater");
    const dataFile = (await readdir(source)).find((name) => name === "data.mdb") as string;
    const bytes = await readFile(join(source, dataFile));
    const { size } = await stat(join(source, dataFile));
    const found = bytes.indexOf("M 2.6 -"); // A record, as it is kept.
    expect(found).toBeGreaterThan(0);
    expect(size).toBeGreaterThan(4_096 * 10);
    const copy = await place.folder();
    await run("log", "backup", join(copy, "log"));
    const target = join(copy, "log", dataFile);
    const kept = await readFile(target);

    const record = Buffer.from(kept);
    const at = record.indexOf("M 2.6 -");
    record[at + 2] = (record[at + 2] as number) ^ 1;
    await writeFile(target, record);
    const changed = await audit("--log", `lmdb:${join(copy, "log")}`);
    expect(changed.code).toBe(1);
    expect(JSON.parse(changed.stdout).checks[0].failures[0].address).toMatch(
      /^payload_earthquakes\.\S+@\d+$/,
    );

    // Whole pages of nonsense, but for those that say what kind of file it is.
    const broken = Buffer.from(kept);
    broken.fill(0xff, 4_096 * 4);
    await writeFile(target, broken);
    const { code, signal, stdout, stderr } = await audit("--log", `lmdb:${join(copy, "log")}`);
    expect(signal).toBeNull();
    if (code === 1) expect(JSON.parse(stdout).checks[0]).toMatchObject({ ok: false });
    else expect({ code, error: JSON.parse(stderr).error.code }).toEqual({ code: 3, error: "LogDamaged" });
  });
});
