import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { replay as replayIn } from "../../src/app/replay.ts";
import { whatIf } from "../../src/app/what-if.ts";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const EARTHQUAKES = projectFile("examples/earthquakes.ts");
const QUAKES = projectFile("node_modules/vega-datasets/data/earthquakes.json");

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

async function run(...args: readonly string[]): Promise<void> {
  const ended = await headwater(["run", ...args], { cwd });
  expect(ended.code, ended.stderr).toBe(0);
}

async function replay(pipeline: string, ...args: readonly string[]) {
  const ended = await headwater(["replay", pipeline, "--json", ...args], { cwd });
  return { ...ended, report: ended.code === 0 ? JSON.parse(ended.stdout) : undefined };
}

/** Two sources whose times are seconds since 1970. */
function define(): void {
  const text = `import { pipeline } from "headwater";
const p = pipeline("two", { partitions: 2 });
for (const name of ["xs", "ys"]) {
  p.source(name, { key: () => "k", eventTime: (row) => (row as { n: number }).n * 1000 })
    .map(name + "-as-they-are", (row) => row)
    .sink("out-" + name);
}
export default p;
`;
  writeFileSync(join(cwd, "p.ts"), text);
}

function write(name: string, ns: readonly number[]): string {
  writeFileSync(join(cwd, name), ns.map((n) => `${JSON.stringify({ n })}\n`).join(""));
  return name;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at);
const second = (n: number) => new Date(n * 1_000).toISOString();

describe("a window of event times", () => {
  it("has all reports of a day of a feed that does not come in the order of its times", async () => {
    await run(EARTHQUAKES, "--input", `usgs=${QUAKES}`);
    const { features } = JSON.parse(readFileSync(QUAKES, "utf8"));
    const times: number[] = features
      .filter((one: { properties: { mag: unknown } }) => typeof one.properties.mag === "number")
      .map((one: { properties: { time: number } }) => one.properties.time);
    const [from, to] = ["2018-02-03T00:00:00Z", "2018-02-04T00:00:00Z"] as const;
    const rows = [...times.keys()].filter((row) => {
      const time = times[row] as number;
      return time >= Date.parse(from) && time <= Date.parse(to);
    });
    expect(rows.length).toBeGreaterThan(200);
    const between = (rows.at(-1) as number) - (rows[0] as number) + 1;
    const day = await replay("earthquakes", "--from", from, "--to", to);
    expect(day.report, day.stderr).toMatchObject({ records: between, diverged: 0 });
    expect((await replay("earthquakes", "--to", to)).report).toMatchObject({ diverged: 0 });
    const other = await replay("earthquakes", "--from", from, "--to", to, "--set", "strong.least=2");
    expect(other.report, other.stderr).toMatchObject({ from: day.report.from, to: day.report.to });
    const none = await replay(
      "earthquakes",
      "--from",
      "2019-01-01T00:00:00Z",
      "--to",
      "2019-01-02T00:00:00Z",
    );
    expect(none.code).toBe(2);
    expect(jsonError(none)).toMatchObject({ code: "BadUsage", message: "there is nothing in the window" });
  });

  it("is where the source that is asked for has the times, whatever others have had before", async () => {
    define();
    await run("p.ts", "--input", `xs=${write("xs.jsonl", range(0, 100))}`);
    await run("p.ts", "--input", `xs=xs.jsonl`, "--input", `ys=${write("ys.jsonl", range(0, 50))}`);
    const window = ["--from", second(10), "--to", second(20)];
    const { report: ys } = await replay("two", "--source", "ys", ...window);
    expect(ys).toMatchObject({ records: 11, steps: 11, diverged: 0 });
    const { report: xs } = await replay("two", "--source", "xs", ...window);
    expect(xs).toMatchObject({ records: 11, steps: 11, diverged: 0 });
    const { report: both } = await replay("two", ...window);
    expect(both).toMatchObject({ from: xs.from, to: ys.to, diverged: 0 });
  });

  it("has what came much later than others of its time, in a program and by key, too", async () => {
    define();
    const ns = [...range(0, 300), 15, ...range(300, 320)];
    await run("p.ts", "--batch", "2", "--input", `xs=${write("xs.jsonl", ns)}`);
    const asked = {
      log: `lmdb:${join(cwd, ".headwater")}`,
      pipeline: "two",
      from: { eventTime: 10_000 },
      to: { eventTime: 20_000 },
    };
    // The records 10 to 300: the one that came late is the last of them.
    expect(await replayIn(asked)).toMatchObject({ records: 291, steps: 291, diverged: 0 });
    expect(await replayIn({ ...asked, id: "kept" })).toMatchObject({ records: 291, steps: 291 });
    expect(await replayIn({ ...asked, key: "k" })).toMatchObject({ records: 291, steps: 291 });
    expect(await whatIf({ ...asked, whatIf: "1" })).toMatchObject({ records: 291 });
    expect(await replayIn({ ...asked, to: { eventTime: 14_000 } })).toMatchObject({ records: 5, steps: 5 });
  });
});
