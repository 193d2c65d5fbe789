import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Ended, headwater, projectFile, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";
import { between, seeded } from "./workload.ts";

const MINUTES = 60_000;
const WINDOWS = projectFile("examples/wikipedia-windows.ts");
const PAIRS = projectFile("examples/earthquake-pairs.ts");
const WIKITICKER = projectFile("../shared/data/wikiticker/wikiticker-2015-09-12-sampled.jsonl.gz");
const QUAKES = projectFile("node_modules/vega-datasets/data/earthquakes.json");

interface Edit {
  readonly time: string;
  readonly channel: string;
  readonly user: string;
  readonly added: number;
}

const iso = (ms: number) => new Date(ms).toISOString();

/** Edits in each ten minutes of each channel: by arrays and sorting. Maps have their keys in order. */
function tenMinutes(edits: readonly Edit[]): string[] {
  const size = 10 * MINUTES;
  const windows = new Map<string, { channel: string; start: number; edits: number; added: number }>();
  for (const { time, channel, added } of edits) {
    const start = Math.floor(Date.parse(time) / size) * size;
    const name = `${start} ${channel}`;
    const window = windows.get(name) ?? { channel, start, edits: 0, added: 0 };
    window.edits += 1;
    window.added += added;
    windows.set(name, window);
  }
  return [...windows.values()]
    .map(({ channel, start, edits: count, added }) =>
      JSON.stringify({ added, channel, edits: count, end: iso(start + size), start: iso(start) }),
    )
    .sort();
}

function sessions(edits: readonly Edit[]): string[] {
  const gap = 30 * MINUTES;
  const timesOf = new Map<string, number[]>();
  for (const { user, time } of edits) timesOf.set(user, [...(timesOf.get(user) ?? []), Date.parse(time)]);
  const lines: string[] = [];
  for (const [user, times] of timesOf) {
    times.sort((a, b) => a - b);
    let first = 0;
    for (let at = 1; at <= times.length; at++) {
      const last = times[at - 1] as number;
      if (at < times.length && (times[at] as number) - last < gap) continue;
      const start = iso(times[first] as number);
      lines.push(JSON.stringify({ edits: at - first, end: iso(last + gap), start, user }));
      first = at;
    }
  }
  return lines.sort();
}

