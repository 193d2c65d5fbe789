/** examples/apache-log.ts on ten thousand lines of a real access log. */
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { headwater, projectFile, Workplace } from "./command.ts";
import { clearSound, countEvents } from "./open-log.ts";

const LOG = projectFile("../shared/data/apache-log/apache_logs.gz");
const missing = existsSync(LOG) ? "" : ` [skipped: there is no ${LOG}]`;

interface Request {
  readonly host: string;
  readonly time: string;
  readonly method: string;
  readonly status: number;
  readonly bytes: number | null;
}

/** How often each value comes, most first. */
function countsOf(values: readonly string[]): readonly (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

describe.skipIf(missing !== "")(`apache-log on an access log${missing}`, () => {
  const place = new Workplace();
  const args = [
    ...["run", projectFile("examples/apache-log.ts"), "--input", `lines=${LOG}`],
    ...["--output", "requests=requests.jsonl", "--json"],
  ];
  let cwd: string;
  let lines: readonly string[];
  let requests: readonly Request[];
  let report: Record<string, unknown>;

  beforeAll(async () => {
    cwd = await place.folder();
    lines = gunzipSync(readFileSync(LOG)).toString().trimEnd().split("\n");
    const ended = await headwater(args, { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    report = JSON.parse(ended.stdout);
    const written = readFileSync(join(cwd, "requests.jsonl"), "utf8").trimEnd().split("\n");
    requests = written.map((line) => JSON.parse(line));
  });
  afterAll(() => clearSound(place));

  // What the numbers are held to is cut out of the lines at their quotes and spaces, not by a pattern.
  const cut = () => lines.filter((line) => line.split('"').length === 7);

  it("takes every line in, and quarantines the one that breaks off", () => {
    const broken = lines.filter((line) => line.split('"').length !== 7);
    expect(broken).toHaveLength(1);
    expect(report).toMatchObject({
      records: { read: 10_000, accepted: 10_000, rejected: 0, quarantined: 1, pending: 0 },
      outputs: { requests: 9_999 },
    });
  });

  it("gives the requests in the order of the lines, with what the lines say", () => {
    const expected = cut().map((line) => {
      const [head = "", request = "", sizes = ""] = line.split('"');
      const [status = "", bytes = ""] = sizes.trim().split(" ");
      return {
        host: head.slice(0, head.indexOf(" ")),
        method: request.slice(0, request.indexOf(" ")),
        status: Number(status),
        bytes: bytes === "-" ? null : Number(bytes),
      };
    });
    expect(requests.map(({ host, method, status, bytes }) => ({ host, method, status, bytes }))).toEqual(
      expected,
    );
  });

  it("gives the totals that the lines give", () => {
    const bytesOf = (line: string) => Number(line.split('"')[2]?.trim().split(" ")[1]?.replace("-", "0"));
    expect(requests.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0)).toBe(
      cut().reduce((sum, line) => sum + bytesOf(line), 0),
    );
    expect(countsOf(requests.map(({ host }) => host))).toEqual(
      countsOf(cut().map((line) => line.slice(0, line.indexOf(" ")))),
    );
    // "[17/May/2015:10:05:03 +0000]": all are of one month, at UTC.
    const hourOf = (line: string) => line.slice(line.indexOf("[") + 1).slice(0, 14);
    expect(
      countsOf(requests.map(({ time }) => `${time.slice(8, 10)}/May/2015:${time.slice(11, 13)}`)),
    ).toEqual(countsOf(cut().map(hourOf)));
  });

  it("adds nothing when it is run again", async () => {
    const log = join(cwd, ".headwater");
    const events = await countEvents(log);
    const ended = await headwater(args, { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect(await countEvents(log)).toBe(events);
  });

  it("asks a service about each request once, and keeps the answers", async () => {
    const folder = await place.folder();
    writeFileSync(join(folder, "some.log"), `${lines.slice(0, 1_000).join("\n")}\n`);
    const keys: unknown[] = [];
    const service = createServer((request, response) => {
      keys.push(request.headers["idempotency-key"]);
      response.end(JSON.stringify(request.url?.length));
    });
    service.listen(0, "127.0.0.1");
    await once(service, "listening");
    try {
      const { port } = service.address() as AddressInfo;
      const asking = [
        ...["run", projectFile("examples/apache-log.ts"), "--input", "lines=some.log"],
        ...["--set", `enrich.service=http://127.0.0.1:${port}`, "--output"],
      ];
      const ended = await headwater([...asking, "requests=some.jsonl"], { cwd: folder });
      expect(ended.code, ended.stderr).toBe(0);
      const written = readFileSync(join(folder, "some.jsonl"), "utf8").trimEnd().split("\n");
      const some = requests.slice(0, 1_000);
      expect(written.map((line) => JSON.parse(line))).toEqual(
        some.map((request) => ({ ...request, about: `/${encodeURIComponent(request.host)}`.length })),
      );
      expect(keys).toHaveLength(1_000);
      expect(new Set(keys).size).toBe(1_000);
      // Another output is written from the log.
      const more = await headwater([...asking, "requests=more.jsonl"], { cwd: folder });
      expect(more.code, more.stderr).toBe(0);
      expect(readFileSync(join(folder, "more.jsonl"))).toEqual(readFileSync(join(folder, "some.jsonl")));
      expect(keys).toHaveLength(1_000);
    } finally {
      service.close();
    }
  });

  it("gives the line that broke off, too, once its parser is mended and it is put back", async () => {
    // The agent may break off at the line's end.
    const text = readFileSync(projectFile("examples/apache-log.ts"), "utf8");
    const mended = text
      .replace('"$/;', '"?$/;')
      .replace('from "zod"', `from ${JSON.stringify(projectFile("node_modules/zod/index.js"))}`);
    expect(mended).toContain('"?$/;');
    writeFileSync(join(cwd, "mended.ts"), mended);
    const output = ["--output", "requests=requests.jsonl", "--json"];
    const back = ["quarantine", "retry", "mended.ts", "--all", ...output];
    const ended = await headwater(back, { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    const after = readFileSync(join(cwd, "requests.jsonl"), "utf8").trimEnd().split("\n");
    expect(after).toHaveLength(10_000);
    expect(after.slice(0, 9_999).map((line) => JSON.parse(line))).toEqual(requests);
    const broken = lines.find((line) => line.split('"').length !== 7) ?? "";
    const [head = "", , sizes = "", referrer, , agent] = broken.split('"');
    expect(JSON.parse(after[9_999] ?? "")).toMatchObject({
      host: head.slice(0, head.indexOf(" ")),
      status: Number(sizes.trim().split(" ")[0]),
      referrer: referrer === "-" ? null : referrer,
      agent,
    });
    const again = await headwater(back, { cwd });
    expect(again.code).toBe(0);
    expect(readFileSync(join(cwd, "requests.jsonl"), "utf8").trimEnd().split("\n")).toEqual(after);

    // With the mended parser from the beginning all is as it is with the line put back.
    const whatIf = async (module: string, ...more: readonly string[]) => {
      const replay = ["replay", "apache-log", "--what-if", module, "--json", ...more];
      const { code, stdout, stderr } = await headwater(replay, { cwd });
      expect(code, stderr).toBe(0);
      return JSON.parse(stdout);
    };
    const [at] = lines.flatMap((line, n) => (line === broken ? [n] : []));
    const put = { records: 1, first: "retry_apache-log@0", earlier: 0 };
    const all = await whatIf("mended.ts");
    expect(all.diff).toMatchObject({ same: 10_000, changed: 0, added: 0, gone: 0, examples: [] });
    expect(all).toMatchObject({ putBack: { ...put, refused: [] }, newlyRefused: null, diverged: 0 });
    // The example as it is refuses the line for good.
    const asItIs = await whatIf(projectFile("examples/apache-log.ts"), "--diff", "gone.jsonl");
    expect(asItIs.diff).toMatchObject({ same: 9_999, changed: 0, added: 0, gone: 1 });
    expect(asItIs.newlyRefused).toBeNull();
    const [parse] = asItIs.putBack.refused;
    expect(asItIs.putBack).toEqual({ ...put, refused: [parse] });
    expect(parse).toMatchObject({
      stage: "parse",
      records: 1,
      first: {
        address: `source_apache-log.lines@${at}`,
        message: "not a line of the combined log format",
      },
    });
    const gone = JSON.parse(readFileSync(join(cwd, "gone.jsonl"), "utf8"));
    expect(gone).toMatchObject({ kind: "gone", key: `source_apache-log.lines@${at}` });
    expect(gone.before).toEqual(JSON.parse(after[9_999] ?? ""));
  });
});

describe("apache-log on standard input", () => {
  const place = new Workplace();
  afterAll(() => clearSound(place));

  it("reads lines of text, and quarantines those that do not parse", async () => {
    const cwd = await place.folder();
    const good =
      '::1 - ada [01/Mar/2026:10:05:03 +0130] "GET /a\\"b HTTP/1.1" 304 - "-" "Mozilla/5.0 (\\"quoted\\")"';
    const bad = ["", "no line of an access log", good.slice(0, -1), good.replace("/Mar/", "/Mrz/")];
    const args = [
      "run",
      projectFile("examples/apache-log.ts"),
      "--input",
      "lines=-",
      "--format",
      "lines=lines",
    ];
    const stdin = [good, ...bad].join("\n");
    const ended = await headwater([...args, "--output", "requests=-", "--json"], { cwd, stdin });
    expect(ended.code, ended.stderr).toBe(0);
    expect(JSON.parse(ended.stdout)).toEqual({
      host: "::1",
      ident: null,
      user: "ada",
      time: "2026-03-01T08:35:03.000Z",
      method: "GET",
      path: '/a\\"b',
      protocol: "HTTP/1.1",
      status: 304,
      bytes: null,
      referrer: null,
      agent: 'Mozilla/5.0 (\\"quoted\\")',
    });
    expect(ended.stderr).toContain("quarantined in parse: not a line of the combined log format");
    const report = JSON.parse(ended.stderr.trimEnd().split("\n").at(-1) ?? "");
    expect(report.records).toMatchObject({ accepted: 5, quarantined: 4, rejected: 0 });
  });
});
