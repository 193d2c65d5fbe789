import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verify } from "../../src/app/verify.ts";
import { decodeEvidence, type Evidence } from "../../src/core/evidence.ts";
import { type NoteSigner, parseSigner } from "../../src/core/signed-note.ts";
import { headwater, projectFile, Workplace } from "./command.ts";
import { encoded, type Forgery, forgeriesOf, signedAnew } from "./forgeries.ts";
import { pythonWithLibraries } from "./python.ts";

const SCRIPT = projectFile("examples/verify-evidence.py");
const BRIEF = projectFile("examples/verify-evidence-brief.py");
const BRIEF_LINES_MOST = 60;
const MINUTES = 240_000;

/**
 * A record of each shape: made by filters and maps, of pairs that a join made, put back after it had failed, what had
 * failed itself, and what came in.
 */
const RECORDS = [
  "earthquakes/strong#7",
  "earthquake-pairs/pairs#3",
  "mended/out#0",
  "quarantine_mended.double.0000@0.0/fussy",
  "source_mended.in@0",
] as const;

const place = new Workplace();
let cwd = "";
let verifier = "";
let signer: NoteSigner;
const genuine = new Map<string, Evidence>();

beforeAll(async () => {
  cwd = await place.folder();
  verifier = (await run("keygen", "k")).trimEnd();
  signer = parseSigner(readFileSync(join(cwd, "k.key"), "utf8").trimEnd());
  const input = projectFile("node_modules/vega-datasets/data/earthquakes.json");
  for (const name of ["earthquakes", "earthquake-pairs"]) {
    await run("run", projectFile(`examples/${name}.ts`), "--input", `usgs=${input}`, "--quiet");
  }
  writeFileSync(join(cwd, "in.jsonl"), '{"n":1}\n');
  writeFileSync(join(cwd, "mended.ts"), failing("true"));
  await run("run", "mended.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl", "--quiet");
  writeFileSync(join(cwd, "mended.ts"), failing("false"));
  await run("quarantine", "retry", "mended.ts", "--all", "--output", "out=out.jsonl", "--quiet");
  await run("checkpoint", "--key", "k.key", "--out", "now.note");
  for (const record of RECORDS) {
    await run("evidence", record, "--checkpoint", "now.note", "--out", "e.evidence");
    genuine.set(record, decodeEvidence(readFileSync(join(cwd, "e.evidence"))));
  }
}, MINUTES);
afterAll(() => place.clear());

function failing(condition: string): string {
  return `
import { pipeline } from "headwater";
const p = pipeline("mended", { partitions: 1 });
p.source("in")
  .map("double", ({ n }) => ({ n: 2 * n }))
  .map("fussy", (record) => {
    if (${condition}) throw new Error("not now");
    return { ...record, passed: true };
  })
  .sink("out");
export default p;
`;
}

async function run(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await headwater(args, { cwd });
  expect(code, `${args.join(" ")}: ${stderr}`).toBe(0);
  return stdout;
}

/** What becomes of files: of each whether it is accepted. */
type Judge = (files: readonly string[]) => Promise<readonly boolean[]>;

const byVerify: Judge = async (files) => {
  const accepted: boolean[] = [];
  for (const file of files) {
    accepted.push(
      await verify({ file, verifiers: [verifier] }).then(
        ({ ok }) => ok,
        (error: unknown) => {
          expect(error, file).toMatchObject({ code: expect.stringMatching(/^(BadInput|BadUsage)$/) });
          return false;
        },
      ),
    );
  }
  return accepted;
};

function write(name: string, bytes: Uint8Array): string {
  const file = join(cwd, name);
  writeFileSync(file, bytes);
  return file;
}

async function mustRefuseAll(judge: Judge, forgeries: readonly Forgery[]): Promise<void> {
  const files = forgeries.map(({ bytes }, at) => write(`forged-${at}`, bytes));
  const accepted = await judge(files);
  expect(accepted).toHaveLength(forgeries.length);
  expect(forgeries.filter((_, at) => accepted[at]).map(({ what }) => what)).toEqual([]);
}

describe.each(RECORDS)("forged evidence of %s", (record) => {
  const evidence = () => genuine.get(record) as Evidence;
  /** What is not forged: as it was made, without the values, and of a log that has nothing else. */
  const sound = () => [
    write("sound", encoded(evidence())),
    write("valueless", encoded({ ...evidence(), records: [] })),
    write("anew", encoded(signedAnew(evidence(), signer, evidence().events))),
  ];

  it("is refused by headwater verify", async () => {
    expect(await byVerify(sound())).toEqual([true, true, true]);
    await mustRefuseAll(byVerify, [...forgeriesOf(evidence(), signer)]);
  });

  it("is refused by the script in another language", async ({ skip }) => {
    const python = pythonWithLibraries();
    if (python === undefined) return skip("no python3 has the packages cryptography and msgpack");
    const byScript: Judge = async (files) =>
      python.verdicts(SCRIPT, files, [verifier]).map(({ accepted }) => accepted !== null);
    expect(await byScript(sound())).toEqual([true, true, true]);
    await mustRefuseAll(byScript, [...forgeriesOf(evidence(), signer)]);
  });

  it("gives the script of sixty lines no record that was not processed", async ({ skip }) => {
    const python = pythonWithLibraries();
    if (python === undefined) return skip("no python3 has the packages cryptography and msgpack");
    expect(readFileSync(BRIEF, "utf8").split("\n").length - 1).toBeLessThanOrEqual(BRIEF_LINES_MOST);
    const recordsIn = (file: string) =>
      python.run([BRIEF, file, verifier]).trimEnd().split("\n").slice(0, -1);
    const [whole = "", valueless = "", anew = ""] = sound();
    const genuine = recordsIn(whole);
    expect(genuine).toHaveLength(evidence().records.length);
    expect([recordsIn(valueless), recordsIn(anew)]).toEqual([[], genuine]);
    const forgeries = [...forgeriesOf(evidence(), signer)];
    const files = forgeries.map(({ bytes }, at) => write(`forged-${at}`, bytes));
    const verdicts = python.verdicts(BRIEF, files, [verifier]);
    // It does not follow the way, and takes a file without all of it.
    const accepted = files.filter((_, at) => verdicts[at]?.accepted !== null);
    expect(accepted.length).toBeLessThan(forgeries.length / 4);
    for (const file of accepted) {
      for (const line of recordsIn(file)) expect(genuine, file).toContain(line);
    }
  });

  it("is known by what it has: how many records have their values is said", async ({ skip }) => {
    const [whole = "", valueless = ""] = sound();
    const { records } = evidence();
    expect(records.length).toBeGreaterThan(0);
    expect(await verify({ file: whole, verifiers: [verifier] })).toMatchObject({ values: records.length });
    expect(await verify({ file: valueless, verifiers: [verifier] })).toMatchObject({ values: 0 });
    const told = await run("verify", "valueless", "--verifier", verifier);
    expect(told).toMatch(/; 0 of \d+ records have their values$/m);
    const python = pythonWithLibraries();
    if (python === undefined) return skip("no python3 has the packages cryptography and msgpack");
    expect(python.run([SCRIPT, whole, verifier])).toContain(`bytes of ${records.length} records`);
    expect(python.run([SCRIPT, valueless, verifier])).toContain("bytes of 0 records");
  });
});
