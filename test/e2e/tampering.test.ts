import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AuditedCheckpoint } from "../../projections/audit.ts";
import { auditLog } from "../../src/app/audit.ts";
import { parseCheckpoint } from "../../src/core/checkpoint.ts";
import { parseNote } from "../../src/core/signed-note.ts";
import type { RecordedEvent } from "../../src/ports/event-log.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { arrayLog, copyEvents } from "../array-log.ts";
import { type Fault, faultKinds } from "../simulation/faults.ts";
import { type Random, seededRandom, upTo } from "../simulation/virtual-world.ts";
import { headwater, projectFile, Workplace } from "./command.ts";

/** How many faults are tried, and how many bits of the file are turned: `npm run tamper` tries many. */
const FAULTS = Number(process.env["HEADWATER_TAMPER_FAULTS"] ?? 60);
const FLIPS = Number(process.env["HEADWATER_TAMPER_FLIPS"] ?? 10);
const TIMEOUT_MS = Math.max(240_000, FAULTS * 500, FLIPS * 4_000);
/** Of the edits: enough for several batches of every partition. */
const LINES = 3_000;

const WIKITICKER = projectFile("../shared/data/wikiticker/wikiticker-2015-09-12-sampled.jsonl.gz");
const EARTHQUAKES = projectFile("node_modules/vega-datasets/data/earthquakes.json");

const DATA = [
  { name: "earthquakes", pipeline: "earthquakes", source: "usgs", there: true },
  { name: "edits of a day", pipeline: "wikipedia-edits", source: "edits", there: existsSync(WIKITICKER) },
] as const;

const place = new Workplace();
afterAll(() => place.clear());

describe.each(DATA)("a log of real data: $name", ({ pipeline, source, there }) => {
  let folder = "";
  let verifier = "";
  let id = "";
  let events: readonly RecordedEvent[] = [];
  let checkpoints: AuditedCheckpoint[] = [];
  const run = (...args: string[]) => headwater(args, { cwd: folder });

  beforeAll(async () => {
    if (!there) return;
    folder = await place.folder();
    const input = join(folder, source === "usgs" ? "quakes.json" : "edits.jsonl");
    if (source === "usgs") await copyFile(EARTHQUAKES, input);
    else {
      const text = gunzipSync(await readFile(WIKITICKER)).toString("utf8");
      await writeFile(input, text.split("\n").slice(0, LINES).join("\n"));
    }
    verifier = (await run("keygen", "k")).stdout.trimEnd();
    const ended = await run("run", projectFile(`examples/${pipeline}.ts`), "--input", `${source}=${input}`);
    expect(ended.code, ended.stderr).toBe(0);
    await run("checkpoint", "--key", "k.key", "--out", "now.note");
    const { size, root } = parseCheckpoint(parseNote(await readFile(join(folder, "now.note"), "utf8")).text);
    checkpoints = [{ where: "now.note", size, root }];
    const log = await openLog(`lmdb:${join(folder, ".headwater")}`, { readOnly: true });
    id = log.id;
    events = await copyEvents(log);
    await log.close();
  });

  it(
    "shows every fault, and the first address that it affects",
    async ({ skip }) => {
      if (!there) skip("the data set is not there");
      expect((await auditLog(arrayLog(id, events), { checkpoints })).ok).toBe(true);
      const random = seededRandom(9_12);
      const kinds = faultKinds(events);
      for (let fault = 0; fault < FAULTS / DATA.length; fault++) {
        const {
          what,
          events: tampered,
          affected,
          first,
        } = (kinds[fault % kinds.length] as (random: Random) => Fault)(random);
        const report = await auditLog(arrayLog(id, tampered, first), { checkpoints });
        const named = report.checks.flatMap(({ failures: [first] }) => (first === undefined ? [] : [first]));
        const seen = JSON.stringify({ fault, what, affected, named });
        expect(report.ok, seen).toBe(false);
        expect(
          named.some(({ address }) => affected.includes(address)),
          seen,
        ).toBe(true);
      }
    },
    TIMEOUT_MS,
  );

  it(
    "shows every bit that is turned in its file, or gives nothing else than before",
    async ({ skip }) => {
      if (!there) skip("the data set is not there");
      const random = seededRandom(4_711);
      const kept = await readFile(join(folder, ".headwater", "data.mdb"));
      const before = await readings(join(folder, ".headwater"));
      let found = 0;
      for (let flip = 0; flip < FLIPS / DATA.length; flip++) {
        const copy = join(folder, `flip-${flip % 2}`);
        await mkdir(copy, { recursive: true });
        const bytes = Buffer.from(kept);
        const at = upTo(random, bytes.length - 1);
        bytes[at] = (bytes[at] as number) ^ (1 << upTo(random, 7));
        await writeFile(join(copy, "data.mdb"), bytes);
        const ended = await run(
          ...["audit", "--log", `lmdb:${copy}`, "--checkpoint", "now.note", "--verifier", verifier, "--json"],
        );
        const seen = `byte ${at}: ${ended.stdout.slice(0, 500)} ${ended.stderr.slice(0, 500)}`;
        expect(ended.signal, seen).toBeNull();
        if (ended.code === 0) expect(await readings(copy), seen).toEqual(before);
        else {
          found++;
          expect([1, 2, 3], seen).toContain(ended.code);
          if (ended.code === 1) expect(JSON.parse(ended.stdout).ok, seen).toBe(false);
          else expect(JSON.parse(ended.stderr).error.code, seen).toMatch(/^(Log|BadInput)/);
        }
      }
      // Most of the file is what was written; a log has few unused pages.
      if (FLIPS > 100) expect(found).toBeGreaterThan(FLIPS / DATA.length / 2);
    },
    TIMEOUT_MS,
  );
});

/** All that reads of a log answer. */
async function readings(folder: string): Promise<unknown> {
  const log = await openLog(`lmdb:${folder}`, { readOnly: true });
  try {
    const all = [];
    for await (const event of log.readAll()) all.push(shown(event));
    const streams = [];
    for await (const info of log.streams()) {
      const events = [];
      for await (const event of log.read(info.stream)) events.push(shown(event));
      streams.push({ info, events, metadata: await log.getMetadata(info.stream) });
    }
    return { id: log.id, all, streams, position: (await log.size()).position };
  } finally {
    await log.close();
  }
}

function shown({ data, metadata, ...event }: RecordedEvent) {
  return { ...event, data: Buffer.from(data).toString("latin1"), metadata: Buffer.from(metadata).toString() };
}
