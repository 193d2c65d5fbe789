import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { start } from "../app/start.ts";
import { count } from "../pipeline/aggregates.ts";
import { pipeline } from "../pipeline/pipeline.ts";
import { tumbling } from "../pipeline/windows.ts";
import { call } from "./testing/fake-io.ts";

let folder = "";
let spec = "";

interface Order {
  readonly who: unknown;
  readonly at: string;
}

const hour = (minutes: number) => new Date(Date.UTC(2024, 0, 1, 12, minutes)).toISOString();
const orders: readonly Order[] = [
  { who: "ada", at: hour(0) },
  { who: "5", at: hour(1) },
  { who: 5, at: hour(2) },
  { who: "7", at: hour(3) },
  { who: 9n, at: hour(4) },
  { who: true, at: hour(5) },
  { who: "ada", at: hour(30) },
];

function ordered() {
  const p = pipeline("orders", { partitions: 2 });
  const web = p.source<undefined, string>("web", {
    key: (order) => (order as Order).who as string,
    eventTime: (order) => (order as Order).at,
  });
  web
    .reduce("totals", {
      init: () => ({ orders: 0, key: new Uint8Array(0), big: 0n }),
      step: (total) => ({ orders: total.orders + 1, key: new Uint8Array([1, 2]), big: 7n }),
      emit: (total) => total,
    })
    .sink("totals");
  web.window("tens", tumbling("10m"), { aggregate: count(), emit: (orders) => orders }).sink("tens");
  web.joinLeft("twice", web, (left) => left, { within: "1m" }).sink("twice");
  p.source("bare", { key: () => "k" })
    .reduce("bare-totals", { init: () => 0, step: (n: number) => n + 1, emit: (n) => n })
    .sink("bare-totals");
  return p;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-cli-state-"));
  spec = `lmdb:${join(folder, "log")}`;
  // A program that gives its pipeline as an object: the code is not in the log.
  const running = await start(ordered(), { log: spec, inputs: { web: orders, bare: [] }, keepOpen: true });
  await running.finished;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const state = (...argv: string[]) => call(["state", ...argv, "--log", spec]);
const json = async (...argv: string[]) => {
  const { code, stdout, stderr } = await state(...argv, "--json");
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return JSON.parse(stdout) as {
    readonly entries: readonly { readonly key: unknown }[];
    readonly ordinal: number;
  };
};

describe("headwater state", () => {
  it("prints a line for each key, and where its last step is", async () => {
    const { code, stdout, stderr } = await state("orders", "totals");
    const [head, ...lines] = stdout.trimEnd().split("\n");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(head).toMatch(/^orders totals \(reduce\), 6 keys, as of ordinal \d+ \(\d{4}-.+Z\)$/);
    expect(lines).toHaveLength(6);
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^"ada" {2}\{"big":\{"\$bigint":"7"\},"key":\{"\$bytes":"0102"\},"orders":2\} {2}last steps_orders\.totals\.000\d@\d$/,
      ),
    );
  });

  it("prints open windows with their times", async () => {
    const { stdout } = await state("orders", "tens", "ada");
    expect(stdout.split("\n").slice(1, 3)).toEqual([
      '"ada"',
      expect.stringMatching(
        /^ {2}2024-01-01T12:30:00\.000Z to 2024-01-01T12:40:00\.000Z {2}1 {2}1 record, last steps_orders\.tens\.000\d@\d+$/,
      ),
    ]);
  });

  it("prints the records that a join keeps, side by side", async () => {
    const { stdout } = await state("orders", "twice", "ada");
    expect(stdout).toMatch(
      /\n {2}left {3}2024-01-01T12:30:00\.000Z {2}\{"at":"2024-01-01T12:30:00\.000Z","who":"ada"\} {2}steps_orders\.twice\.000\d@\d+, (?:not )?matched\n {2}right {2}2024-/,
    );
  });

  it("prints one JSON object with --json", async () => {
    const found = await json("orders", "tens", "ada");
    expect(found).toEqual({
      pipeline: "orders",
      stage: "tens",
      kind: "window",
      deployment: expect.stringMatching(/^[0-9a-f]{64}$/),
      version: 1,
      ordinal: expect.any(Number),
      asked: found.ordinal,
      complete: true,
      keys: 1,
      entries: [
        {
          key: "ada",
          stream: expect.stringMatching(/^steps_orders\.tens\.000\d$/),
          windows: [
            {
              start: Date.UTC(2024, 0, 1, 12, 30),
              end: Date.UTC(2024, 0, 1, 12, 40),
              total: 1,
              records: 1,
              fired: false,
              changed: true,
              members: [[expect.any(Number), 1]],
            },
          ],
        },
      ],
    });
    expect((await json("orders", "bare-totals", "--quiet")).entries).toEqual([]);
  });

  it.each([
    ["ada", "ada"],
    ['"ada"', "ada"],
    ["5", 5],
    ['"5"', "5"],
    ["7", "7"],
    ["true", true],
    ['{"$bigint":"9"}', { $bigint: "9" }],
  ])("reads the key %s as JSON, or as the text that it is", async (text, key) => {
    expect((await json("orders", "totals", text)).entries.map((entry) => entry.key)).toEqual([key]);
  });

  it.each(["nobody", "12345678901234567890", "null", "[1]"])(
    "has an empty answer for the key %s",
    async (key) => {
      const { code, stdout, stderr } = await state("orders", "totals", key);
      expect(code).toBe(0);
      expect(stdout.trimEnd().split("\n")).toHaveLength(1);
      expect(stderr).toMatch(
        /^headwater: the stage keeps nothing of the key ".+" as of ordinal \d+ \(.+\)\n$/,
      );
      const asJson = await state("orders", "totals", key, "--json", "--quiet");
      expect(asJson.stderr).toBe("");
      expect(JSON.parse(asJson.stdout)).toMatchObject({ keys: 0, entries: [] });
    },
  );

  it("takes the code of no deployment where a snapshot stands, and says where it would need one", async () => {
    const { ordinal } = await json("orders", "totals");
    expect(await json("orders", "totals", "--at", String(ordinal))).toMatchObject({ keys: 6 });
    const { code, stderr } = await state("orders", "totals", "--at", "2024-01-01T12:03:00Z");
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^headwater: the code that made the state is needed to tell it, and is not in the log: pipeline orders, version 1\n.*start\(\{ module \}\)/,
    );
  });

  it("is empty before the first record", async () => {
    for (const at of [["2023-12-31"], ["2023-12-31", "--log-time"], ["0"], ["-200000w", "--log-time"]]) {
      const { code, stdout } = await state("orders", "totals", "--at", ...at);
      expect(code).toBe(0);
      expect(stdout).toMatch(
        /^orders totals \(reduce\), 0 keys, (?:as of ordinal \d+ \(.*\)|before the first record)\n$/,
      );
    }
  });

  it("says so when the log has not come as far as is asked for, and shows how far it has", async () => {
    const { ordinal } = await json("orders", "totals");
    const later = await state("orders", "totals", "--at", String(ordinal + 5));
    expect(later).toMatchObject({ code: 0 });
    expect(later.stderr).toContain(
      `headwater: the log has not come to ordinal ${ordinal + 5}; this is the state as of ordinal ${ordinal} (`,
    );
    const { stdout } = await state("orders", "totals", "--at", String(ordinal + 5), "--json", "--quiet");
    expect(JSON.parse(stdout)).toMatchObject({ complete: false, ordinal, asked: ordinal + 5, keys: 6 });
  });
});