/** The same items, none of them overtaken by one that is `lateness` ms or more later. */
function shuffled<T>(items: readonly T[], timeOf: (item: T) => number, lateness: number): T[] {
  const random = seeded(2015);
  return items
    .map((item) => ({ item, place: timeOf(item) + random() * lateness }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

const linesOf = (items: readonly unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join("");
const timeOfEdit = (edit: Edit) => Date.parse(edit.time);

function someEdits(): Edit[] {
  const random = seeded(12);
  let time = Date.UTC(2015, 8, 12);
  return Array.from({ length: 3_000 }, () => {
    time += between(random, 0, 60_000);
    const user = `user ${between(random, 0, 400)}`;
    const channel = `#${between(random, 0, 12).toString(36)}.wikipedia`;
    return { time: iso(time), channel, user, added: between(random, 0, 5_000) };
  });
}

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

const output = (name: string) => readFileSync(join(cwd, `${name}.jsonl`), "utf8");
const sorted = (name: string) => output(name).trimEnd().split("\n").sort();

function windows(input: string, log: string, ...more: readonly string[]): Promise<Ended> {
  const outputs = ["--output", `per-channel=${log}-c.jsonl`, "--output", `sessions=${log}-s.jsonl`];
  return headwater(
    ["run", WINDOWS, "--log", `lmdb:${log}`, "--input", `edits=${input}`, ...outputs, "--json", ...more],
    { cwd },
  );
}

async function mustBeWindowsOf(edits: readonly Edit[], log: string, ended: Ended): Promise<void> {
  expect(ended.code, ended.stderr).toBe(0);
  expect(JSON.parse(ended.stdout).records).toMatchObject({ quarantined: 0, late: 0, pending: 0 });
  expect(sorted(`${log}-c`)).toEqual(tenMinutes(edits));
  expect(sorted(`${log}-s`)).toEqual(sessions(edits));
}

const missing = existsSync(WIKITICKER) ? "" : ` [skipped: there is no ${WIKITICKER}]`;

describe.each([
  { title: "made-up edits", skip: false, load: someEdits },
  {
    title: `a day of edits${missing}`,
    skip: missing !== "",
    load: () =>
      gunzipSync(readFileSync(WIKITICKER))
        .toString()
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as Edit),
  },
])("wikipedia-windows on $title", ({ skip, load }) => {
  it.skipIf(skip)(
    "gives what arrays and sorting give, and the same bytes when the input is shuffled within an hour",
    async () => {
      const edits = load();
      writeFileSync(join(cwd, "edits.jsonl"), linesOf(edits));
      await mustBeWindowsOf(edits, "ordered", await windows("edits.jsonl", "ordered"));
      writeFileSync(join(cwd, "shuffled.jsonl"), linesOf(shuffled(edits, timeOfEdit, 60 * MINUTES)));
      const ended = await windows("shuffled.jsonl", "shuffled", "--nodes", "3", "--batch", "100");
      await mustBeWindowsOf(edits, "shuffled", ended);
      for (const sink of ["c", "s"]) {
        expect(output(`shuffled-${sink}`) === output(`ordered-${sink}`), `bytes of ${sink}`).toBe(true);
      }
    },
    4 * MINUTES,
  );
});

describe("windows that are open at the end of an input", () => {
  it("give what they have then, and all of it again when the input has grown", async () => {
    const edits = someEdits();
    writeFileSync(join(cwd, "edits.jsonl"), linesOf(edits.slice(0, 1_500)));
    await mustBeWindowsOf(edits.slice(0, 1_500), "log", await windows("edits.jsonl", "log"));
    appendFileSync(join(cwd, "edits.jsonl"), linesOf(edits.slice(1_500)));
    const ended = await windows("edits.jsonl", "log");
    expect(ended.code, ended.stderr).toBe(0);
    // The latest result of each window is the right one.
    const latest = new Map(
      output("log-c")
        .trimEnd()
        .split("\n")
        .map((line) => {
          const { channel, start } = JSON.parse(line) as { channel: string; start: string };
          return [`${channel} ${start}`, line];
        }),
    );
    expect([...latest.values()].sort()).toEqual(tenMinutes(edits));
  });

  it("are left to the next run with --keep-open", async () => {
    const edits = someEdits();
    writeFileSync(join(cwd, "edits.jsonl"), linesOf(edits.slice(0, 1_500)));
    const first = await windows("edits.jsonl", "log", "--keep-open");
    expect(first.code, first.stderr).toBe(0);
    expect(sorted("log-c").length).toBeLessThan(tenMinutes(edits.slice(0, 1_500)).length);
    appendFileSync(join(cwd, "edits.jsonl"), linesOf(edits.slice(1_500)));
    await mustBeWindowsOf(edits, "log", await windows("edits.jsonl", "log"));
  });

  it("give what they have in the next run without --keep-open, though the input has not grown", async () => {
    const edits = someEdits();
    writeFileSync(join(cwd, "edits.jsonl"), linesOf(edits));
    const first = await windows("edits.jsonl", "log", "--keep-open");
    expect(first.code, first.stderr).toBe(0);
    expect(sorted("log-c").length).toBeLessThan(tenMinutes(edits).length);
    // Another run that leaves them open has nothing to do.
    const same = await windows("edits.jsonl", "log", "--keep-open");
    expect(JSON.parse(same.stdout).log).toEqual(JSON.parse(first.stdout).log);
    await mustBeWindowsOf(edits, "log", await windows("edits.jsonl", "log"));
  });
});

describe("a record with a time a year ahead", () => {
  it("is reported, and closes no window", async () => {
    const edits = someEdits();
    const ahead = { ...(edits[700] as Edit), time: "2016-09-12T03:00:00.000Z" };
    writeFileSync(join(cwd, "edits.jsonl"), linesOf([...edits.slice(0, 700), ahead, ...edits.slice(700)]));
    const ended = await windows("edits.jsonl", "log");
    await mustBeWindowsOf([...edits, ahead], "log", ended);
    expect(ended.stderr).toMatch(
      /edits: the event time 2016-09-12T03:00:00.000Z is far ahead .*: source_wikipedia-windows\.edits@700/,
    );
  });
});

interface Feature {
  readonly id: string;
  readonly properties: { readonly time: number; readonly net: string };
  readonly geometry: { readonly coordinates: readonly [number, number, number] };
}

/** Pairs by their ids, by the spherical law of cosines: another formula than the example's. */
function pairs(features: readonly Feature[]): Map<string, { km: number; seconds: number }> {
  const found = new Map<string, { km: number; seconds: number }>();
  const rad = (degrees: number) => (degrees * Math.PI) / 180;
  for (const a of features) {
    for (const b of features) {
      const ms = b.properties.time - a.properties.time;
      const first = ms > 0 || (ms === 0 && a.id < b.id);
      if (!first || a.properties.net === b.properties.net || ms > 10 * MINUTES) continue;
      const [[lonA, latA], [lonB, latB]] = [a.geometry.coordinates, b.geometry.coordinates];
      const cosine =
        Math.sin(rad(latA)) * Math.sin(rad(latB)) +
        Math.cos(rad(latA)) * Math.cos(rad(latB)) * Math.cos(rad(lonB - lonA));
      const km = 6_371 * Math.acos(Math.min(1, cosine));
      if (km <= 100) found.set(`${a.id} ${b.id}`, { km, seconds: ms / 1_000 });
    }
  }
  return found;
}

describe("earthquake-pairs on a week of earthquakes", () => {
  async function run(input: string, sink: string) {
    const args = ["--input", `usgs=${input}`, "--output", `pairs=${sink}.jsonl`, "--json"];
    const ended = await headwater(["run", PAIRS, "--log", `lmdb:${sink}`, ...args], { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect(JSON.parse(ended.stdout).records).toMatchObject({ quarantined: 0, late: 0 });
    return sorted(sink).map((line) => JSON.parse(line));
  }

  it("gives the pairs that two loops give, whatever the order of the reports", async () => {
    const { features } = JSON.parse(readFileSync(QUAKES, "utf8")) as { features: Feature[] };
    const expected = pairs(features);
    expect(expected.size).toBeGreaterThan(10);
    const given = await run(QUAKES, "as-it-is");
    expect(new Set(given.map(({ first, second }) => `${first} ${second}`))).toEqual(new Set(expected.keys()));
    for (const { first, second, km, seconds } of given) {
      const pair = expected.get(`${first} ${second}`);
      expect(km).toBeCloseTo(pair?.km ?? Number.NaN, 3);
      expect(seconds).toBe(pair?.seconds);
    }
    writeFileSync(
      join(cwd, "reports.jsonl"),
      linesOf(shuffled(features, ({ properties }) => properties.time, 7 * 24 * 60 * MINUTES)),
    );
    expect(await run("reports.jsonl", "shuffled")).toEqual(given);
  });
});
