import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { headwater, jsonError, Workplace } from "./command.ts";

const place = new Workplace();
let cwd: string;
let copies = 0;

/**
 * Rows say a word in two halves, which the first stage puts together, so that the word is in nothing but what that one
 * gave. Some rows it refuses. `emit` is what the totals after it say.
 */
function define(file: string, emit: string): void {
  const text = `import { pipeline } from "headwater";
const p = pipeline("words", { partitions: 2, batchRecords: 8 });
const said = p.source("in", { key: (row) => (row as { n: number }).n % 3 })
  .map("say", (row) => {
    const { n, a, b } = row as { n: number; a: string; b: string };
    if (n % 20 === 4) throw new Error("unlucky " + n);
    return { n, word: a + b };
  }, { capture: "all" });
said.sink("said");
said.reduce("total", { init: () => 0, step: (sum) => sum + 1, emit: (sum, key) => (${emit}) }).sink("out");
export default p;
`;
  writeFileSync(join(cwd, file), text);
}

/** A copy of the log in which every `from` is `to`, which is as long. Answers its folder. */
function changed(from: string, to: string): string {
  const copy = join(cwd, `copy-${copies++}`);
  cpSync(join(cwd, ".headwater"), copy, { recursive: true });
  const file = join(copy, "data.mdb");
  const data = readFileSync(file);
  let found = 0;
  for (let at = data.indexOf(from); at >= 0; at = data.indexOf(from, at + 1)) {
    data.write(to, at);
    found++;
  }
  expect(found).toBeGreaterThan(0);
  writeFileSync(file, data);
  return copy;
}

async function expectTold(log: string, where: RegExp, ...args: readonly string[]): Promise<void> {
  const ended = await headwater(["replay", ...args, "--log", `lmdb:${log}`, "--json"], { cwd });
  expect({ code: ended.code, error: jsonError(ended) }).toMatchObject({
    code: 3,
    error: {
      code: "LogDamaged",
      message: "an event does not have the digest of its content",
      where: expect.stringMatching(where),
    },
  });
}

beforeAll(async () => {
  cwd = await place.folder();
  define("p.ts", "{ key, sum }");
  define("other.ts", "{ key, sum: sum + 1 }");
  const rows = Array.from({ length: 200 }, (_, n) => `${JSON.stringify({ n, a: "black", b: "bird" })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  const ran = await headwater(["run", "p.ts", "--input", "in=in.jsonl", "--batch", "7"], { cwd });
  expect(ran.code, ran.stderr).toBe(0);
  const begun = await headwater(["replay", "words", "--what-if", "other.ts", "--full", "--id", "part"], {
    cwd,
    env: { HEADWATER_FAIL_AT: "steps:between:1" },
  });
  expect(begun.signal).toBe("SIGKILL");
});
afterAll(() => place.clear());

describe("headwater replay --what-if, of a log that was changed", () => {
  it.each([
    [
      "what a stage ahead of the change gave",
      "blackbird",
      "blackbard",
      /^payload_words\.say\.\d{4}@\d+$/,
      [],
    ],
    ["that, where all is run", "blackbird", "blackbard", /^payload_words\.say\.\d{4}@\d+$/, ["--full"]],
    ["what came in, where all is run", "bird", "bard", /^payload_words\.in@\d+$/, ["--full"]],
    ["what was refused", "unlucky 64", "unlucky 65", /^quarantine_words\.say\.\d{4}@\d+$/, ["--quarantined"]],
  ] as const)("ends with the address of the event: %s", async (_, from, to, where, more) => {
    await expectTold(changed(from, to), where, "words", "--what-if", "other.ts", ...more);
  });

  it("is not gone on with, and says the same", async () => {
    const log = changed("bird", "bard");
    await expectTold(log, /^payload_words\.in@\d+$/, "resume", "part");
    await expectTold(changed("other.ts", "othre.ts"), /^pipeline_words~part@0$/, "pause", "part");
  });
});
