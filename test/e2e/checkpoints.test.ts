import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { parseCheckpoint } from "../../src/core/checkpoint.ts";
import { parseNote } from "../../src/core/signed-note.ts";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { until } from "./kill-history.ts";

const place = new Workplace();
let folder = "";
let verifier = "";
const run = (...args: string[]) => headwater(args, { cwd: folder });
const input = projectFile("node_modules/vega-datasets/data/earthquakes.json");
const runs = (...more: string[]) =>
  run("run", projectFile("examples/earthquakes.ts"), "--input", `usgs=${input}`, "--json", ...more);

beforeEach(async () => {
  folder = await place.folder();
  verifier = (await run("keygen", "k")).stdout.trimEnd();
});
afterAll(() => place.clear());

async function sizeIn(file: string): Promise<number> {
  return parseCheckpoint(parseNote(await readFile(join(folder, file), "utf8")).text).size;
}

describe("a run that is told to sign", () => {
  it("signs what it did, at its end at the latest, and the log goes on from it", async () => {
    const ended = await runs(...["--checkpoint-key", "k.key", "--checkpoint-out", "latest.note"]);
    expect(ended.code, ended.stderr).toBe(0);
    const size = await sizeIn("latest.note");
    const audited = await run(...["audit", "--checkpoint", "latest.note", "--verifier", verifier, "--json"]);
    expect(audited.code).toBe(0);
    expect(JSON.parse(audited.stdout).checks[1]).toMatchObject({ checked: size, unverifiable: 0 });
  });

  it("gives each note to a command, and does not mind one that fails", async () => {
    const command = join(folder, "keep.sh");
    await writeFile(command, `#!/bin/sh\ncat >> '${join(folder, "kept")}'\n`);
    await chmod(command, 0o755);
    const timed = ["--checkpoint-key", "k.key", "--checkpoint-every", "200ms", "--checkpoint-command"];
    expect((await runs(...timed, `'${command}'`)).code).toBe(0);
    expect(await readFile(join(folder, "kept"), "utf8")).toMatch(/^headwater\//);
    const failing = await runs("--again", ...timed, "echo no room >&2; exit 7");
    expect(failing.code).toBe(0);
    expect(failing.stderr).toContain("the command for checkpoints failed (7): no room");
  });

  it("says before it begins what is wrong", async () => {
    const none = await runs("--checkpoint-every", "1m");
    expect([none.code, jsonError(none).where]).toEqual([2, "--checkpoint-key"]);
    const never = await runs("--checkpoint-key", "k.key", "--checkpoint-every", "soon");
    expect([never.code, jsonError(never).code]).toEqual([2, "BadUsage"]);
    const noKey = await runs("--checkpoint-key", "missing.key");
    expect([noKey.code, jsonError(noKey).where]).toEqual([2, "missing.key"]);
    await writeFile(join(folder, "letter"), "dear diary");
    for (const [out, code] of [
      ["nope/note", "BadUsage"],
      [".", "BadInput"],
      ["letter", "ForeignOutput"],
    ] as const) {
      const refused = await runs("--checkpoint-key", "k.key", "--checkpoint-out", out);
      expect([refused.code, jsonError(refused).code, jsonError(refused).where]).toEqual([2, code, out]);
    }
    const both = await runs(
      ...["--checkpoint-key", "k.key", "--checkpoint-out", "./strong", "--output", "strong=strong"],
    );
    expect([both.code, jsonError(both)]).toMatchObject([
      2,
      { code: "BadUsage", message: "the checkpoints and the sink strong are to write the same file" },
    ]);
    expect(existsSync(join(folder, "strong"))).toBe(false);
    expect(existsSync(join(folder, ".headwater"))).toBe(false);
    // A note of another log can be told only when there is a log.
    await runs("--checkpoint-key", "k.key", "--checkpoint-out", "other.note", "--log", "lmdb:other");
    const other = await runs("--checkpoint-key", "k.key", "--checkpoint-out", "other.note");
    expect([other.code, jsonError(other).code]).toEqual([2, "ForeignOutput"]);
    const often = await run("checkpoint", "--key", "k.key", "--every", "0s", "--json");
    expect([often.code, jsonError(often).where]).toEqual([2, "--every"]);
    const seldom = await runs("--checkpoint-key", "k.key", "--checkpoint-every", "0s");
    expect(jsonError(seldom).where).toBe("--checkpoint-every");
  });

  it("goes on where the file for notes cannot be written any more, names it, and gives them to the command", async () => {
    await runs();
    await mkdir(join(folder, "notes"));
    const signing = place.start(
      [
        ...["checkpoint", "--key", "k.key", "--every", "100ms", "--out", "notes/latest"],
        ...["--command", "cat >> kept"],
      ],
      { cwd: folder },
    );
    await signing.says("signed");
    // The command gets the note after the file has it.
    await until(() => existsSync(join(folder, "kept")) || signing.exited);
    await rm(join(folder, "notes"), { recursive: true });
    const before = (await readFile(join(folder, "kept"), "utf8")).length;
    expect((await runs("--again")).code).toBe(0);
    await signing.says(
      "the checkpoint was signed, and not kept: there is no such folder for the file: notes/latest",
    );
    signing.kill("SIGINT");
    expect((await signing.ended).code).toBe(0);
    expect((await readFile(join(folder, "kept"), "utf8")).length).toBeGreaterThan(before);
  });
});

describe("checkpoint --every", () => {
  it("signs a log again and again, and once more when it is stopped", async () => {
    await runs();
    const signing = place.start(
      ["checkpoint", "--key", "k.key", "--every", "200ms", "--out", "latest.note"],
      { cwd: folder },
    );
    await signing.says("signed");
    const first = await sizeIn("latest.note");
    expect((await runs("--again")).code).toBe(0);
    signing.kill("SIGINT");
    expect((await signing.ended).code).toBe(0);
    expect(await sizeIn("latest.note")).toBeGreaterThan(first);
    const audited = await run("audit", "--checkpoint", "latest.note", "--verifier", verifier, "--json");
    expect(JSON.parse(audited.stdout).checks[1]).toMatchObject({ ok: true, unverifiable: 0 });
  });
});
