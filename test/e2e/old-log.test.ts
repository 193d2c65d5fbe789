import { appendFileSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeCanonical } from "../../src/core/canonical.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { headwater, projectFile, Workplace } from "./command.ts";
import { checkChains } from "./log-chain.ts";
import { countEvents, deployments, inspectLog } from "./open-log.ts";

const EVENTS = 137;
const OUTPUTS = {
  busy: { stock: 424, spent: 216, receipts: 216 },
  meeting: { merged: 100, counts: 100 },
};
const INPUTS = { busy: ["orders"], meeting: ["left", "right"] };

type Name = keyof typeof OUTPUTS;

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
  mkdirSync(join(cwd, "old"));
  writeFileSync(join(cwd, "old", "data.mdb"), gunzipSync(readFileSync(fixture("data.mdb.gz"))));
  for (const name of ["orders", "left", "right"]) {
    copyFileSync(fixture(`${name}.jsonl`), join(cwd, `${name}.jsonl`));
  }
  for (const name of ["busy", "meeting"]) {
    copyFileSync(projectFile(`test/e2e/fixtures/${name}.ts`), join(cwd, `${name}.ts`));
  }
});
afterEach(() => place.clear());

function fixture(name: string): string {
  return projectFile(`test/fixtures/log-v1/${name}`);
}

function fixtureText(name: string): string {
  return readFileSync(fixture(name), "utf8");
}

interface Report {
  readonly deployment: string;
  readonly records: Readonly<Record<string, number>>;
  readonly outputs: Readonly<Record<string, number>>;
  readonly log: { readonly position: string };
}

/** Runs a pipeline on the log in the folder `log`; its outputs are files in the folder `into`. */
async function run(name: Name, log: string, into: string, more: readonly string[] = []): Promise<Report> {
  mkdirSync(join(cwd, into), { recursive: true });
  const { code, stdout, stderr } = await headwater(
    [
      ...["run", `${name}.ts`, "--log", `lmdb:${log}`, "--json"],
      ...INPUTS[name].flatMap((source) => ["--input", `${source}=${source}.jsonl`]),
      ...Object.keys(OUTPUTS[name]).flatMap((sink) => ["--output", `${sink}=${into}/${sink}.jsonl`]),
      ...more,
    ],
    { cwd },
  );
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Report;
}

const output = (file: string) => readFileSync(join(cwd, file), "utf8");

/** Orders a minute after those of the fixture, and one that is older than all of them. */
const NEW_ORDERS = Array.from({ length: 30 }, (_, index) => ({
  id: `new${index}`,
  customer: `c${index % 4}`,
  at: index === 20 ? Date.UTC(2023, 0) : Date.UTC(2024, 0, 1, 1, 0, 0) + 900 * index,
  trial: false,
  items: [{ sku: `s${index % 3}`, count: index }],
}));

function grow(): void {
  appendFileSync(join(cwd, "orders.jsonl"), NEW_ORDERS.map((order) => `${JSON.stringify(order)}\n`).join(""));
}

/** What a log holds of records and steps: neither where it was run, nor how far anything is. */
async function stepsOf(folder: string): Promise<readonly string[]> {
  const { rows } = await inspectLog(join(cwd, folder), "busy");
  return rows.filter((row) => /^(source|steps)_[^ ]+@\d+ (?!rejected)/.test(row));
}

