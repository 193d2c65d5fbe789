import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Ended, headwater, jsonError, projectFile, Workplace } from "./command.ts";

const PIPELINE = projectFile("test/e2e/fixtures/cut-short.ts");
const RECORDS = 1_000;
const MINUTE = 60_000;

const place = new Workplace();
let cwd = "";

beforeAll(async () => {
  cwd = await place.folder();
  const lines = Array.from({ length: RECORDS }, (_, n) =>
    JSON.stringify({ n, key: `k${n % 5}`, time: n * 1_000 }),
  );
  const io = ["--input", "readings=in.jsonl", "--output", "sums=sums.jsonl", "--batch", "16"];
  for (const part of [RECORDS / 2, RECORDS]) {
    writeFileSync(join(cwd, "in.jsonl"), `${lines.slice(0, part).join("\n")}\n`);
    const ran = await ask("run", PIPELINE, ...io);
    expect(ran.code, ran.stderr).toBe(0);
  }
  expect((await ask("keygen", "signer")).code).toBe(0);
  expect((await ask("checkpoint", "--key", "signer.key", "--out", "note")).code).toBe(0);
}, MINUTE);
afterAll(() => place.clear());

const ask = (...args: readonly string[]): Promise<Ended> => headwater(args, { cwd });

async function gone(where: string | RegExp, ...args: readonly string[]): Promise<void> {
  const text = await ask(...args);
  expect([text.code, text.stdout], args.join(" ")).toEqual([2, ""]);
  expect(text.stderr).toMatch(/^headwater: .* (not kept any more|let go of)/);
  const json = await ask(...args, "--json");
  expect([json.code, json.stdout]).toEqual([2, ""]);
  const error = jsonError(json);
  expect(error).toMatchObject({ code: "RecordGone", hint: expect.stringMatching(/\S/) as string });
  expect(error.where).toMatch(where);
}

interface Check {
  readonly name: string;
  readonly checked: number;
  readonly unverifiable: number;
  readonly failures: readonly { readonly message: string }[];
  readonly counts?: Readonly<Record<string, number>>;
  readonly gone?: Readonly<Record<string, number>>;
  readonly assurance?: { readonly of: number };
}

