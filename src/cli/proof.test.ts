import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { independentLeaves, merkleRoot } from "../../test/independent-tree.ts";
import { fill } from "../../test/small-log.ts";
import { parseSigner, parseVerifier, verifyNote } from "../core/signed-note.ts";
import type { EventLog } from "../ports/event-log.ts";
import { openLog } from "../runtime/compose.ts";
import { call } from "./testing/fake-io.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-proof-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("headwater keygen", () => {
  it("keeps a key for its owner alone, and prints what verifies", async () => {
    const { code, stdout, stderr } = await call(["keygen", "example.com/audit", "--out", folder]);
    const file = join(folder, "example.com-audit.key");
    const signer = parseSigner((await readFile(file, "utf8")).trimEnd());
    expect(code).toBe(0);
    expect(stdout).toBe(`${signer.verifier.verifierKey}\n`);
    expect(parseVerifier(stdout.trimEnd()).name).toBe("example.com/audit");
    expect(stderr).toContain(file);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const again = await call(["keygen", "other", "--out", folder, "--json"]);
    expect(JSON.parse(again.stdout)).toMatchObject({ name: "other", file: join(folder, "other.key") });
    expect(again.stdout).not.toContain(signer.verifier.keyId);
  });

  it("overwrites nothing", async () => {
    const file = join(folder, "a.key");
    await writeFile(file, "mine");
    const { code, stderr, stdout } = await call(["keygen", "a", "--out", folder]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toBe(
      `headwater: there is already a file, which is not overwritten: ${file}\nName another place, or move that file away.\n`,
    );
    expect(await readFile(file, "utf8")).toBe("mine");
  });

  it("says what is wrong with a name or a folder", async () => {
    expect(await call(["keygen", "a b", "--out", folder])).toMatchObject({ code: 2 });
    const { code, stderr } = await call(["keygen", "a", "--out", join(folder, "none")]);
    expect(code).toBe(2);
    expect(stderr).toContain(`there is no such folder for the file: ${join(folder, "none", "a.key")}`);
  });
});

describe("headwater checkpoint", () => {
  const at = (name: string) => join(folder, name);
  const checkpoint = (...more: string[]) =>
    call([
      ...["checkpoint", "--key", at("k.key")],
      ...(more.includes("--log") ? [] : ["--log", `lmdb:${at("log")}`]),
      ...more,
    ]);

  async function withLog<T>(use: (log: EventLog) => Promise<T>, name = "log"): Promise<T> {
    const log = await openLog(`lmdb:${at(name)}`);
    try {
      return await use(log);
    } finally {
      await log.close();
    }
  }

  beforeEach(async () => {
    await call(["keygen", "k", "--out", folder]);
    await withLog((log) => fill(log, 300));
  });

  it("signs the root that another program computes", async () => {
    const { code, stdout } = await checkpoint();
    const { id, root } = await withLog(async (log) => ({
      id: log.id,
      root: merkleRoot(await independentLeaves(log)),
    }));
    const text = `headwater/${id}\n300\n${root.toString("base64")}\n`;
    const { verifier } = parseSigner((await readFile(at("k.key"), "utf8")).trimEnd());
    expect(code).toBe(0);
    expect(verifyNote(stdout, [verifier])).toEqual({ kind: "signed", text, by: [verifier] });
    const again = JSON.parse((await checkpoint("--json")).stdout);
    expect(again).toEqual({
      origin: `headwater/${id}`,
      size: 300,
      root: root.toString("base64"),
      note: stdout,
      verifierKey: verifier.verifierKey,
      file: null,
    });
  });

  it("replaces an older one of the same log", async () => {
    expect((await checkpoint("--out", at("note"))).stdout).toMatch(/^300 events signed with k\+/);
    await withLog((log) => fill(log, 20, { seed: 2 }));
    expect((await checkpoint("--out", at("note"))).code).toBe(0);
    expect((await readFile(at("note"), "utf8")).split("\n")[1]).toBe("320");
  });

  it("signs nothing when the log does not go on from the older one", async () => {
    await call(["log", "backup", at("old"), "--log", `lmdb:${at("log")}`]);
    await withLog((log) => fill(log, 20, { seed: 2 }));
    await checkpoint("--out", at("note"));
    const note = await readFile(at("note"), "utf8");
    for (const more of [0, 20]) {
      await withLog((log) => fill(log, more, { seed: 3 }), "old");
      const { code, stdout, stderr } = await checkpoint("--out", at("note"), "--log", `lmdb:${at("old")}`);
      expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
      expect(stderr).toContain(`the log does not go on from its checkpoint of 320 events`);
      expect(await readFile(at("note"), "utf8")).toBe(note);
    }
  });

  it.each([
    ["a letter", "dear diary"],
    [
      "another log's checkpoint",
      "headwater/x\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— k AAAAAAAA\n",
    ],
  ])("does not overwrite %s", async (_, text) => {
    await writeFile(at("note"), text);
    expect((await checkpoint("--out", at("note"))).code).toBe(2);
    expect(await readFile(at("note"), "utf8")).toBe(text);
  });

  it("signs nothing where there is no folder for the note", async () => {
    const { code, stderr } = await checkpoint("--out", at("none/note"));
    expect(code).toBe(2);
    expect(stderr).toContain(`there is no such folder for the file: ${at("none/note")}`);
    expect(await withLog((log) => log.streamInfo("audit_log"))).toBeUndefined();
  });

  it("says what is wrong with the key or the log", async () => {
    await writeFile(at("k.key"), "PRIVATE+KEY+k+nonsense");
    const { code, stderr } = await checkpoint();
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining(at("k.key")) });
    expect(stderr).not.toContain("nonsense");
    expect(await call(["checkpoint", "--key", at("none")])).toMatchObject({ code: 2 });
    expect((await call(["checkpoint"])).stderr).toContain("headwater: an option is missing: --key <file>");
    await call(["keygen", "l", "--out", folder]);
    expect(await call(["checkpoint", "--key", at("l.key"), "--log", `lmdb:${at("no")}`])).toMatchObject({
      code: 3,
    });
  });
});
