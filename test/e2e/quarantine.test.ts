import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeDeltas } from "../../src/core/columns.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import { partitionOfKey } from "../../src/core/partition.ts";
import { partitionDigits } from "../../src/core/streams.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { headwater, jsonError, Workplace } from "./command.ts";
import { clearSound, countEvents, inspectLog } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

/** A parser of `name=number`; the first version knows no negative numbers, the second one does. */
function parser(digits: string): string {
  return `
import { pipeline, tumbling, sum } from "headwater";
const p = pipeline("readings", { partitions: 2 });
p.source("in", {
  key: (record) => record.line.split("=")[0],
  schema: {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value) =>
        typeof value?.line === "string" && value.line.length < ${digits === "-?" ? 40 : 12}
          ? { value }
          : { issues: [{ message: "not a short line", path: ["line"] }] },
    },
  },
})
  .map("parse", (record) => {
    const [, name, value] = /^(\\w+)=(${digits}\\d+)$/.exec(record.line) ?? [];
    if (name === undefined) throw new Error("not a reading: " + record.line);
    return { name, value: Number(value) };
  })
  .reduce("totals", {
    init: () => ({ sum: 0, count: 0 }),
    step: (total, reading) => ({ sum: total.sum + reading.value, count: total.count + 1 }),
    emit: (total, name) => ({ name, ...total }),
  })
  .sink("out");
export default p;
`;
}

const LINES = ["a=1", "b=2", "a=-3", "b=x", "a=4", "c=-5", "a_name_that_is_long=6"];

function write(name: string, content: string): void {
  writeFileSync(join(cwd, name), content);
}