describe("a log of version 1", () => {
  it("is read event by event, with its chains, digests and snapshots", async () => {
    const log = await openLog(`lmdb:${join(cwd, "old")}`, { readOnly: true });
    const versions = new Map<string, number>();
    try {
      for await (const event of log.readAll()) {
        expect(decodeCanonical(event.data)).toMatchObject({ v: 1 });
        const { type, data } = decodeEvent(event);
        versions.set(type, data.v);
      }
      expect(await checkChains(log)).toBe(EVENTS);
    } finally {
      await log.close();
    }
    expect(Object.fromEntries(versions)).toMatchObject({
      ...{ DoorClaimed: 2, RecordsAccepted: 2, InputEnded: 2, PartitionClaimed: 2, StepsRecorded: 2 },
      ...{ SnapshotChunk: 1, PipelineDeployed: 1, OutputsDelivered: 1, RecordsQuarantined: 1 },
    });
    for (const name of ["busy", "meeting"] as const) {
      const { accepted, snapshots } = await inspectLog(join(cwd, "old"), name);
      expect(accepted).toHaveLength(name === "busy" ? 232 : 120);
      expect(snapshots.size).toBeGreaterThan(0);
    }
  });

  it("is exported, and is the same when it is imported again", async () => {
    const exported = await headwater(["log", "export", "--log", "lmdb:old"], { cwd });
    expect(exported.code).toBe(0);
    expect(exported.stdout.trimEnd().split("\n")).toHaveLength(1 + EVENTS);
    writeFileSync(join(cwd, "export.jsonl"), exported.stdout);
    expect((await headwater(["log", "import", "export.jsonl", "--log", "lmdb:copy"], { cwd })).code).toBe(0);
    expect(await inspectLog(join(cwd, "copy"), "busy")).toEqual(await inspectLog(join(cwd, "old"), "busy"));
  });

  it("has everything already: another run takes in nothing, and gives the outputs to other files", async () => {
    for (const name of ["busy", "meeting"] as const) {
      const [before] = await deployments(join(cwd, "old"), name);
      const report = await run(name, "old", "out");
      expect(report.deployment).toBe(Buffer.from(before?.deployment ?? []).toString("hex"));
      expect(report).toMatchObject({ records: { read: 0, accepted: 0 }, outputs: OUTPUTS[name] });
      for (const sink of Object.keys(OUTPUTS[name])) {
        expect(output(`out/${sink}.jsonl`)).toBe(fixtureText(`${sink}.jsonl`));
      }
      const events = await countEvents(join(cwd, "old"));
      expect(await run(name, "old", "out")).toMatchObject({ log: { position: report.log.position } });
      expect(await countEvents(join(cwd, "old"))).toBe(events);
    }
  });

  it("goes on where it was when an input has grown", async () => {
    grow();
    const report = await run("busy", "old", "out");
    expect(report).toMatchObject({ records: { read: 30, accepted: 30 } });
    expect(await deployments(join(cwd, "old"), "busy")).toHaveLength(1);
    // A log that was written in one go, by this version, has the same records, steps and outputs.
    await run("busy", "new", "fresh");
    for (const sink of Object.keys(OUTPUTS.busy)) {
      const lines = output(`out/${sink}.jsonl`);
      expect(lines.startsWith(fixtureText(`${sink}.jsonl`))).toBe(true);
      expect(lines).toBe(output(`fresh/${sink}.jsonl`));
    }
    const steps = await stepsOf("old");
    expect(steps.length).toBeGreaterThan(400);
    expect(steps).toEqual(await stepsOf("new"));
  });

  it("takes a new version of the pipeline, with a window that begins with it", async () => {
    grow();
    const text = output("busy.ts")
      .replace('from "headwater"', 'from "headwater";\nimport { count, tumbling } from "headwater"')
      .replace(
        "export default p;",
        `const minutes = orders.window("per-ten-seconds", tumbling("10s"), {
          aggregate: { orders: count() },
          emit: ({ orders }, { key, start }) => ({ customer: key, start, orders }),
        });
        minutes.sink("windows");
        minutes.late("too-late").sink("late");
        export default p;`,
      );
    expect(text).toContain('"too-late"');
    writeFileSync(join(cwd, "busy.ts"), text);
    const more = ["--output", "windows=out/windows.jsonl", "--output", "late=out/late.jsonl"];
    await run("busy", "old", "out", more);
    const [old, renewed, ...others] = await deployments(join(cwd, "old"), "busy");
    expect([old?.version, renewed?.version, others.length]).toEqual([1, 2, 0]);
    const counts = new Map<string, number>();
    for (const { customer, at } of NEW_ORDERS.filter((_, index) => index !== 20)) {
      const window = JSON.stringify([at - (at % 10_000), customer]);
      counts.set(window, (counts.get(window) ?? 0) + 1);
    }
    const given = output("out/windows.jsonl")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { customer: string; start: number; orders: number })
      .map(({ customer, start, orders }) => [JSON.stringify([start, customer]), orders]);
    expect(given.sort()).toEqual([...counts].sort());
    // The door knows from version 1 how far event time had come.
    expect(output("out/late.jsonl").trimEnd().split("\n")).toHaveLength(1);
    expect(output("out/late.jsonl")).toContain('"new20"');
    // The state of the reduces is that of the old log.
    expect(output("out/spent.jsonl")).toContain('"last":"new29"');
    await run(
      "busy",
      "new",
      "fresh",
      more.map((each) => each.replace("=out", "=fresh")),
    );
    expect(output("out/stock.jsonl")).toBe(output("fresh/stock.jsonl"));
    expect(output("out/spent.jsonl")).toBe(output("fresh/spent.jsonl"));
  });
});
