import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseSigner, parseVerifier } from "../core/signed-note.ts";
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
    expect(code).toBe(3);
    expect(stderr).toContain("there is no such folder");
  });
});