function output(): unknown[] {
  return readFileSync(join(cwd, "out.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line): unknown => JSON.parse(line));
}

/** The command, whose result on standard output is JSON. */
async function json<T>(...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await headwater([...args, "--json"], { cwd });
  expect(stderr).not.toContain('"error"');
  expect(code).toBe(0);
  return JSON.parse(stdout) as T;
}

async function refused(...args: readonly string[]) {
  const ended = await headwater([...args, "--json"], { cwd });
  expect(ended.code).toBe(2);
  expect(ended.stdout).toBe("");
  return jsonError(ended);
}

interface Listed {
  readonly counts: Readonly<Record<string, number>>;
  readonly records: readonly {
    readonly address: string;
    readonly at: string;
    readonly state: string;
    readonly fate?: string;
    readonly as?: string | null;
    readonly message: string;
  }[];
}

interface Retried {
  readonly asked: number;
  readonly by: string;
  readonly run: {
    readonly records: Readonly<Record<string, number>>;
    readonly outputs: { out: number };
  } | null;
}

function list(): Promise<Listed> {
  return json<Listed>("quarantine", "list", "readings");
}

function events(): Promise<number> {
  return countEvents(join(cwd, ".headwater"));
}

/** The ordinal with which the first record of a key's partition came back. */
async function ordinalOfRetried(key: string): Promise<number> {
  const log = await openLog(`lmdb:${join(cwd, ".headwater")}`, { readOnly: true });
  try {
    const stream = `steps_readings.parse.${partitionDigits(partitionOfKey(key, 2))}`;
    for await (const event of log.read(stream)) {
      const { type, data } = decodeEvent(event);
      if (type !== "StepsRecorded" || data.entry === undefined) continue;
      return decodeDeltas(data.ordinals ?? new Uint8Array(), data.count)[0] ?? 0;
    }
    throw new Error("nothing came back");
  } finally {
    await log.close();
  }
}

/** What `totals` had of "a" at an ordinal. */
async function totalAt(ordinal: number): Promise<{ readonly total: unknown }> {
  const { entries } = await json<{ entries: { readonly total: unknown }[] }>(
    ...["state", "readings", "totals", "a", "--at", String(ordinal)],
  );
  expect(entries).toHaveLength(1);
  return entries[0] as { readonly total: unknown };
}

async function firstRun(): Promise<void> {
  write("readings.ts", parser(""));
  write("in.jsonl", LINES.map((line) => `${JSON.stringify({ line })}\n`).join(""));
  await json("run", "readings.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl");
  expect(output()).toHaveLength(3);
}

describe("headwater quarantine", () => {
  it("puts records back in threads that are watched: what hangs is quarantined again, and the rest goes on", async () => {
    await firstRun();
    write(
      "readings.ts",
      parser("-?").replace(
        "if (name === undefined)",
        'while (record.line === "b=x") {}\n    if (name === undefined)',
      ),
    );
    const retried = await json<Retried>(
      ...["quarantine", "retry", "readings.ts", "--stage", "parse", "--output", "out=out.jsonl"],
      ...["--executor", "threads", "--hang-after", "3s", "--thread-memory", "128", "--nodes", "2"],
    );
    expect(retried).toMatchObject({ asked: 3, by: "this run" });
    expect(retried.run?.records).toMatchObject({ read: 0, retried: 3, quarantined: 1, pending: 0 });
    expect(output()).toContainEqual({ name: "a", sum: 2, count: 3 });
    expect(output()).toContainEqual({ name: "c", sum: -5, count: 1 });
    expect((await list()).records.filter(({ state }) => state === "waiting")).toMatchObject([
      { at: "in" },
      { at: "parse", message: "the worker ended (no answer for 3 s) at this record" },
    ]);
  });

  it.each([
    ["--hang-after", "1s"],
    ["--thread-memory", "64"],
  ])("what is said of threads is refused where there are none: %s %s", async (...option) => {
    const error = await refused("quarantine", "retry", "readings", "--all", ...option);
    expect(error).toMatchObject({ code: "BadUsage", where: option[0] });
  });

  it("puts records back where they failed when the parser is mended, once", async () => {
    await firstRun();
    const before = await list();
    expect(before.counts).toEqual({ waiting: 4, asked: 0, retried: 0, discarded: 0 });
    expect(before.records.map(({ at, message }) => `${at}: ${message}`).sort()).toEqual([
      "in: not a short line",
      "parse: not a reading: a=-3",
      "parse: not a reading: b=x",
      "parse: not a reading: c=-5",
    ]);

    write("readings.ts", parser("-?"));
    const retried = await json<Retried>(
      ...["quarantine", "retry", "readings.ts", "--stage", "parse", "--output", "out=out.jsonl"],
    );
    expect(retried).toMatchObject({ asked: 3, by: "this run" });
    expect(retried.run?.records).toMatchObject({ read: 0, retried: 3, quarantined: 1, pending: 0 });
    // The totals go on from where they were: the records come in at the stage that they failed at.
    expect(output().slice(3)).toHaveLength(2);
    expect(output()).toContainEqual({ name: "a", sum: 2, count: 3 });
    expect(output()).toContainEqual({ name: "c", sum: -5, count: 1 });

    const after = await list();
    expect(after.counts).toEqual({ waiting: 2, asked: 0, retried: 3, discarded: 0 });
    expect(
      after.records
        .filter(({ state }) => state === "retried")
        .map(({ fate }) => fate)
        .sort(),
    ).toEqual(["quarantined again", "went on", "went on"]);

    // As of any point: the state of then is brought back with what came back by then.
    const { total } = await totalAt(await ordinalOfRetried("a"));
    expect(total).toEqual({ sum: 2, count: 3 });
    expect((await totalAt((await ordinalOfRetried("a")) - 1)).total).toEqual({ sum: 5, count: 2 });

    // A rejected one goes through the door again, with what the source takes now.
    const [rejected] = after.records.filter(({ at }) => at === "in");
    expect(rejected?.address).toBe("quarantine_readings.in@0");
    const door = await json<Retried>(
      ...["quarantine", "retry", "readings.ts", rejected?.address ?? "", "--output", "out=out.jsonl"],
    );
    expect(door).toMatchObject({
      asked: 1,
      by: "this run",
      run: { records: { read: 0, accepted: 1, retried: 1 } },
    });
    expect(output()).toContainEqual({ name: "a_name_that_is_long", sum: 6, count: 1 });
    expect((await list()).records.find(({ at }) => at === "in")).toMatchObject({
      state: "retried",
      as: "source_readings.in@6",
    });

    const size0 = await events();
    const again = await refused("quarantine", "retry", "readings.ts", rejected?.address ?? "");
    expect(again).toMatchObject({ code: "NotQuarantined", where: rejected?.address });
    expect(again.message).toContain("asked to be put back before, as retry_readings@3");
    expect(await events()).toBe(size0);
    // Running once more, or retrying what waits no more, adds nothing.
    const size = output().length;
    await json("run", "readings.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl");
    expect(output()).toHaveLength(size);
  });

  it("takes the addresses that lineage gives for refused records", async () => {
    await firstRun();
    const listed = (await list()).records.filter(({ at }) => at === "parse").map(({ address }) => address);
    const given: string[] = [];
    for (const address of listed) {
      const { parent } = await json<{ readonly parent: string }>("quarantine", "show", address);
      const { vertices } = await json<{ readonly vertices: { kind: string; address: string }[] }>(
        ...["lineage", parent, "--forward"],
      );
      const [found] = vertices.filter(({ kind }) => kind === "quarantined");
      expect(found?.address).toBe(address.replace(/^steps_/, "quarantine_"));
      const shown = await json("quarantine", "show", found?.address ?? "");
      expect(shown).toEqual(await json("quarantine", "show", address));
      given.push(found?.address ?? "");
    }
    const [one = "", two = ""] = given;
    const [first = ""] = listed;
    const reason = ["--reason", "sent in error"];
    expect(await json("quarantine", "discard", "readings", one, first, ...reason)).toMatchObject({
      discarded: 1,
    });
    expect(await refused("quarantine", "retry", "readings", one)).toMatchObject({
      code: "NotQuarantined",
      where: first,
    });
    write("readings.ts", parser("-?"));
    const retried = await json<Retried>("quarantine", "retry", "readings.ts", two);
    expect(retried).toMatchObject({ asked: 1, by: "this run" });
    expect((await list()).counts).toEqual({ waiting: 2, asked: 0, retried: 1, discarded: 1 });
    const none = "quarantine_readings.parse.0001@99.0/parse";
    expect(await refused("quarantine", "show", none)).toMatchObject({ code: "NotQuarantined" });
  });

  it("names what is not quarantined, and changes nothing", async () => {
    await firstRun();
    const [first] = (await list()).records.filter(({ at }) => at === "parse");
    const address = first?.address ?? "";
    const missing = await refused(
      "quarantine",
      "retry",
      "readings",
      address,
      "steps_readings.parse.0001@99.0/parse",
    );
    expect(missing).toMatchObject({ code: "NotQuarantined", where: "steps_readings.parse.0001@99.0/parse" });
    expect(await refused("quarantine", "show", "source_readings.in@0")).toMatchObject({ code: "BadUsage" });
    expect(
      await refused("quarantine", "retry", "readings", "steps_other.parse.0001@9.0/parse"),
    ).toMatchObject({
      code: "BadUsage",
      message: "this is a record of the pipeline other",
    });
    expect(await refused("quarantine", "list", "nothing")).toMatchObject({ code: "UnknownPipeline" });
    for (const what of ["list", "retry", "discard"]) {
      const more = what === "discard" ? ["--reason", "typo"] : [];
      expect(await refused("quarantine", what, "readings", "--stage", "prase", ...more)).toMatchObject({
        code: "UnknownStage",
        hint: expect.stringContaining("parse"),
      });
      expect(await refused("quarantine", what, "readings", "--source", "inn", ...more)).toMatchObject({
        code: "UnknownSource",
      });
    }
    expect(await refused("quarantine", "retry", "readings")).toMatchObject({ code: "BadUsage" });
    expect(await refused("quarantine", "retry", "readings", address, "--all")).toMatchObject({
      code: "BadUsage",
    });
    expect(await refused("quarantine", "discard", "readings", address, "--reason", " ")).toMatchObject({
      code: "BadUsage",
      where: "--reason",
    });
    // Of the record that is there nothing was asked for either.
    expect((await list()).counts).toEqual({ waiting: 4, asked: 0, retried: 0, discarded: 0 });

    expect(await json("quarantine", "discard", "readings", address, "--reason", "sent in error")).toEqual({
      pipeline: "readings",
      discarded: 1,
    });
    const discarded = await refused("quarantine", "retry", "readings", address);
    expect(discarded).toMatchObject({ code: "NotQuarantined", message: "it was discarded: sent in error" });
    expect(await refused("quarantine", "discard", "readings", address, "--reason", "twice")).toMatchObject({
      code: "NotQuarantined",
    });
    expect((await list()).counts).toEqual({ waiting: 3, asked: 0, retried: 0, discarded: 1 });
  });

  it("asks for nothing when the run that it would be put back by cannot begin", async () => {
    await firstRun();
    write("readings.ts", parser("-?"));
    const events0 = await events();
    const wrong = [
      ["--output", "outt=out.jsonl"],
      ["--output", "out=nowhere/out.jsonl"],
      ["--output", "out=."],
      ["--output", "out=ftp://host/x"],
      ["--set", "nope.x=1"],
    ];
    for (const options of wrong) await refused("quarantine", "retry", "readings.ts", "--all", ...options);
    write("foreign.jsonl", "{}\n");
    await refused("quarantine", "retry", "readings.ts", "--all", "--output", "out=foreign.jsonl");
    expect(await events()).toBe(events0);
    expect((await list()).counts).toEqual({ waiting: 4, asked: 0, retried: 0, discarded: 0 });
  });

  it.each([0, 1, 2, 3])(
    "is heeded or refused where another process begins to run the pipeline at the same time: %i",
    async (moment) => {
      await firstRun();
      write("mended.ts", parser("-?"));
      const retry = place.start(
        ["quarantine", "retry", "mended.ts", "--all", "--output", "out=other.jsonl", "--json"],
        { cwd },
      );
      await new Promise((resolve) => setTimeout(resolve, moment * 150));
      const other = place.start(
        ["run", "readings.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl", "--follow"],
        { cwd },
      );
      const { code, stdout, stderr } = await retry.ended;
      const { counts } = await list();
      if (code === 0) {
        expect(JSON.parse(stdout)).toMatchObject({ asked: 4, by: "this run" });
        expect(readFileSync(join(cwd, "other.jsonl"), "utf8").trim().split("\n")).toHaveLength(6);
      } else {
        expect(stderr).toContain("has no effect: process");
        expect(counts).toEqual({ waiting: 4, asked: 0, retried: 0, discarded: 0 });
      }
      other.kill("SIGINT");
      await other.ended;
    },
  );

  it("keeps what comes back for a stage that is not there any more", async () => {
    await firstRun();
    await json("quarantine", "retry", "readings", "--stage", "parse", "--later");
    // The segment keeps its name: that of the stage that is first.
    const text = parser("-?").replace(/\.map\("parse"/, '.filter("parse", () => true).map("read"');
    write("readings.ts", text);
    const run = await json<{ records: unknown }>(
      ...["run", "readings.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl"],
    );
    expect(run.records).toMatchObject({ retried: 3 });
    write("readings.ts", text.replace('"read"', '"understood"'));
    await json("quarantine", "retry", "readings", "--stage", "read", "--later");
    await json("run", "readings.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl");
    const { records } = await list();
    const waiting = records.filter(({ at, state }) => at === "read" && state === "waiting");
    expect(waiting.map(({ message }) => message)).toEqual([
      "the stage read is not in this segment of the pipeline any more",
    ]);
    // Where it stays is audited when the test ends.
  });

  it("asks once when two commands ask at the same time, and leaves it to the next run", async () => {
    await firstRun();
    write("readings.ts", parser("-?"));
    const args = ["quarantine", "retry", "readings", "--all", "--later"];
    const unheeded = await refused(...args, "--output", "out=out.jsonl");
    expect(unheeded.message).toBe(
      "--output has no effect: the next run puts the records back as it is told to",
    );
    const reports = await Promise.all([
      json<Retried>(...args),
      json<Retried>(...args),
      json<Retried>(...args),
    ]);
    expect(reports.reduce((sum, { asked }) => sum + asked, 0)).toBe(4);
    expect((await list()).counts).toEqual({ waiting: 0, asked: 4, retried: 0, discarded: 0 });
    const run = await json<{ records: Record<string, number> }>(
      ...["run", "readings.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl"],
    );
    expect(run.records).toMatchObject({ read: 0, accepted: 1, retried: 4, quarantined: 1, pending: 0 });
    expect(output()).toHaveLength(6);
  });

  it("is put back by the process that runs the pipeline, if there is one", async () => {
    write("readings.ts", parser("-?"));
    write("in.jsonl", '{"line":"a=1"}\n{"line":"a=none"}\n');
    const running = place.start(
      ["run", "readings.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl", "--follow"],
      { cwd },
    );
    await running.says("quarantined in parse");
    // What that process does not heed is refused, and nothing asked for.
    const options = [
      ["readings", "--all", "--output", "out=other.jsonl"],
      ["readings", "--all", "--executor", "threads"],
      ["readings", "--all", "--nodes", "2"],
      ["readings", "--all", "--set", "parse.sign=true"],
    ];
    for (const given of options) {
      const error = await refused("quarantine", "retry", ...given);
      expect(error).toMatchObject({ code: "BadUsage", where: "command line" });
      expect(error.message).toMatch(new RegExp(`^${given[2]} has no effect: process ${running.pid} on `));
    }
    write("mended.ts", parser("[a-z]*"));
    const mended = await refused("quarantine", "retry", "mended.ts", "--all");
    expect(mended).toMatchObject({ code: "BadUsage", where: "mended.ts" });
    expect(mended.message).toContain("by another version of the pipeline than this module is");
    expect((await list()).counts["asked"]).toBe(0);
    // The same module says nothing else than the pipeline's name.
    const report = await json<Retried>("quarantine", "retry", "readings.ts", "--all");
    expect(report).toMatchObject({ asked: 1, by: "another process", run: null });
    while ((await list()).counts["retried"] !== 1) await running.says("quarantined in parse");
    running.kill("SIGINT");
    expect((await running.ended).code).toBe(0);
    expect((await list()).counts).toEqual({ waiting: 1, asked: 0, retried: 1, discarded: 0 });
  });

  it("shows all that is kept of a record", async () => {
    await firstRun();
    const [first] = (await list()).records.filter(({ message }) => message.endsWith("a=-3"));
    const shown = await json<Record<string, unknown>>("quarantine", "show", first?.address ?? "");
    expect(shown).toMatchObject({
      state: "waiting",
      value: { line: "a=-3" },
      key: "a",
      parent: "source_readings.in@2",
      obstacle: null,
      message: "not a reading: a=-3",
    });
    expect(shown["stack"]).toContain("readings.ts");
    const text = await headwater(["quarantine", "list", "readings"], { cwd });
    expect(text.stdout).toContain(`${first?.address}`);
    expect(text.stdout.trimEnd().endsWith("4 waiting")).toBe(true);
  });

  it("says what a firing was about that cannot be put back", async () => {
    write(
      "minutes.ts",
      `
import { pipeline, tumbling, sum } from "headwater";
const p = pipeline("minutes", { partitions: 1 });
p.source("in", { key: (record) => record.k, eventTime: (record) => record.t })
  .window("minutes", tumbling("1m"), {
    aggregate: { total: sum((record) => record.v) },
    emit: ({ total }) => {
      if (total > 5) throw new Error("too much: " + total);
      return { total };
    },
  })
  .sink("out");
export default p;
`,
    );
    write(
      "in.jsonl",
      [1, 2, 3, 4].map((v) => `${JSON.stringify({ k: v === 4 ? "b" : "a", t: 1_000 * v, v })}\n`).join(""),
    );
    await json("run", "minutes.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl");
    expect(output()).toEqual([{ total: 4 }]);
    const { counts, records } = await json<Listed>("quarantine", "list", "minutes");
    expect(counts).toMatchObject({ waiting: 1 });
    const address = records[0]?.address ?? "";
    expect(await json("quarantine", "show", address)).toMatchObject({
      message: "too much: 6",
      key: "a",
      firing: {
        start: 0,
        end: 60_000,
        total: { total: 6 },
        members: [0, 1, 2].map((n) => `steps_minutes.minutes.0000@${n}`),
      },
    });
    const impossible = await refused("quarantine", "retry", "minutes.ts", address);
    expect(impossible).toMatchObject({ code: "NotRetryable", where: address });
    const all = await headwater(["quarantine", "retry", "minutes.ts", "--all", "--json"], { cwd });
    expect(JSON.parse(all.stdout)).toMatchObject({ asked: 0, impossible: 1 });
    // Nothing of what was asked for could be done.
    expect(all.code).toBe(1);
  });

  it("puts back what a window takes, and closes it once more", async () => {
    const version = (least: number) => `
import { pipeline, tumbling, count } from "headwater";
const p = pipeline("minutes", { partitions: 2 });
p.source("in", { key: (record) => record.k, eventTime: (record) => record.t })
  .map("check", (record) => {
    if (record.v < ${least}) throw new Error("below ${least}");
    return record;
  })
  .window("minutes", tumbling("1m"), {
    aggregate: { records: count() },
    emit: ({ records }, { key, firing }) => ({ key, records, firing }),
  })
  .sink("out");
export default p;
`;
    write("minutes.ts", version(2));
    write(
      "in.jsonl",
      [1, 2, 3].map((v) => `${JSON.stringify({ k: v % 2 ? "a" : "b", t: 1_000 * v, v })}\n`).join(""),
    );
    const run = ["minutes.ts", "--output", "out=out.jsonl"];
    await json("run", ...run, "--input", "in=in.jsonl");
    expect(output()).toHaveLength(2);
    write("minutes.ts", version(0));
    await json("quarantine", "retry", ...run, "--all");
    expect(output().slice(2)).toEqual([{ key: "a", records: 2, firing: "end" }]);
    // A run without anything new leaves it at that.
    const size = await events();
    await json("run", ...run, "--input", "in=in.jsonl");
    expect(await events()).toBe(size);
  });

  it("puts each record back once, wherever the process is killed", async () => {
    await firstRun();
    write("readings.ts", parser("-?"));
    await json("quarantine", "retry", "readings", "--all", "--later");
    const run = ["run", "readings.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl"];
    for (const point of ["door:between:1", "door:after:1", "steps:between:1", "steps:after:1"]) {
      const { signal } = await headwater(run, { cwd, env: { HEADWATER_FAIL_AT: point } });
      expect([point, signal]).toEqual([point, "SIGKILL"]);
    }
    await json(...run);
    expect((await list()).counts).toEqual({ waiting: 1, asked: 0, retried: 4, discarded: 0 });
    expect(output()).toHaveLength(6);
    expect(output()).toContainEqual({ name: "a", sum: 2, count: 3 });
    expect(output()).toContainEqual({ name: "c", sum: -5, count: 1 });
    expect(output()).toContainEqual({ name: "a_name_that_is_long", sum: 6, count: 1 });
    await inspectLog(join(cwd, ".headwater"), "readings");
  });
});
