import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openLog } from "../../src/runtime/compose.ts";
import { headwater, projectFile, Workplace } from "../e2e/command.ts";
import meeting from "../e2e/fixtures/meeting.ts";
import {
  atEveryPoint,
  atRandomMoments,
  type Blow,
  History,
  type Subject,
  shuffled,
} from "../e2e/kill-history.ts";
import { inspectLog } from "../e2e/open-log.ts";
import { orderLines, seeded } from "../e2e/workload.ts";
import { readLogContent } from "../simulation/log-content.ts";
import { type GivenRecord, runWithOrdinals } from "./ordinals.ts";

const MINUTES = 60_000;

export interface ProgramTests {
  /** A connection string of a log that no one else uses. */
  newLog(): string;
  /** How many of the points and moments at which a run can be killed are tried. */
  readonly blows: number;
}

/** A connection string with a prefix that was not used before. */
export function withNewPrefix(url: string): string {
  return `${url}${url.includes("?") ? "&" : "?"}prefix=test-${randomUUID()}`;
}

/** Registers the tests that the whole program does on an EventStoreDB what it does on the embedded log. */
export function programTests(name: string, { newLog, blows }: ProgramTests): void {
  describe(`headwater on ${name}`, () => {
    const place = new Workplace();
    let inputs: string;
    let busy: Subject;

    beforeAll(async () => {
      // XState's development build tells of messages to actors that have stopped.
      vi.spyOn(console, "warn").mockImplementation(() => {});
      inputs = await place.folder();
      writeFileSync(join(inputs, "orders.jsonl"), orderLines(1_200, 41));
      busy = {
        pipeline: "busy",
        inputs: { orders: join(inputs, "orders.jsonl") },
        outputs: ["stock", "spent"],
        batch: 16,
      };
    });
    afterAll(async () => {
      vi.restoreAllMocks();
      await place.clear();
    });

    const embedded = async (subject: Subject) => {
      const history = await History.begin(place, subject, 1);
      expect((await history.run()).code).toBe(0);
      return { history, content: await inspectLog(history.log, subject.pipeline) };
    };

    it(
      "leaves the same outputs, addresses and digests behind, and a second run adds nothing",
      async () => {
        const reference = await embedded(busy);
        for (const nodes of [1, 3]) {
          const history = await History.begin(place, busy, nodes, newLog());
          const ended = await history.run();
          expect(ended.code, ended.stderr).toBe(0);
          const content = await inspectLog(history.log, "busy");
          expect(content.rows).toEqual(reference.content.rows);
          for (const sink of busy.outputs) {
            expect(history.output(sink).equals(reference.history.output(sink)), sink).toBe(true);
          }
          const events = await history.events();
          const again = await history.run();
          expect(JSON.parse(again.stdout)).toMatchObject({ records: { accepted: 0, pending: 0 } });
          expect(await history.events()).toBe(events);
        }
      },
      5 * MINUTES,
    );

    it(
      "goes on after kill -9 as if nothing had happened",
      async () => {
        const reference = await embedded(busy);
        const random = seeded(43);
        const all = [...atEveryPoint(random), ...atRandomMoments(random, 6)];
        await endure(shuffled(all, random).slice(0, blows), async (history) => {
          const content = await inspectLog(history.log, "busy");
          expect(content.rows).toEqual(reference.content.rows);
          for (const sink of busy.outputs) {
            expect(history.output(sink).equals(reference.history.output(sink)), sink).toBe(true);
          }
        });
      },
      20 * MINUTES,
    );

    /** Kills runs until no blow is left; whenever one comes to its end, checks it and begins anew. */
    async function endure(blows: readonly Blow[], check: (history: History) => Promise<void>): Promise<void> {
      const left = [...blows];
      while (left.length > 0) {
        const history = await History.begin(place, busy, 2, newLog());
        let killed = 0;
        for (let ended = false; !ended; ) {
          const { code, signal, stderr } = await history.run(left[0]);
          if (signal === "SIGKILL") {
            killed++;
            left.shift();
            continue;
          }
          expect(code, `after ${killed} kills:\n${stderr}`).toBe(0);
          ended = true;
        }
        if (killed === 0) throw new Error(`no run comes to ${JSON.stringify(left[0])}`);
        await check(history);
      }
    }

    it(
      "merges sources whose ordinals are given as the embedded log does",
      async () => {
        const given = meetingRecords();
        const results = [];
        for (const spec of ["memory:", `lmdb:${join(await place.folder(), "log")}`, newLog()]) {
          const log = await openLog(spec);
          try {
            const outputs = await runWithOrdinals(log, meeting.definition, given, 32);
            results.push({ outputs, content: await readLogContent(log) });
          } finally {
            await log.close();
          }
        }
        expect(results[0]?.outputs["merged"]).toHaveLength(merged(given));
        expect(results[1]).toEqual(results[0]);
        expect(results[2]).toEqual(results[0]);
      },
      5 * MINUTES,
    );

    it(
      "gives what the examples give on the embedded log",
      async () => {
        const quakes = projectFile("node_modules/vega-datasets/data/earthquakes.json");
        const outputs = [];
        for (const log of ["lmdb:.headwater", newLog()]) {
          const cwd = await place.folder();
          const args = ["run", projectFile("examples/earthquakes.ts"), "--input", `usgs=${quakes}`];
          const sinks = exampleSinks();
          const to = sinks.flatMap((sink) => ["--output", `${sink}=${sink}.jsonl`]);
          const ended = await headwater([...args, ...to, "--log", log, "--json"], { cwd });
          expect(ended.code, ended.stderr).toBe(0);
          const { records, steps, outputs: counts } = JSON.parse(ended.stdout);
          outputs.push({
            records,
            steps,
            counts,
            files: sinks.map((sink) => readFileSync(join(cwd, `${sink}.jsonl`), "utf8")),
          });
        }
        expect(outputs[1]).toEqual(outputs[0]);
      },
      5 * MINUTES,
    );

    it(
      "shows, exports and imports a log",
      async () => {
        const history = await History.begin(place, busy, 1);
        expect((await history.run()).code).toBe(0);
        const cwd = history.folder;
        const run = async (...args: string[]) => {
          const ended = await headwater(args, { cwd });
          expect(ended.code, ended.stderr).toBe(0);
          return ended.stdout;
        };
        const there = newLog();
        writeFileSync(join(cwd, "export.jsonl"), await run("log", "export"));
        await run("log", "import", "export.jsonl", "--log", there);
        const exported = (text: string) =>
          text
            .trimEnd()
            .split("\n")
            .map((line) => {
              const { position: _position, created: _created, ...rest } = JSON.parse(line);
              return rest;
            });
        expect(exported(await run("log", "export", "--log", there))).toEqual(
          exported(readFileSync(join(cwd, "export.jsonl"), "utf8")),
        );
        const streams = async (...log: string[]) =>
          JSON.parse(await run("log", "streams", "--json", ...log)).map(
            ({ stream, count, bytes }: Record<string, unknown>) => ({ stream, count, bytes }),
          );
        expect(await streams("--log", there)).toEqual(await streams());
        const show = ["log", "show", "source_busy.orders@0", "--json"];
        const shown = (text: string) => {
          const { position: _position, created: _created, ...rest } = JSON.parse(text.split("\n")[0] ?? "");
          return rest;
        };
        expect(shown(await run(...show, "--log", there))).toEqual(shown(await run(...show)));
        expect(await run("log", "tail", "sink_busy.stock", "--log", there)).not.toBe("");
      },
      5 * MINUTES,
    );
  });
}

function exampleSinks(): readonly string[] {
  return ["strong", "networks"];
}

/** Words for both sources, at ordinals that alternate in uneven steps. */
function meetingRecords(): Readonly<Record<"left" | "right", readonly GivenRecord[]>> {
  const random = seeded(47);
  const words = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff"];
  const left: GivenRecord[] = [];
  const right: GivenRecord[] = [];
  for (let ordinal = 4_096; ordinal < 4_096 + 6_000; ordinal += 1 + Math.floor(random() * 8)) {
    const value = { word: words[Math.floor(random() * words.length)], at: ordinal };
    (random() < 0.5 ? left : right).push({ ordinal, value });
  }
  return { left, right };
}

/** How many of them come through to the sink of both. */
function merged({ left, right }: ReturnType<typeof meetingRecords>): number {
  return left.length + right.filter(({ value }) => (value as { word: string }).word.length < 5).length;
}
