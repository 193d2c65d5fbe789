import {
  linkSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { clearSound, countEvents, deliveredBytes, inspectLog } from "./open-log.ts";
import { orderLines } from "./workload.ts";

const place = new Workplace();
let cwd: string;
let whole: Buffer;

const ARGS = [
  ...["run", projectFile("test/e2e/fixtures/busy.ts"), "--input", "orders=orders.jsonl"],
  ...["--output", "stock=stock.jsonl", "--output", "spent=spent.jsonl", "--batch", "16", "--json"],
];

beforeAll(async () => {
  await begin();
  expect((await headwater(ARGS, { cwd })).code).toBe(0);
  whole = readFileSync(stock());
});
beforeEach(begin);
afterEach(() => clearSound(place));

async function begin(): Promise<void> {
  cwd = await place.folder();
  writeFileSync(join(cwd, "orders.jsonl"), orderLines(600, 21));
}

const stock = () => join(cwd, "stock.jsonl");
const log = () => join(cwd, ".headwater");

/** Leaves an output that is delivered in part, or wholly. */
const BEFORE = {
  "a run that was killed": async () => {
    do {
      const ended = await headwater(ARGS, { cwd, env: { HEADWATER_FAIL_AT: "delivered:after:3" } });
      expect(ended.signal).toBe("SIGKILL");
    } while ((await deliveredBytes(log(), "busy.stock")) === 0);
  },
  "a run that came to its end": async () => {
    expect((await headwater(ARGS, { cwd })).code).toBe(0);
  },
} as const;

for (const [title, prepare] of Object.entries(BEFORE)) {
  describe(`an output file after ${title}`, () => {
    const spoil = {
      truncated: {
        message: /has \d+ bytes, \d+ were written/,
        do: (delivered: number) => truncateSync(stock(), delivered - 1),
      },
      edited: {
        message: /does not hold what was written to it/,
        do: (delivered: number) => edit(stock(), delivered),
      },
      "replaced by a shorter one": {
        message: /has 5 bytes, \d+ were written/,
        do: () => writeFileSync(stock(), "mine\n"),
      },
    };
    for (const [how, { message, do: change }] of Object.entries(spoil)) {
      it(`that was ${how} is refused before anything is done`, async () => {
        await prepare();
        change(await deliveredBytes(log(), "busy.stock"));
        const found = readFileSync(stock());
        const events = await countEvents(log());
        const refused = await headwater(ARGS, { cwd });
        expect(refused).toMatchObject({ code: 2, stdout: "" });
        const error = jsonError(refused);
        expect(error).toMatchObject({ code: "ForeignOutput", where: stock() });
        expect(error.message).toMatch(message);
        expect(error.hint).toMatch(/Move it away: it is then written anew from the log\./);
        expect(await countEvents(log())).toBe(events);
        expect(readFileSync(stock()).equals(found), "the file is left alone").toBe(true);

        // What the hint says.
        rmSync(stock());
        await mustBeWrittenAnew();
      });
    }

    it("that was deleted is written anew", async () => {
      await prepare();
      rmSync(stock());
      await mustBeWrittenAnew();
    });

    it("that was emptied is written anew", async () => {
      await prepare();
      truncateSync(stock(), 0);
      await mustBeWrittenAnew();
    });
  });
}

describe("an output file of a complete run", () => {
  it("is written from the beginning of history under a new name, and the old one stays", async () => {
    expect((await headwater(ARGS, { cwd })).code).toBe(0);
    const args = ARGS.map((arg) => arg.replace("stock=stock.jsonl", "stock=other.jsonl"));
    const ended = await headwater(args, { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect(readFileSync(join(cwd, "other.jsonl")).equals(whole)).toBe(true);
    expect(readFileSync(stock()).equals(whole)).toBe(true);
    await inspectLog(log(), "busy");
    await mustAddNothing();
  });
});

describe("outputs of two sinks", () => {
  it.each([
    ["a link to where it will be", () => symlinkSync("stock.jsonl", join(cwd, "spent.jsonl")), "spent.jsonl"],
    [
      "a link to what is there",
      () => {
        writeFileSync(stock(), "");
        symlinkSync(stock(), join(cwd, "spent.jsonl"));
      },
      "spent.jsonl",
    ],
    ["a linked folder", () => symlinkSync(".", join(cwd, "linked")), "linked/stock.jsonl"],
    [
      "another name of it",
      () => {
        writeFileSync(stock(), "");
        linkSync(stock(), join(cwd, "spent.jsonl"));
      },
      "spent.jsonl",
    ],
  ])("are not one file, by %s", async (_, make, path) => {
    make();
    const args = ARGS.map((argument) => argument.replace("spent=spent.jsonl", `spent=${path}`));
    const refused = await headwater(args, { cwd });
    expect(refused.code).toBe(2);
    expect(jsonError(refused)).toMatchObject({
      code: "BadUsage",
      message: "the sinks stock and spent are to write the same file",
      where: expect.stringMatching(/(?:spent|stock)\.jsonl$/),
    });
  });
});

describe("outputs of one sink in several places, one after the other", () => {
  it("are counted each by itself, and an audit finds nothing", async () => {
    const base = ARGS.slice(0, 4);
    const to = (...outputs: string[]) => [...base, ...outputs, "--json"];
    const turns = [
      to("--output", "stock=stock.jsonl"),
      to("--output", "stock=other.jsonl"),
      to("--output", "stock=parts.jsonl", "--rotate", "2kB"),
      to("--output", "stock=hours.jsonl", "--rotate", "1h"),
      to(),
      to("--output", "stock=stock.jsonl"),
    ];
    const parts = () => readdirSync(cwd).filter((name) => name.startsWith("parts-"));
    // Each place is gone on with, and each is begun.
    for (const [round, args] of [...turns, ...turns].entries()) {
      writeFileSync(join(cwd, "orders.jsonl"), orderLines(100 + 30 * round, 21));
      if (round === 7) rmSync(join(cwd, "other.jsonl"));
      if (round === 8) for (const name of parts()) rmSync(join(cwd, name));
      const ended = await headwater(args, { cwd });
      expect(ended.code, ended.stderr).toBe(0);
      const audited = await headwater(["audit", "--json"], { cwd });
      expect(audited, `after round ${round}`).toMatchObject({ code: 0 });
      expect(JSON.parse(audited.stdout).checks).toContainEqual(
        expect.objectContaining({ name: "conservation", ok: true, unverifiable: 0 }),
      );
    }
  });
});

async function mustBeWrittenAnew(): Promise<void> {
  const ended = await headwater(ARGS, { cwd });
  expect(ended.code, ended.stderr).toBe(0);
  expect(readFileSync(stock()).equals(whole)).toBe(true);
  await inspectLog(log(), "busy");
  await mustAddNothing();
}

async function mustAddNothing(): Promise<void> {
  const events = await countEvents(log());
  expect((await headwater(ARGS, { cwd })).code).toBe(0);
  expect(await countEvents(log())).toBe(events);
  expect(readFileSync(stock()).equals(whole)).toBe(true);
}

/** Changes the last byte of what was delivered, a line end. */
function edit(path: string, delivered: number): void {
  const bytes = readFileSync(path);
  bytes[delivered - 1] = 0x20;
  writeFileSync(path, bytes);
}
