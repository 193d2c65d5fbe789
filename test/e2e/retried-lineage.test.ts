import { readFileSync, writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Lineage } from "../../src/app/lineage-types.ts";
import { verify } from "../../src/app/verify.ts";
import { decodeEvidence, encodeEvidence } from "../../src/core/evidence.ts";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";
import { pythonWithLibraries } from "./python.ts";

const MINUTES = 120_000;
const place = new Workplace();
let cwd = "";
let verifier = "";

beforeAll(async () => {
  cwd = await place.folder();
  verifier = (await run("keygen", "k")).stdout.trimEnd();
  const lines = Array.from({ length: 12 }, (_, n) => ({
    n,
    k: "ab"[n % 2],
    note: n === 7 ? "too long" : "",
  }));
  write("in.jsonl", lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  for (const [version, arguments_] of [
    ["n % 4 === 0", ["run", "p.ts", "--input", "in=in.jsonl"]],
    ["n === 8", ["quarantine", "retry", "p.ts", "--stage", "parse"]],
    ["false", ["quarantine", "retry", "p.ts", "--all"]],
  ] as const) {
    write("p.ts", pipeline(version, version === "false" ? 100 : 5));
    const { code, stderr } = await run(...arguments_, "--output", "out=out.jsonl", "--quiet");
    expect(code, stderr).toBe(0);
  }
  await run("checkpoint", "--key", "k.key", "--out", "now.note");
}, MINUTES);
afterAll(() => clearSound(place));

/** `parse` fails where `condition` holds of a record's n; notes of more than `most` letters are rejected. */
function pipeline(condition: string, most: number): string {
  return `
import { pipeline } from "headwater";
const p = pipeline("pq", { partitions: 1 });
p.source("in", {
  schema: {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value) =>
        value.note.length <= ${most} ? { value } : { issues: [{ message: "a long note", path: ["note"] }] },
    },
  },
})
  .map("tenfold", ({ n, k }) => ({ n: 10 * n, k }))
  .map("parse", async (record, ctx) => {
    const n = record.n / 10;
    const token = await ctx.effect("token", () => crypto.randomUUID());
    if (${condition}) throw new Error("not " + n);
    return { ...record, token };
  })
  .map("plain", ({ n, k }) => ({ n, k }))
  .filter("some", ({ n }) => n >= 0)
  .keyBy("by-k", ({ k }) => k)
  .reduce("sums", {
    init: () => ({ sum: 0 }),
    step: (total, { n }) => ({ sum: total.sum + n }),
    emit: ({ sum }, k) => ({ k, sum }),
  })
  .sink("out");
export default p;
`;
}

function write(name: string, content: string): void {
  writeFileSync(join(cwd, name), content);
}

function run(...args: readonly string[]) {
  return headwater(args, { cwd });
}

async function text(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}

async function lineage(...args: readonly string[]): Promise<Lineage> {
  return JSON.parse(await text("lineage", ...args, "--json")) as Lineage;
}

/** The sink's output that is `n` more than the one before it of its key: its place. */
function outputOf(n: number): number {
  const outputs = readFileSync(join(cwd, "out.jsonl"), "utf8").trim().split("\n");
  const sums = outputs.map((line) => JSON.parse(line) as { k: string; sum: number });
  return sums.findIndex(({ k, sum }, at) => {
    const before = sums.slice(0, at).findLast((other) => other.k === k)?.sum ?? 0;
    return sum - before === n;
  });
}

describe("lineage of what was put back", () => {
  it("goes back through each time that it failed, with reasons and values", async () => {
    const { vertices, edges, complete } = await lineage(`out#${outputOf(80)}`, "--limit", "1000");
    expect(complete).toBe(true);
    const at = (address: string) => vertices.find((vertex) => vertex.address === address);
    const parentOf = (address: string) => edges.filter(({ to }) => to === address).map(({ from }) => from);
    const sum = vertices[0];
    const [filtered = ""] = parentOf(sum?.address ?? "");
    const way: string[] = [];
    for (let address: string | undefined = filtered; address !== undefined; [address] = parentOf(address))
      way.push(`${at(address)?.kind} ${at(address)?.stage}`);
    expect(way.filter((step) => !step.startsWith("keyBy"))).toEqual([
      ...["filter some", "map plain", "map parse"],
      ...["retry null", "quarantined parse", "retry null", "quarantined parse"],
      ...["map tenfold", "source in"],
    ]);
    const refused = vertices.filter(({ kind }) => kind === "quarantined");
    const eights = refused.filter(({ value }) => (value as { n: number }).n === 80);
    expect(eights.map(({ version }) => version)).toEqual([2, 1]);
    for (const vertex of eights) {
      expect(vertex.reason).toBe("quarantined at parse: not 8");
      expect(vertex.after).toMatch(/^[0-9a-f]{64}$/);
    }
    // What was not kept is made again from what was put back, by the code of then, with what its call had
    // answered.
    const parsed = vertices.find(({ stage, version }) => stage === "parse" && version === 3);
    expect(parsed).toMatchObject({
      value: { n: 80, k: "a", token: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      recomputed: true,
      reason: null,
    });
    expect(parsed?.before).toBe(eights[0]?.after);
  });

  it("goes from a rejected record to what it became, and back", async () => {
    const back = await lineage(`out#${outputOf(70)}`, "--limit", "1000");
    const [source] = back.edges
      .filter(({ from }) => from.startsWith("retry_pq@"))
      .filter(({ to }) => to.startsWith("source_"));
    const rejected = back.edges.find(({ to }) => to === source?.from);
    expect(rejected?.from).toBe("quarantine_pq.in@0");
    expect(back.vertices.find(({ address }) => address === rejected?.from)).toMatchObject({
      kind: "rejected",
      stage: "in",
      reason: "rejected: a long note",
      value: { n: 7, k: "b", note: "too long" },
    });
    const forward = await lineage("quarantine_pq.in@0", "--forward");
    expect(forward.vertices.map(({ address }) => address)).toContain(`pq/out#${outputOf(70)}`);
    expect(forward.vertices[1]).toMatchObject({ kind: "retry", address: source?.from });
  });

  it("goes forward from the source, and from a quarantined record, to the same outputs", async () => {
    const { records } = JSON.parse(await text("quarantine", "list", "pq", "--json")) as {
      records: { address: string; message: string }[];
    };
    const failed = records.filter(({ message }) => message === "not 8").map(({ address }) => address);
    expect(failed).toHaveLength(2);
    const outputs: string[][] = [];
    for (const record of ["source_pq.in@7", ...failed]) {
      const { vertices } = await lineage(record, "--forward", "--limit", "1000");
      outputs.push(vertices.filter(({ kind }) => kind === "sink").map(({ address }) => address));
    }
    expect(outputs[0]).toContain(`pq/out#${outputOf(80)}`);
    expect(outputs[1]).toEqual(outputs[0]);
    expect(outputs[2]).toEqual(outputs[0]);
  });

  it("is drawn in every form", async () => {
    const record = `out#${outputOf(0)}`;
    expect(await text("lineage", record)).toMatch(
      /retry_pq@0 {2}retry {2}\{"k":"a","n":0\}[\s\S]*quarantine_pq\.tenfold\.0000@0\.0\/parse {2}quarantined parse[\s\S]*quarantined at parse: not 0/,
    );
    expect(await text("lineage", record, "--format", "dot")).toContain(
      '"quarantine_pq.tenfold.0000@0.0/parse" -> "retry_pq@0";',
    );
    expect(await text("lineage", record, "--format", "mermaid")).toContain("quarantined parse");
  });

  it("is searched by digest and by time", async () => {
    const { vertices } = await lineage(`out#${outputOf(80)}`);
    const parsed = vertices.find(({ stage }) => stage === "parse");
    const found = await text("search", "pq", "--digest", parsed?.after ?? "", "--json");
    expect(found).toContain(parsed?.address);
    const retried = JSON.parse(JSON.stringify(parsed)) as { ordinal: number };
    const range = ["--from", String(retried.ordinal), "--to", String(retried.ordinal + 1)];
    expect(await text("search", "pq", "--stage", "parse", ...range, "--json")).toContain(parsed?.address);
  });

  it("says where there is nothing of that name", async () => {
    for (const record of ["retry_pq@99", "quarantine_pq.in@9", "quarantine_pq.tenfold.0000@1.0/parse"]) {
      const ended = await run("lineage", record, "--json");
      expect(jsonError(ended)).toMatchObject({ code: "RecordNotFound", where: record });
    }
    for (const record of ["retry_pq@1.0", "quarantine_pq.tenfold.0000@1", "quarantine_pq.in@0.1/x"]) {
      expect(jsonError(await run("lineage", record, "--json"))).toMatchObject({ code: "BadUsage" });
    }
  });
});

describe("evidence of what was put back", () => {
  const make = (record: string) =>
    run("evidence", record, "--checkpoint", "now.note", "--out", "e.evidence", "--json");

  it("holds with the retries and the quarantine, and not without any of it", async () => {
    const file = join(cwd, "e.evidence");
    const cut = join(cwd, "cut");
    for (const [added, type] of [
      [80, "RecordsQuarantined"],
      [70, "RecordsRejected"],
    ] as const) {
      const made = await make(`out#${outputOf(added)}`);
      expect(made.code, made.stderr).toBe(0);
      const report = await verify({ file, verifiers: [verifier] });
      expect(report.failures).toEqual([]);
      const shown = report.records.filter(({ address }) => /^(?:retry|quarantine)_/.test(address));
      expect(shown.length).toBeGreaterThanOrEqual(2);
      for (const { value } of shown) expect(value).toBeDefined();
      const evidence = decodeEvidence(await readFile(file));
      expect(evidence.events.map((event) => event.type)).toEqual(
        expect.arrayContaining(["RetryAsked", type]),
      );
      for (const at of evidence.events.keys()) {
        await writeFile(cut, encodeEvidence({ ...evidence, events: evidence.events.toSpliced(at, 1) }));
        const failed = await verify({ file: cut, verifiers: [verifier] });
        expect(failed, `event ${at}`).toMatchObject({
          ok: false,
          failures: [{ message: expect.stringContaining("whole way") }],
        });
      }
    }
  });

  it("is verified by the script in another language", async ({ skip }) => {
    const python = pythonWithLibraries();
    if (python === undefined) skip("no python3 has the packages cryptography and msgpack");
    else {
      await make(`out#${outputOf(80)}`);
      const told = python.run([
        projectFile("examples/verify-evidence.py"),
        join(cwd, "e.evidence"),
        verifier,
      ]);
      expect(told).toContain(": proven by");
      expect(told).toMatch(/^quarantine_pq\.tenfold\.0000@\d+\.0\/parse .* not 8$/m);
    }
  });

  it("is not made of what was rejected, which has no digest", async () => {
    const refused = await make("quarantine_pq.in@0");
    expect(refused.code).toBe(2);
    expect(jsonError(refused)).toMatchObject({ code: "BadUsage", where: "quarantine_pq.in@0" });
    const { records } = JSON.parse(await text("quarantine", "list", "pq", "--json")) as {
      records: { address: string; message: string }[];
    };
    // Of what failed in a stage it is.
    expect((await make(records.find(({ message }) => message === "not 8")?.address ?? "")).code).toBe(0);
    expect(await verify({ file: join(cwd, "e.evidence"), verifiers: [verifier] })).toMatchObject({
      ok: true,
    });
  });
});