describe("what was let go of", () => {
  it("is told by lineage, of each way to name a record, and by evidence, which makes no file", async () => {
    await gone(/^source_cut-short\.readings@0$/, "lineage", "source_cut-short.readings@0");
    await gone(
      /^steps_cut-short\.checked\.0000@1\.0\/checked$/,
      "lineage",
      "steps_cut-short.checked.0000@1.0/checked",
    );
    await gone(/^cut-short\/sums#0$/, "lineage", "sums#0");
    await gone(/^source_cut-short\.readings@3$/, "lineage", "source_cut-short.readings@3", "--forward");
    const evidence = (record: string) => ["evidence", record, "--checkpoint", "note", "--out", "proof"];
    await gone(/@0$/, ...evidence("source_cut-short.readings@0"));
    await gone(/sums#0$/, ...evidence("sums#0"));
    expect(existsSync(join(cwd, "proof"))).toBe(false);
    const nowhere = await ask(
      "evidence",
      "sums#979",
      "--checkpoint",
      "note",
      "--out",
      "nope/proof",
      "--json",
    );
    expect([nowhere.code, jsonError(nowhere).where]).toEqual([2, "nope/proof"]);
  });

  it("is told by log show, of an event; what was never there is something else", async () => {
    await gone(/^steps_cut-short\.sums\.0000@0$/, "log", "show", "steps_cut-short.sums.0000@0");
    const never = await ask("log", "show", "steps_cut-short.sums.0000@100000", "--json");
    expect([never.code, jsonError(never).code]).toEqual([2, "BadUsage"]);
  });

  it("is told by state, as of a point before what is kept", async () => {
    const now = await ask("state", "cut-short", "sums", "--json");
    const { ordinal } = JSON.parse(now.stdout.split("\n")[0] ?? "") as { ordinal: number };
    const outputs = readFileSync(join(cwd, "sums.jsonl"), "utf8").trimEnd().split("\n");
    const last = JSON.parse(outputs.at(-1) ?? "") as { key: number; sum: number };
    const at = (...more: readonly string[]) => ["state", "cut-short", "sums", String(last.key), ...more];
    expect((await ask(...at())).stdout).toMatch(String(last.sum));
    await gone(/^steps_cut-short\.sums\.000[01]@\d+$/, ...at("--at", "1970-01-01T00:01:00Z"));
    await gone(/^steps_cut-short\.sums\.000[01]@\d+$/, ...at("--at", String(ordinal - 4_096 * 1_000)));
  });

  it("is told by search beside what it finds", async () => {
    const made = await ask("search", "cut-short", "--stage", "checked", "--node", "node-1", "--json");
    expect(made.code).toBe(0);
    expect(made.stdout.trimEnd().split("\n").length).toBeGreaterThan(0);
    for (const partition of ["0000", "0001"]) {
      expect(made.stderr).toMatch(
        new RegExp(
          `^headwater: what steps_cut-short\\.checked\\.${partition} had before its event \\d+ is not kept`,
          "m",
        ),
      );
    }
    const early = await ask(
      "search",
      "cut-short",
      "--from",
      "1970-01-01T00:00:00Z",
      "--to",
      "1970-01-01T00:01:00Z",
    );
    expect([early.code, early.stdout]).toEqual([0, ""]);
    expect(early.stderr).toMatch(
      /what source_cut-short\.readings had before its event \d+ is not kept any more/,
    );
    const late = await ask("search", "cut-short", "--from", "1970-01-01T00:16:38Z");
    expect(late.stdout).toMatch(/source_cut-short\.readings@999/);
    expect(late.stderr).not.toMatch(/not kept/);
  });

  it("is told by search, of records that may have the key", async () => {
    const json = await ask("search", "cut-short", "--key", "k4", "--limit", "2000", "--json");
    const lines = json.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    const found = lines.slice(0, -1).map(({ address }) => Number(address.split("@")[1]));
    expect(found.length).toBeGreaterThan(0);
    for (const n of found) expect(n % 5).toBe(4);
    const { keysUnknown } = lines.at(-1);
    expect(keysUnknown).toBeGreaterThan(0);
    const text = await ask("search", "cut-short", "--key", "k4");
    expect(text.stderr).toContain(`of ${keysUnknown} more it cannot be told whether they have the key`);
    const none = await ask("search", "cut-short", "--key", "no such key");
    expect(none.stdout).toBe("");
    expect(none.stderr).toMatch(/^headwater: of \d+ it cannot be told whether they have the key: they are/m);
  });

  it("is counted by an audit, as what cannot be checked, before the space is usable again and after", async () => {
    const inputs = 2 * RECORDS - RECORDS / 50;
    const all = { accepted: RECORDS, delivered: RECORDS - RECORDS / 50 };
    for (const scavenged of [false, true]) {
      if (scavenged) expect((await ask("log", "scavenge")).code).toBe(0);
      const audited = await ask("audit", "--reexecute", "1", "--json");
      expect(audited.code, audited.stdout).toBe(0);
      const checks = new Map<string, Check>(
        (JSON.parse(audited.stdout).checks as Check[]).map((check) => [check.name, check]),
      );
      const [continuity, conservation, reexecution] = ["continuity", "conservation", "reexecution"].map(
        (name) => checks.get(name),
      );
      for (const check of [continuity, reexecution]) {
        expect((check?.checked ?? 0) + (check?.unverifiable ?? 0), check?.name).toBe(inputs);
        expect(check?.unverifiable, check?.name).toBeGreaterThan(0);
      }
      const { counts = {}, gone = {} } = conservation ?? {};
      for (const [name, count] of Object.entries(all))
        expect((counts[name] ?? 0) + (gone[name] ?? 0), name).toBe(count);
      const total = 2 * RECORDS - RECORDS / 50 + inputs;
      expect((conservation?.checked ?? 0) + (conservation?.unverifiable ?? 0)).toBe(total);
      // Nothing is said of what was not run: so little is kept here that nothing can be.
      expect(reexecution?.assurance?.of ?? 0).toBe(reexecution?.checked);
      expect((gone["accepted"] ?? 0) > 0).toBe(scavenged);
      const { stdout } = await ask("audit", "--reexecute", "1");
      expect(stdout).not.toMatch(/^All [\d,]+ inputs give/m);
      // How much of the deliveries is gone depends on how many were said together.
      const said = /^Before them, and let go of: ([^.]+)\.$/m.exec(stdout)?.[1];
      const words = Object.entries(gone).filter(([, count]) => count > 0);
      expect(said?.split(", ").sort()).toEqual(
        scavenged ? words.map(([name, count]) => `${count.toLocaleString("en")} ${name}`).sort() : undefined,
      );
    }
  });

  it("is not held against what is left, by a check that compares what is refused with inputs", async () => {
    const check = projectFile("examples/few-failures.ts");
    for (const scavenged of [false, true]) {
      if (scavenged) expect((await ask("log", "scavenge")).code).toBe(0);
      const audited = await ask("audit", "--check", check, "--json");
      const checks = JSON.parse(audited.stdout).checks as Check[];
      const own = checks.find(({ name }) => name === "few-failures");
      expect(own?.checked).toBeLessThan(RECORDS);
      let left = RECORDS / 50 - (own?.unverifiable ?? 0);
      expect(left).toBeLessThan(RECORDS / 50);
      for (const { message } of own?.failures ?? []) {
        const [inputs = 0, refused = 0] = message.match(/\d+/g)?.map(Number) ?? [];
        // It is one in fifty, wherever history begins.
        expect(refused, message).toBeLessThanOrEqual(inputs / 50 + 3);
        left -= refused;
      }
      expect(left).toBeGreaterThanOrEqual(0);
    }
  });

  it("is told by a run that would have to fill an output with it, before it makes the output", async () => {
    const streams = async () => (await ask("log", "streams", "--json")).stdout;
    const before = await streams();
    const io = ["--input", "readings=in.jsonl", "--output", "sums=new.jsonl"];
    for (const module of [PIPELINE, "cut-short"]) {
      const ended = await ask("run", module, ...io, "--json");
      expect([ended.code, jsonError(ended).code]).toEqual([2, "RecordGone"]);
      expect(existsSync(join(cwd, "new.jsonl"))).toBe(false);
      expect(await streams()).toBe(before);
    }
  });

  it("holds nothing of what was refused: it is shown, and put back, though the steps that it came from are gone", async () => {
    const refused = "steps_cut-short.checked.0000@1.0/checked";
    await gone(/^quarantine_/, "lineage", refused.replace("steps_", "quarantine_"));
    const shown = await ask("quarantine", "show", refused, "--json");
    expect([shown.code, shown.stderr]).toEqual([0, ""]);
    expect(shown.stdout).toMatch(/source_cut-short\.readings@3\b/);
    const before = readFileSync(join(cwd, "sums.jsonl"), "utf8");
    expect((await ask("quarantine", "retry", "cut-short", refused, "--later")).code).toBe(0);
    const io = ["--input", "readings=in.jsonl", "--output", "sums=sums.jsonl"];
    expect((await ask("run", PIPELINE, ...io)).code).toBe(0);
    // It fails again, as what it is.
    expect(readFileSync(join(cwd, "sums.jsonl"), "utf8")).toBe(before);
    const listed = await ask("quarantine", "list", "cut-short", "--limit", "1000", "--json");
    const { records } = JSON.parse(listed.stdout) as { records: { address: string; state: string }[] };
    const waiting = records.filter(({ state }) => state === "waiting");
    expect(waiting.length).toBe(RECORDS / 50);
    expect(waiting.map(({ address }) => address)).not.toContain(refused);
    const never = await ask("quarantine", "show", "steps_cut-short.checked.0000@2.0/checked", "--json");
    expect([never.code, jsonError(never).code]).toEqual([2, "NotQuarantined"]);
    const audited = await ask("audit", "--json");
    expect(audited.code, audited.stdout).toBe(0);
  });
});
