/** Records that a window itself refused, put back directly into it; and new effects ahead of kept state. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const MINUTES = 60_000;
const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

const write = (name: string, content: string) => writeFileSync(join(cwd, name), content);
const lines = (records: readonly unknown[]) =>
  records.map((record) => `${JSON.stringify(record)}\n`).join("");

function output(): readonly Record<string, unknown>[] {
  const text = readFileSync(join(cwd, "out.jsonl"), "utf8").trim();
  return text.split("\n").map((line): Record<string, unknown> => JSON.parse(line));
}

async function succeed(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const { code, stdout, stderr } = await headwater(args, { cwd, env });
  expect(code, `${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** Sums in windows of a minute; the window's own aggregate fails for what `fails` holds of. */
const windows = (fails: string) => `import { pipeline, reducer, tumbling } from "headwater";
const p = pipeline("p", { partitions: 2 });
p.source("in", { key: (r) => r.k, eventTime: (r) => r.t })
  .window("minutes", tumbling("1m"), {
    aggregate: reducer({
      init: () => 0,
      step: (sum, r) => {
        if (${fails}) throw new Error("cannot be added: " + r.v);
        return sum + r.v;
      },
      merge: (a, b) => a + b,
    }),
    emit: (sum, { key, start, firing }) => ({ key, start, sum, firing }),
  })
  .sink("out");
export default p;
`;

describe("a record that a window refused", () => {
  const RUN = ["p.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl"];
  const KEYS = ["a", "b", "c"];
  const readings = Array.from({ length: 60 }, (_, v) => ({ k: KEYS[v % 3] as string, t: 1_000 * v, v }));
  const bad = ({ v }: { readonly v: number }) => v % 10 === 7;
  const sumsOf = (some: typeof readings) =>
    Object.fromEntries(
      KEYS.map((key) => [key, some.filter(({ k }) => k === key).reduce((sum, { v }) => sum + v, 0)]),
    );
  /** The last result for each key counts. */
  const latest = () => Object.fromEntries(output().map(({ key, sum }) => [key, sum]));

  it.each([
    ["undisturbed", []],
    ["killed", ["steps:before:1", "steps:between:1", "steps:after:1", "claim:after:2"]],
  ] as const)(
    "comes back into it, once, and its lineage shows the detour (%s)",
    async (_, points) => {
      write("p.ts", windows("r.v % 10 === 7"));
      write("in.jsonl", lines(readings));
      await succeed(["run", ...RUN]);
      expect(latest()).toEqual(sumsOf(readings.filter((reading) => !bad(reading))));
      const before = output().length;
      const listed = JSON.parse(await succeed(["quarantine", "list", "p", "--json"]));
      expect(listed.counts).toMatchObject({ waiting: readings.filter(bad).length });
      const refused = listed.records[0] as { readonly address: string; readonly at: string };
      expect(refused.at).toBe("minutes");

      write("p.ts", windows("false"));
      await succeed(["quarantine", "retry", "p.ts", "--all", "--later"]);
      for (const point of points) {
        await headwater(["run", ...RUN], { cwd, env: { HEADWATER_FAIL_AT: point } });
      }
      await succeed(["run", ...RUN]);
      expect(latest()).toEqual(sumsOf(readings));
      expect(output()).toHaveLength(before + KEYS.length);
      const after = JSON.parse(await succeed(["quarantine", "list", "p", "--json"]));
      expect(after.counts).toEqual({
        waiting: 0,
        asked: 0,
        retried: readings.filter(bad).length,
        discarded: 0,
      });

      // The window's new result was made of what came back, and that of what had been refused.
      const last = output().length - 1;
      const lineage = JSON.parse(await succeed(["lineage", `out#${last}`, "--format", "json"]));
      const { edges } = lineage as { edges: readonly { from: string; to: string }[] };
      const into = (prefix: string) =>
        edges.filter(({ to }) => to.startsWith(prefix)).map(({ from }) => from);
      expect(into("steps_p.minutes.").filter((from) => from.startsWith("retry_p@"))).toHaveLength(2);
      expect(into("retry_p@").every((from) => from.startsWith("quarantine_p.minutes."))).toBe(true);
      expect(into("quarantine_p.minutes.").every((from) => from.startsWith("source_p.in@"))).toBe(true);
      expect(into("quarantine_p.minutes.")).toHaveLength(2);
      await succeed(["replay", "p"]);
    },
    3 * MINUTES,
  );
});

/** Orders meet their payments within an hour, and the rate of their currency; a payment's text may not be read. */
const joins = (fails: string) => `import { pipeline } from "headwater";
const p = pipeline("p", { partitions: 2 });
const rates = p.source("rates", { key: (r) => r.k, eventTime: (r) => r.t });
const paid = p.source("paid", { key: (r) => r.k, eventTime: (r) => r.t })
  .map("read", (r) => { if (${fails}) throw new Error("cannot be read: " + r.v); return r; });
p.source("in", { key: (r) => r.k, eventTime: (r) => r.t })
  .join("meet", paid, (order, payment) => ({ k: order.k, order: order.v, payment: payment.v }), { within: "1h" })
  .sink("out");
paid.joinTable("rated", rates, (payment, rate) => ({ payment: payment.v, rate: rate.v })).sink("rated");
export default p;
`;

