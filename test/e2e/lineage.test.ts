import { existsSync, readFileSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOfJson } from "./canonical-json.ts";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const MINUTES = 60_000;
const WIKITICKER = projectFile("../shared/data/wikiticker/wikiticker-2015-09-12-sampled.jsonl.gz");
const missing = existsSync(WIKITICKER) ? "" : ` [skipped: there is no ${WIKITICKER}]`;
/** An output in the middle of the day. */
const OUTPUT = 20_000;

interface Vertex {
  readonly address: string;
  readonly kind: string;
  readonly stage: string;
  readonly before: string | null;
  readonly after: string;
  readonly value: unknown;
  readonly reason: string | null;
}

interface Found {
  readonly record: string;
  readonly value: unknown;
  readonly complete: boolean;
  readonly cut: boolean;
  readonly vertices: readonly Vertex[];
  readonly edges: readonly { readonly from: string; readonly to: string }[];
}

describe.skipIf(missing !== "")(`lineage on a day of Wikipedia edits${missing}`, () => {
  const place = new Workplace();
  let cwd = "";
  let edits: { readonly channel: string }[] = [];
  let outputs: unknown[] = [];

  const lineage = async (...args: string[]): Promise<Found> => {
    const { code, stdout, stderr } = await headwater(["lineage", ...args, "--json"], { cwd });
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout);
  };

  beforeAll(async () => {
    cwd = await place.folder();
    const pipeline = projectFile("examples/wikipedia-edits.ts");
    const files = ["--input", `edits=${WIKITICKER}`, "--output", "channels=channels.jsonl", "--quiet"];
    const { code, stderr } = await headwater(["run", pipeline, ...files], { cwd });
    expect(code, stderr).toBe(0);
    const lines = (text: string) =>
      text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line));
    edits = lines(gunzipSync(readFileSync(WIKITICKER)).toString());
    outputs = lines(readFileSync(join(cwd, "channels.jsonl"), "utf8"));
  }, 2 * MINUTES);
  afterAll(() => clearSound(place));

  it(
    "leads from an output back to its edit, with digests that follow from the lines of the files",
    async () => {
      const found = await lineage(`channels#${OUTPUT}`, "--depth", "1");
      const [total, edit, before] = found.vertices;
      expect(found.vertices).toHaveLength(3);
      expect(total).toMatchObject({
        address: found.record,
        kind: "reduce",
        stage: "totals",
        before: digestOfJson(edits[OUTPUT]),
        after: digestOfJson(outputs[OUTPUT]),
        value: outputs[OUTPUT],
      });
      expect(edit).toMatchObject({
        address: `source_wikipedia-edits.edits@${OUTPUT}`,
        kind: "source",
        before: null,
        after: digestOfJson(edits[OUTPUT]),
        value: edits[OUTPUT],
        input: WIKITICKER,
      });
      const channel = edits[OUTPUT]?.channel;
      const earlier = edits.findLastIndex((other, n) => n < OUTPUT && other.channel === channel);
      expect(before).toMatchObject({
        kind: "reduce",
        value: outputs[earlier],
        after: digestOfJson(outputs[earlier]),
      });
      expect(found.edges).toEqual([
        { from: edit?.address, to: total?.address },
        { from: before?.address, to: total?.address },
      ]);
      expect(found).toMatchObject({ cut: true, complete: true });
    },
    MINUTES,
  );

  it(
    "comes to every edit that a total was made of",
    async () => {
      const channel = edits[OUTPUT]?.channel;
      const counted = edits.flatMap((other, n) => (n <= OUTPUT && other.channel === channel ? [n] : []));
      const found = await lineage(`wikipedia-edits/channels#${OUTPUT}`, "--limit", "100000");
      const sources = found.vertices.filter(({ kind }) => kind === "source").map(({ address }) => address);
      expect(new Set(sources)).toEqual(new Set(counted.map((n) => `source_wikipedia-edits.edits@${n}`)));
      expect(found).toMatchObject({ cut: false, complete: true });
    },
    MINUTES,
  );

  it(
    "leads forward to every total that an edit went into, and says the same with an index that is built again",
    async () => {
      const late = edits.length - 2_000;
      const channel = edits[late]?.channel;
      const after = edits.flatMap((other, n) => (n >= late && other.channel === channel ? [n] : []));
      const record = `source_wikipedia-edits.edits@${late}`;
      const found = await lineage(record, "--forward", "--limit", "100000");
      const delivered = found.vertices.filter(({ kind }) => kind === "sink").map(({ address }) => address);
      expect(delivered).toEqual(after.map((n) => `wikipedia-edits/channels#${n}`));
      await rm(join(cwd, ".headwater.views"), { recursive: true });
      expect(await lineage(record, "--forward", "--limit", "100000")).toEqual(found);
    },
    2 * MINUTES,
  );

  it("says how far the index is where it is not to be waited for", async () => {
    const record = `source_wikipedia-edits.edits@${OUTPUT}`;
    const args = ["lineage", record, "--forward", "--views", "none-yet", "--no-wait", "--json"];
    const ended = await headwater(args, { cwd });
    expect(ended.code).toBe(3);
    expect(jsonError(ended)).toMatchObject({ code: "ViewBehind", where: expect.stringContaining("C:0/P:0") });
  });
});