describe("headwater state refuses", () => {
  it.each([
    [["nothing", "totals"], "no pipeline of this name is deployed: nothing\n"],
    [["orders", "total"], 'the pipeline has no stage "total"'],
    [["orders", "web"], "Those that keep state: totals, tens, twice, bare-totals.\n"],
    [
      ["orders", "totals", "--at", "yesterday"],
      'neither an ordinal nor a time: "yesterday": --at\nGive an ordinal',
    ],
    [["orders", "totals", "--at", "9007199254740992"], "neither an ordinal nor a time"],
    [["orders", "totals", "--at", "-5"], "neither an ordinal nor a time"],
    [["orders", "totals", "--at", "1.5"], "neither an ordinal nor a time"],
    [["orders", "totals", "--at", "2024-13-01"], "neither an ordinal nor a time"],
    [["orders", "totals", "--at", ""], "neither an ordinal nor a time"],
    [["orders", "totals", "--at"], "this option needs a value"],
    [
      ["orders", "bare-totals", "--at", "2024-01-01"],
      "the stage's sources have no event time: stage bare-totals\n",
    ],
    [["orders"], "an argument is missing: stage"],
    [["orders", "totals", "k", "l"], "too many arguments"],
    [["./missing.ts", "totals"], ""],
  ])("%j", async (argv, text) => {
    const { code, stdout, stderr } = await state(...argv);
    expect(stderr).toContain(text);
    expect(stderr).toMatch(/^headwater: .+\n/);
    expect(code).toBe(2);
    expect(stdout).toBe("");
  });

  it("a log that is not there, and makes none", async () => {
    const { code, stderr } = await call([
      "state",
      "orders",
      "totals",
      "--log",
      `lmdb:${join(folder, "none")}`,
    ]);
    expect(stderr).toMatch(/^headwater: .+\n/);
    expect(code).toBe(3);
  });

  it("with JSON if that is asked for", async () => {
    const { code, stderr } = await state("orders", "total", "--json");
    expect(code).toBe(2);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: "UnknownStage", hint: "Those that keep state: totals, tens, twice, bare-totals." },
    });
  });
});

describe("headwater state of a module", () => {
  it("takes its name from it", async () => {
    const module = join(folder, "orders.mjs");
    await writeFile(
      module,
      'import { pipeline } from "headwater";\nconst p = pipeline("orders");\np.source("other").sink("other");\nexport default p;\n',
    );
    const { code, stdout, stderr } = await state(module, "totals", "ada");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain('"ada"  {');
  });
});