describe("a record that did not come as far as a join", () => {
  const RUN = [
    ...["p.ts", "--keep-open", "--input", "in=in.jsonl", "--input", "paid=paid.jsonl"],
    ...["--input", "rates=rates.jsonl", "--output", "out=out.jsonl", "--output", "rated=rated.jsonl"],
  ];
  const KEYS = ["a", "b", "c"];
  const some = (count: number, from: number) =>
    Array.from({ length: count }, (_, at) => ({
      k: KEYS[at % 3] as string,
      t: from + 1_000 * at,
      v: from + at,
    }));
  const orders = some(12, 100_000);
  const payments = some(30, 200_000);
  const rates = some(3, 0);
  /** Says that whatever was before is all there. */
  const last = (k: string) => ({ k, t: 500_000, v: 0 });
  const bad = ({ v }: { readonly v: number }) => v % 10 === 7;
  const pairs = (paid: typeof payments) =>
    orders.flatMap((order) =>
      paid.filter(({ k }) => k === order.k).map((payment) => `${order.v} ${payment.v}`),
    );
  const rated = (paid: typeof payments) =>
    paid.map(({ k, v }) => `${v} ${rates.find((rate) => rate.k === k)?.v}`);
  const outputs = (file: string) =>
    readFileSync(join(cwd, file), "utf8")
      .trim()
      .split("\n")
      .map((line): Record<string, unknown> => JSON.parse(line));
  const met = () => outputs("out.jsonl").map(({ order, payment }) => `${order} ${payment}`);
  const withRates = () => outputs("rated.jsonl").map(({ payment, rate }) => `${payment} ${rate}`);

  it.each([
    ["undisturbed", []],
    ["killed", ["steps:before:1", "steps:between:1", "steps:after:1", "claim:after:3"]],
  ] as const)(
    "comes back to it, and meets each of the others once (%s)",
    async (_, points) => {
      write("in.jsonl", lines(orders));
      write("paid.jsonl", lines([...payments, last("y")]));
      write("rates.jsonl", lines([...rates, last("z")]));
      write("p.ts", joins("r.v % 10 === 7"));
      await succeed(["run", ...RUN]);
      const good = payments.filter((payment) => !bad(payment));
      expect(met().sort()).toEqual(pairs(good).sort());
      expect(withRates().sort()).toEqual(rated(good).sort());

      write("p.ts", joins("false"));
      await succeed(["quarantine", "retry", "p.ts", "--all", "--later"]);
      for (const point of points) {
        await headwater(["run", ...RUN], { cwd, env: { HEADWATER_FAIL_AT: point } });
      }
      const report = JSON.parse(await succeed(["run", ...RUN, "--json"]));
      expect(met().sort()).toEqual(pairs(payments).sort());
      // A table gives what it had at a record's time until the watermark has passed it: by now they are late, and said to be.
      expect(withRates().sort()).toEqual(rated(good).sort());
      const late = payments.filter(bad).length;
      if (points.length === 0) expect(report).toMatchObject({ late: { rated: late } });
      const audit = JSON.parse(await succeed(["audit", "p", "--json"]));
      expect(audit).toMatchObject({ ok: true });
      await succeed(["replay", "p"]);
    },
    3 * MINUTES,
  );
});

describe("a stage that was mended with a new effect, ahead of a reduce that keeps totals", () => {
  const version = (parse: string, add: string) => `import { pipeline } from "headwater";
const p = pipeline("p", { partitions: 4 });
p.source("in")
  .map("parse", ${parse}, { onError: "fail" })
  .keyBy("keys", (r) => r.a % 7)
  .map("look-up", ${add})
  .reduce("sums", { init: () => 0, step: (sum, r) => sum + r.a, emit: (sum, key) => ({ key, sum }) })
  .sink("out");
export default p;
`;
  const effect = (name: string) => `async (r, ctx) => { await ctx.effect("${name}", () => 1); return r; }`;

  it.each(["none:1", "snapshot:before:1", "snapshot:after:2", "claim:after:3", "steps:between:3"])(
    "goes on with the totals of before, also when it is killed at %s",
    async (point) => {
      const records = Array.from({ length: 400 }, (_, at) => ({ a: at + 1 }));
      write("in.jsonl", lines(records));
      write("p.ts", version('(r) => { if (r.a === 250) throw new Error("bad"); return r; }', "(r) => r"));
      const run = ["run", "p.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl", "--batch", "16"];
      expect(jsonError(await headwater([...run, "--json"], { cwd }))).toMatchObject({ code: "StageFailed" });
      write("p.ts", version(effect("parsed"), effect("looked-up")));
      await headwater(run, { cwd, env: { HEADWATER_FAIL_AT: point } });
      await succeed(run);
      const sums = Object.fromEntries(output().map(({ key, sum }) => [key, sum]));
      const wanted: Record<number, number> = {};
      for (const { a } of records) wanted[a % 7] = (wanted[a % 7] ?? 0) + a;
      expect(sums).toEqual(wanted);
      expect(output()).toHaveLength(records.length);
    },
  );
});