describe("lineage in a log that was put back from a backup", () => {
  const place = new Workplace();
  afterAll(() => clearSound(place));

  it(
    "forward, leads through what the log has now, and says that its index is built anew",
    async () => {
      const cwd = await place.folder();
      const lines = Array.from({ length: 450 }, (_, n) =>
        JSON.stringify({
          time: new Date(1_000 * n).toISOString(),
          channel: `#${n % 7}`,
          added: n,
          deleted: 0,
        }),
      );
      const run = async (given: readonly string[]) => {
        await writeFile(join(cwd, "e.jsonl"), `${given.join("\n")}\n`);
        const args = ["run", projectFile("examples/wikipedia-edits.ts"), "--input", "edits=e.jsonl"];
        const ended = await headwater([...args, "--output", "channels=o.jsonl", "--quiet"], { cwd });
        expect(ended.code, ended.stderr).toBe(0);
      };
      const forward = async (n: number, ...args: string[]) => {
        const record = `source_wikipedia-edits.edits@${n}`;
        const ended = await headwater(["lineage", record, "--forward", "--json", ...args], { cwd });
        expect(ended.code, ended.stderr).toBe(0);
        return { found: JSON.parse(ended.stdout) as Found, said: ended.stderr };
      };
      await run(lines.slice(0, 300));
      expect((await headwater(["log", "backup", "bk"], { cwd })).code).toBe(0);
      await run(lines);
      const before = await forward(10);
      expect(before.said).toBe("");
      await rm(join(cwd, ".headwater"), { recursive: true });
      await rm(join(cwd, "o.jsonl"));
      await rename(join(cwd, "bk"), join(cwd, ".headwater"));
      await run([...lines.slice(0, 300), ...lines.slice(300).reverse()]);
      const kept = await forward(310);
      expect(kept.said).toContain("the log was put back from an older copy");
      const again = await forward(310);
      expect(again.said).toBe("");
      const anew = await forward(310, "--rebuild");
      expect(anew.found.vertices.length).toBeGreaterThan(10);
      for (const { found } of [kept, again]) expect(found).toEqual(anew.found);
      // As many as are asked for are shown, deliveries among them; nothing is gone.
      const { found } = await forward(310, "--limit", "9");
      expect(found).toMatchObject({ cut: true, complete: true });
      const addresses = found.vertices.map(({ address }) => address);
      expect(addresses).toHaveLength(9);
      expect(found.vertices.filter(({ kind }) => kind === "sink").length).toBeGreaterThan(1);
      for (const { from, to } of found.edges) expect(addresses).toEqual(expect.arrayContaining([from, to]));
    },
    2 * MINUTES,
  );
});
