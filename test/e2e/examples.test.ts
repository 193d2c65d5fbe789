import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { headwater, projectFile, Workplace } from "./command.ts";
import { countEvents, inspectLog } from "./open-log.ts";
import { between, seeded } from "./workload.ts";

const MINUTES = 60_000;
const WIKIPEDIA = projectFile("examples/wikipedia-edits.ts");
const EARTHQUAKES = projectFile("examples/earthquakes.ts");
const WIKITICKER = projectFile("../shared/data/wikiticker/wikiticker-2015-09-12-sampled.jsonl.gz");
const QUAKES = projectFile("node_modules/vega-datasets/data/earthquakes.json");
const WEATHER = projectFile("node_modules/vega-datasets/data/seattle-weather.csv");

interface Edit {
  readonly time: string;
  readonly channel: string;
  readonly page?: string;
  readonly added: number;
  readonly deleted: number;
}

/** What the pipeline has to write for these edits: the channel's totals after each. Maps have their keys in order. */
function totalsOf(edits: readonly Edit[]): string {
  const totals = new Map<string, { edits: number; added: number; deleted: number }>();
  return edits
    .map(({ channel, added, deleted }) => {
      const total = totals.get(channel) ?? { edits: 0, added: 0, deleted: 0 };
      totals.set(channel, total);
      total.edits += 1;
      total.added += added;
      total.deleted += deleted;
      return `${JSON.stringify({ added: total.added, channel, deleted: total.deleted, edits: total.edits })}\n`;
    })
    .join("");
}

