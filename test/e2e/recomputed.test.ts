import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "@msgpack/msgpack";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { headwater, projectFile, Workplace } from "./command.ts";

const PIPELINE = projectFile("test/e2e/fixtures/fickle.ts");
const RECORDS = 400;
const MINUTE = 60_000;

const place = new Workplace();
let cwd = "";

beforeAll(async () => {
  cwd = await place.folder();
  const lines = Array.from({ length: RECORDS }, (_, n) => JSON.stringify({ n, key: `k${n % 3}` }));
  writeFileSync(join(cwd, "in.jsonl"), `${lines.join("\n")}\n`);
  const outputs = ["--output", "labels=labels.jsonl", "--output", "counts=counts.jsonl"];
  await ask(["run", PIPELINE, "--input", "readings=in.jsonl", ...outputs, "--batch", "16"]);
}, MINUTE);
afterAll(() => place.clear());

/** What the command answers, where the stages' factor is `factor`. */
async function ask(args: readonly string[], factor = 2, code = 0): Promise<string> {
  const ended = await headwater(args, { cwd, env: { HEADWATER_TEST_FACTOR: String(factor) } });
  expect(ended.code, ended.stderr).toBe(code);
  return ended.stdout;
}

interface Vertex {
  readonly stage: string | null;
  readonly value: unknown;
  readonly after: string | null;
  readonly recomputed: boolean;
  readonly reason: string | null;
}

async function lineageOf(output: string, factor?: number): Promise<{ value: unknown; vertices: Vertex[] }> {
  const argv = ["lineage", output, "--depth", "4", "--json"];
  return JSON.parse(await ask(argv, factor)) as { value: unknown; vertices: Vertex[] };
}

function linesOf(file: string): unknown[] {
  const text = readFileSync(join(cwd, file), "utf8").trimEnd();
  return text.split("\n").map((line) => JSON.parse(line) as unknown);
}

/** Keys are in their order as they are written down here, so that another encoder gives the canonical bytes. */
const digestOf = (value: unknown) => createHash("sha256").update(encode(value)).digest("hex");

describe("records that are not kept any more, where what they were made of is", () => {
  it("were let go of: no stream has them", async () => {
    const streams = JSON.parse(await ask(["log", "streams", "--json"])) as {
      readonly stream: string;
      readonly firstRevision: number;
      readonly lastRevision: number;
    }[];
    const beside = streams.filter(({ stream }) => /^(payload|transit)_/.test(stream));
    expect(beside.filter(({ stream }) => stream.startsWith("payload_")).map(({ stream }) => stream)).toEqual([
      "payload_fickle.readings",
    ]);
    for (const { stream, firstRevision, lastRevision } of beside) {
      if (stream.startsWith("transit_")) expect([stream, firstRevision]).toEqual([stream, lastRevision]);
    }
  });

  it("are made again by the deployed code, with the digests that were noted, through state, too", async () => {
    const outputs = linesOf("labels.jsonl");
    const totals = new Map<string, number>();
    for (const [n, output] of outputs.entries()) {
      const key = `k${n % 3}`;
      const total = (totals.get(key) ?? 0) + 2 * n;
      totals.set(key, total);
      expect(output).toEqual({ label: `${key}: ${total}`, n });
      if (![0, 37, 200].includes(n)) continue;
      const { value, vertices } = await lineageOf(`labels#${n}`);
      expect(value).toEqual(output);
      const made = { labelled: output, totals: { key, n, total }, scaled: { n, scaled: 2 * n } };
      for (const [stage, expected] of Object.entries(made)) {
        const found = vertices.find((vertex) => vertex.stage === stage);
        expect(found).toMatchObject({ value: expected, recomputed: true, after: digestOf(expected) });
      }
    }
  });

  it("are not shown where the code makes others of their parents, and it is said why", async () => {
    for (const n of [1, 200]) {
      const { value, vertices } = await lineageOf(`labels#${n}`, 3);
      expect(value).toBeNull();
      for (const stage of ["labelled", "totals", "scaled"]) {
        const found = vertices.find((vertex) => vertex.stage === stage);
        expect(found).toMatchObject({ value: null, recomputed: false });
        expect(found?.reason).toMatch(/run again, gives another one/);
      }
    }
  });

  it("are told to be gone where their state was made of what is not kept either", async () => {
    const { value, vertices } = await lineageOf("counts#100");
    expect(value).toBeNull();
    const [counted] = vertices;
    expect(counted).toMatchObject({ stage: "counted", recomputed: false });
    expect(counted?.reason).toBe("the record is not kept, and neither is all that its state was made of");
  });

  it("are run again by an audit, which finds the first that is another", async () => {
    const audited = async (factor: number, code: number) => {
      const argv = ["audit", "fickle", "--reexecute", "1", "--json"];
      const report = JSON.parse(await ask(argv, factor, code)) as {
        ok: boolean;
        checks: {
          name: string;
          ok: boolean;
          checked: number;
          failures: { address: string; code: string }[];
        }[];
      };
      return report.checks.find(({ name }) => name === "reexecution");
    };
    expect(await audited(2, 0)).toMatchObject({
      ok: true,
      checked: RECORDS,
      // What the second segment took is not kept.
      unverifiable: RECORDS,
    });
    const other = await audited(3, 1);
    expect(other?.ok).toBe(false);
    expect(other?.failures[0]).toMatchObject({
      code: "Diverged",
      address: expect.stringMatching(/^steps_fickle\.scaled\.000[01]@\d+$/) as string,
    });
  });
});