function parseLines(text: string): Edit[] {
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const missing = existsSync(WIKITICKER) ? "" : ` [skipped: there is no ${WIKITICKER}]`;

describe.skipIf(missing !== "")(`wikipedia-edits on a day of edits${missing}`, () => {
  const place = new Workplace();
  let cwd: string;
  let expected: string;
  const args = [
    "run",
    WIKIPEDIA,
    "--input",
    `edits=${WIKITICKER}`,
    "--output",
    "channels=channels.jsonl",
    "--json",
  ];

  beforeAll(async () => {
    cwd = await place.folder();
    expected = totalsOf(parseLines(gunzipSync(readFileSync(WIKITICKER)).toString()));
  });
  afterAll(() => place.clear());

  it(
    "gives the totals that a loop over the file gives",
    async () => {
      const ended = await headwater(args, { cwd });
      expect(ended.code, ended.stderr).toBe(0);
      const count = expected.split("\n").length - 1;
      expect(JSON.parse(ended.stdout)).toMatchObject({
        pipeline: "wikipedia-edits",
        records: { read: count, accepted: count, duplicate: 0, rejected: 0, quarantined: 0, pending: 0 },
        steps: count,
        outputs: { channels: count },
        nodes: 1,
      });
      expect(readFileSync(join(cwd, "channels.jsonl"), "utf8") === expected, "the output's bytes").toBe(true);
    },
    2 * MINUTES,
  );

  it(
    "adds nothing when it is run a second time",
    async () => {
      const events = await countEvents(join(cwd, ".headwater"));
      const ended = await headwater(args, { cwd });
      expect(ended.code, ended.stderr).toBe(0);
      expect(JSON.parse(ended.stdout)).toMatchObject({
        records: { read: 0, accepted: 0, pending: 0 },
        steps: 0,
        outputs: { channels: 0 },
        log: { position: `C:${events}/P:${events}` },
      });
      expect(await countEvents(join(cwd, ".headwater"))).toBe(events);
      expect(readFileSync(join(cwd, "channels.jsonl"), "utf8") === expected, "the output's bytes").toBe(true);
    },
    2 * MINUTES,
  );

  it(
    "writes the same bytes with four nodes on a new log, for people to read about",
    async () => {
      const other = await place.folder();
      const plain = args.filter((arg) => arg !== "--json");
      const ended = await headwater([...plain, "--nodes", "4"], { cwd: other });
      expect(ended.code, ended.stderr).toBe(0);
      expect(ended.stdout).toMatch(/^pipeline {3}wikipedia-edits {2}deployment [\da-f]{12} {2}4 nodes$/m);
      expect(ended.stderr).toMatch(/^headwater: deployed wikipedia-edits version 1 \([\da-f]{12}\)\n$/);
      expect(readFileSync(join(other, "channels.jsonl"), "utf8") === expected, "the output's bytes").toBe(
        true,
      );
    },
    2 * MINUTES,
  );
});

describe.skipIf(missing !== "")(`wikipedia-growth, and what its fix makes of the same day${missing}`, () => {
  const place = new Workplace();
  afterAll(() => place.clear());

  it(
    "verifies clean, and differs where a loop over the file finds a difference",
    async () => {
      const cwd = await place.folder();
      const growth = projectFile("examples/wikipedia-growth.ts");
      const ran = await headwater(["run", growth, "--input", `edits=${WIKITICKER}`], { cwd });
      expect(ran.code, ran.stderr).toBe(0);
      const verified = await headwater(["replay", "wikipedia-growth", "--json"], { cwd });
      expect(verified.code, verified.stderr).toBe(0);
      const fixed = projectFile("examples/wikipedia-growth-fixed.ts");
      const ended = await headwater(
        ["replay", "wikipedia-growth", "--what-if", fixed, "--diff", "diff.jsonl", "--json"],
        { cwd },
      );
      expect(ended.code, ended.stderr).toBe(0);
      const { records, diff } = JSON.parse(ended.stdout);

      const edits = parseLines(gunzipSync(readFileSync(WIKITICKER)).toString());
      const totals = new Map<string, { before: number; after: number }>();
      const channels: unknown[] = [];
      const shrunk: unknown[] = [];
      for (const { channel, page, added, deleted } of edits) {
        const total = totals.get(channel) ?? { before: 0, after: 0 };
        totals.set(channel, { before: total.before + added, after: total.after + added - deleted });
        const { before, after } = totals.get(channel) ?? total;
        if (before !== after)
          channels.push({ before: { channel, total: before }, after: { channel, total: after } });
        if (added - deleted < 0) shrunk.push({ after: { channel, grown: added - deleted, page } });
      }
      expect(records).toBe(edits.length);
      expect(diff.sinks).toMatchObject([
        {
          sink: "channels",
          same: edits.length - channels.length,
          changed: channels.length,
          added: 0,
          gone: 0,
        },
        { sink: "shrunk", same: 0, changed: 0, added: shrunk.length, gone: 0 },
      ]);
      expect(diff.sinks[0].fields).toEqual({ total: channels.length });
      const found = readFileSync(join(cwd, "diff.jsonl"), "utf8").trimEnd().split("\n");
      const of = (sink: string) =>
        found
          .map((line) => JSON.parse(line))
          .filter((one) => one.sink === sink)
          .map(({ before, after }) => (before === undefined ? { after } : { before, after }));
      expect(of("channels")).toEqual(channels);
      expect(of("shrunk")).toEqual(shrunk);
    },
    5 * MINUTES,
  );
});

describe("wikipedia-edits on other inputs", () => {
  const place = new Workplace();
  let cwd: string;
  let edits: Edit[];

  beforeEach(async () => {
    cwd = await place.folder();
    const random = seeded(41);
    edits = Array.from({ length: 900 }, (_, at) => ({
      time: new Date(Date.UTC(2015, 8, 12) + at * 1_000).toISOString(),
      channel: `#${between(random, 0, 12).toString(36)}.wikipedia`,
      added: between(random, 0, 5_000),
      deleted: between(random, 0, 100),
    }));
  });
  afterEach(() => place.clear());

  const linesOf = (some: readonly Edit[]) => some.map((edit) => `${JSON.stringify(edit)}\n`).join("");
  const written = () => readFileSync(join(cwd, "channels.jsonl"), "utf8");
  async function run(file: string, ...more: readonly string[]) {
    const args = [
      "run",
      WIKIPEDIA,
      "--input",
      `edits=${file}`,
      "--output",
      "channels=channels.jsonl",
      "--json",
    ];
    const ended = await headwater([...args, ...more], { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    return JSON.parse(ended.stdout);
  }

  it("takes in the tail of a file that grew", async () => {
    const file = join(cwd, "edits.jsonl");
    for (const [from, to] of [
      [0, 300],
      [300, 301],
      [301, 900],
    ] as const) {
      appendFileSync(file, linesOf(edits.slice(from, to)));
      expect((await run("edits.jsonl")).records).toMatchObject({ read: to - from, accepted: to - from });
      expect(written()).toBe(totalsOf(edits.slice(0, to)));
    }
    await inspectLog(join(cwd, ".headwater"), "wikipedia-edits");
  });

  it("knows a file by its content: by another name, zipped, and with another beginning", async () => {
    writeFileSync(join(cwd, "edits.jsonl"), linesOf(edits));
    await run("edits.jsonl");
    writeFileSync(join(cwd, "same.jsonl"), linesOf(edits));
    expect((await run("same.jsonl")).records.accepted).toBe(0);
    writeFileSync(join(cwd, "same.ndjson.gz"), gzipSync(linesOf(edits)));
    expect((await run("same.ndjson.gz")).records.accepted).toBe(0);
    writeFileSync(join(cwd, "other.jsonl"), linesOf(edits.slice(1)));
    expect((await run("other.jsonl")).records.accepted).toBe(899);
    expect(written()).toBe(totalsOf([...edits, ...edits.slice(1)]));
    // Both are known now.
    expect((await run("edits.jsonl")).records.read).toBe(0);
    expect((await run("other.jsonl")).records.read).toBe(0);
  });

  it("takes the same in once more with --again, each time", async () => {
    writeFileSync(join(cwd, "edits.jsonl"), linesOf(edits));
    await run("edits.jsonl");
    expect((await run("edits.jsonl", "--again")).records).toMatchObject({ accepted: 900, duplicate: 0 });
    expect(written()).toBe(totalsOf([...edits, ...edits]));
    expect((await run("edits.jsonl")).records.read).toBe(0);
    expect((await run("edits.jsonl", "--again")).records.accepted).toBe(900);
    expect(written()).toBe(totalsOf([...edits, ...edits, ...edits]));
  });

  it("goes on with --again where it was killed, without --again", async () => {
    writeFileSync(join(cwd, "edits.jsonl"), linesOf(edits));
    await run("edits.jsonl");
    const args = ["run", WIKIPEDIA, "--input", "edits=edits.jsonl", "--output", "channels=channels.jsonl"];
    const killed = await headwater([...args, "--batch", "100", "--again"], {
      cwd,
      env: { HEADWATER_FAIL_AT: "door:after:4" },
    });
    expect(killed.signal).toBe("SIGKILL");
    const { records } = await run("edits.jsonl");
    expect(records.accepted).toBeGreaterThan(0);
    expect(records.accepted).toBeLessThan(900);
    expect(written()).toBe(totalsOf([...edits, ...edits]));
  });

  it("reads a zipped file", async () => {
    writeFileSync(join(cwd, "edits.jsonl.gz"), gzipSync(linesOf(edits)));
    expect((await run("edits.jsonl.gz")).records.accepted).toBe(900);
    expect(written()).toBe(totalsOf(edits));
  });

  it("reads standard input, which it cannot know again, and writes to standard output", async () => {
    const args = ["run", WIKIPEDIA, "--input", "edits=-", "--output", "channels=-", "--json"];
    const first = await headwater(args, { cwd, stdin: linesOf(edits) });
    expect(first.code, first.stderr).toBe(0);
    expect(first.stdout).toBe(totalsOf(edits));
    expect(JSON.parse(first.stderr.trimEnd().split("\n").at(-1) ?? "").records).toMatchObject({
      accepted: 900,
    });
    const second = await headwater(args, { cwd, stdin: linesOf(edits.slice(0, 10)) });
    expect(second.code, second.stderr).toBe(0);
    const all = totalsOf([...edits, ...edits.slice(0, 10)]);
    expect(second.stdout).toBe(all.slice(totalsOf(edits).length));
    await inspectLog(join(cwd, ".headwater"), "wikipedia-edits");
  });

  it("is run by its name, with the code that is in the log", async () => {
    writeFileSync(join(cwd, "edits.jsonl"), linesOf(edits.slice(0, 500)));
    const deployed = (await run("edits.jsonl")).deployment;
    appendFileSync(join(cwd, "edits.jsonl"), linesOf(edits.slice(500)));
    const args = [
      "run",
      "wikipedia-edits",
      "--input",
      "edits=edits.jsonl",
      "--output",
      "channels=channels.jsonl",
    ];
    const ended = await headwater([...args, "--json"], { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ deployment: deployed, records: { accepted: 400 } });
    expect(ended.stderr).not.toContain("deployed");
    expect(written()).toBe(totalsOf(edits));
  });

  it("adds nothing for an input without a record, from the second time on", async () => {
    writeFileSync(join(cwd, "edits.jsonl"), "\n\n");
    await run("edits.jsonl");
    const events = await countEvents(join(cwd, ".headwater"));
    await run("edits.jsonl");
    expect(await countEvents(join(cwd, ".headwater"))).toBe(events);
    appendFileSync(join(cwd, "edits.jsonl"), linesOf(edits));
    expect((await run("edits.jsonl")).records.accepted).toBe(900);
    expect(written()).toBe(totalsOf(edits));
  });
});

describe("earthquakes on a week of reports", () => {
  const place = new Workplace();
  let cwd: string;
  const args = [
    ...["run", EARTHQUAKES, "--input", `usgs=${QUAKES}`],
    ...["--output", "strong=strong.jsonl", "--output", "networks=networks.jsonl", "--json"],
  ];
  beforeAll(async () => {
    cwd = await place.folder();
  });
  afterAll(() => place.clear());

  interface Feature {
    readonly id: string;
    readonly properties: Readonly<Record<"time" | "mag" | "type" | "net" | "place", unknown>>;
    readonly geometry: { readonly coordinates: readonly number[] } | null;
  }
  const { features } = JSON.parse(readFileSync(QUAKES, "utf8")) as { features: readonly Feature[] };
  const ids = new Set<string>();
  const whole = features.filter(
    ({ properties, geometry }) =>
      geometry?.coordinates.length === 3 &&
      typeof properties.mag === "number" &&
      [properties.type, properties.net, properties.place].every((text) => typeof text === "string"),
  );
  const accepted = whole.filter(({ id }) => !ids.has(id) && ids.add(id));
  const quakes = accepted.filter(({ properties }) => properties.type === "earthquake");

  function read(name: string): unknown[] {
    return readFileSync(join(cwd, name), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  it("gives the numbers that loops over the file give", async () => {
    const ended = await headwater(args, { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    const strong = quakes.filter(({ properties }) => (properties.mag as number) >= 5);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      pipeline: "earthquakes",
      records: {
        read: features.length,
        accepted: accepted.length,
        duplicate: whole.length - accepted.length,
        rejected: features.length - whole.length,
        quarantined: 0,
        pending: 0,
      },
      outputs: { strong: strong.length, networks: quakes.length },
    });
    expect(strong.length).toBeGreaterThan(5);
    expect(read("strong.jsonl")).toEqual(
      strong.map(({ id, properties, geometry }) => ({
        id,
        network: properties.net,
        place: properties.place,
        magnitude: properties.mag,
        depthKm: geometry?.coordinates[2],
        joules: 10 ** (4.8 + 1.5 * (properties.mag as number)),
      })),
    );
    const last = new Map<unknown, { reports: number; strongest: number; joules: number }>();
    const networks = quakes.map(({ properties: { net, mag } }) => {
      const before = last.get(net) ?? { reports: 0, strongest: -Infinity, joules: 0 };
      const total = {
        reports: before.reports + 1,
        strongest: Math.max(before.strongest, mag as number),
        joules: before.joules + 10 ** (4.8 + 1.5 * (mag as number)),
      };
      last.set(net, total);
      return { network: net, ...total };
    });
    expect(read("networks.jsonl")).toEqual(networks);
    await inspectLog(join(cwd, ".headwater"), "earthquakes");
  });

  it("takes for strong what its parameter says", async () => {
    const folder = await place.folder();
    const ended = await headwater([...args, "--set", "strong.least=6"], { cwd: folder });
    expect(ended.code, ended.stderr).toBe(0);
    const strong = quakes.filter(({ properties }) => (properties.mag as number) >= 6);
    expect(strong.length).toBeGreaterThan(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      outputs: { strong: strong.length, networks: quakes.length },
    });
  });

  it("finds each report a duplicate when it is taken in again", async () => {
    const before = read("networks.jsonl");
    const ended = await headwater([...args, "--again"], { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      records: { read: features.length, accepted: 0, duplicate: whole.length },
      outputs: { strong: 0, networks: 0 },
    });
    expect(read("networks.jsonl")).toEqual(before);
  });
});

describe("a CSV file", () => {
  const place = new Workplace();
  afterEach(() => place.clear());

  for (const zipped of [false, true]) {
    it(`gives records by its header${zipped ? ", zipped, too" : ""}`, async () => {
      const cwd = await place.folder();
      writeFileSync(
        join(cwd, "weather.ts"),
        `import { pipeline } from "headwater";
        const p = pipeline("weather");
        p.source("days", { key: (day) => day.weather })
          .reduce("days-of", {
            init: () => ({ days: 0, rain: 0 }),
            step: (total, day) => ({ days: total.days + 1, rain: total.rain + Number(day.precipitation) }),
            emit: (total, weather) => ({ weather, ...total }),
          })
          .sink("totals");
        export default p;`,
      );
      const text = readFileSync(WEATHER, "utf8");
      const file = zipped ? "weather.csv.gz" : "weather.csv";
      writeFileSync(join(cwd, file), zipped ? gzipSync(text) : text);
      const ended = await headwater(
        ["run", "weather.ts", "--input", `days=${file}`, "--output", "totals=totals.jsonl", "--json"],
        { cwd },
      );
      expect(ended.code, ended.stderr).toBe(0);
      const [header = "", ...rows] = text.trimEnd().split(/\r?\n/);
      const columns = header.split(",");
      const totals = new Map<string, { days: number; rain: number }>();
      const expected = rows.map((row) => {
        const cells = row.split(",");
        const weather = cells[columns.indexOf("weather")] ?? "";
        const before = totals.get(weather) ?? { days: 0, rain: 0 };
        const rain = before.rain + Number(cells[columns.indexOf("precipitation")]);
        totals.set(weather, { days: before.days + 1, rain });
        return { weather, days: before.days + 1, rain };
      });
      expect(JSON.parse(ended.stdout).records).toMatchObject({ accepted: rows.length, rejected: 0 });
      const found = readFileSync(join(cwd, "totals.jsonl"), "utf8").trimEnd().split("\n");
      expect(found.map((line): unknown => JSON.parse(line))).toEqual(expected);
    });
  }
});
