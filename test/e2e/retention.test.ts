import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { encode } from "@msgpack/msgpack";
import { afterEach, describe, expect, it } from "vitest";
import { type Command, headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { mustBeSound } from "./open-log.ts";

const MINUTES = 60_000;
const PIPELINE = projectFile("test/e2e/fixtures/retained.ts");
/** Lines that are added at a time, and how often. */
const PART = 4_000;
const PARTS = 48;
/** Of a record's text, so that much is written. */
const NOTE = "x".repeat(200);

const place = new Workplace();
afterEach(() => place.clear());

interface Sum {
  readonly key: number;
  readonly n: number;
  readonly count: number;
  readonly sum: number;
}

function lineOf(n: number): string {
  return `${JSON.stringify({ n, sensor: `s${n % 5}`, value: n % 101, note: NOTE })}\n`;
}

/** What comes out for the first records, worked out by itself. */
function expected(records: number): string {
  const totals = new Map<number, { count: number; sum: number }>();
  const lines: string[] = [];
  for (let n = 0; n < records; n++) {
    if (n % 1_009 === 13) continue;
    const value = (n % 101) * 2;
    const key = value % 10;
    const { count, sum } = totals.get(key) ?? { count: 0, sum: 0 };
    const total = { count: count + 1, sum: sum + value };
    totals.set(key, total);
    // Keys of a record are in their order.
    lines.push(JSON.stringify({ count: total.count, key, n, sum: total.sum } satisfies Sum));
  }
  return lines.sort().join("\n");
}

describe("a pipeline that is followed and keeps little", () => {
  it(
    "has a log that stays small, gives all there is, and is sound, killed at random",
    async () => {
      const folder = await place.folder();
      const data = join(folder, ".headwater", "data.mdb");
      const output = join(folder, "sums.jsonl");
      const input = join(folder, "readings.jsonl");
      const run = (...more: string[]): Command =>
        place.start(
          ["run", PIPELINE, "--input", `readings=${input}`, "--output", `sums=${output}`, ...more],
          {
            cwd: folder,
          },
        );
      const lines = () => (existsSync(output) ? readFileSync(output, "utf8").split("\n").length - 1 : 0);
      const sizes: number[] = [];
      let written = 0;
      let random = 7;
      appendFileSync(input, "");
      let command = run("--follow");
      for (let part = 0; part < PARTS; part++) {
        const text: string[] = [];
        for (let n = 0; n < PART; n++) text.push(lineOf(written++));
        appendFileSync(input, text.join(""));
        const enough = written * (1_008 / 1_009) - PART / 4;
        random = (random * 48_271) % 2_147_483_647;
        const killed = part % 7 === 5;
        if (killed) {
          await new Promise((resolve) => setTimeout(resolve, random % 700));
          command.kill("SIGKILL");
          await command.ended;
          command = run("--follow");
        }
        while (lines() < enough && !command.exited) await new Promise((resolve) => setTimeout(resolve, 20));
        expect(command.exited, command.said).toBe(false);
        if (part % 2 === 1) {
          const { code, stderr } = await headwater(["log", "scavenge"], { cwd: folder });
          expect(code, stderr).toBe(0);
        }
        sizes.push(statSync(data).size);
      }
      command.kill("SIGINT");
      await command.ended;
      const { code, stdout, stderr } = await run("--json").ended;
      expect(code, stderr).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ records: { pending: 0 } });

      // All that went through is there once, in spite of what is gone.
      expect(readFileSync(output, "utf8").trimEnd().split("\n").sort().join("\n") === expected(written)).toBe(
        true,
      );
      const all = statSync(input).size;
      const [half = 0, end = 0] = [sizes[PARTS / 2 - 1], sizes.at(-1)];
      // Of twice as much hardly more is kept: what waits in quarantine, and what a busy machine has not got round to.
      expect(end, `${sizes.join(" ")}, ${all} bytes of input`).toBeLessThan(half + all / 10);
      expect(end, `${sizes.join(" ")}, ${all} bytes of input`).toBeLessThan(all / 2);
      await mustBeSound(join(folder, ".headwater"));

      const ask = async (...argv: string[]) => headwater([...argv, "--json"], { cwd: folder });
      const streams = JSON.parse((await ask("log", "streams")).stdout) as {
        readonly stream: string;
        readonly firstRevision: number;
        readonly bytes: number;
      }[];
      const bytesOf = (kind: RegExp) =>
        streams.filter(({ stream }) => kind.test(stream)).reduce((sum, { bytes }) => sum + bytes, 0);
      expect(bytesOf(/^payload_/)).toBeLessThan(2_000_000);
      expect(bytesOf(/^(source|steps|sink|supervisor)_/)).toBeLessThan(2_000_000);
      expect(bytesOf(/^transit_/)).toBeLessThan(2_000_000);

      // What is gone is told, and is no damage.
      const audited = JSON.parse((await ask("audit")).stdout);
      expect(audited.ok).toBe(true);
      for (const { name, unverifiable } of audited.checks) {
        if (name !== "checkpoint") expect(unverifiable, name).toBeGreaterThan(0);
      }
      const first = await ask("lineage", "source_retained.readings@0");
      expect(first.code).toBe(2);
      expect(JSON.parse(first.stderr.trimEnd().split("\n").at(-1) ?? "").error.code).toBe("RecordGone");
      const outputs = readFileSync(output, "utf8").trimEnd().split("\n");
      for (const n of [outputs.length - 1, outputs.length - 100]) {
        const lineage = await ask("lineage", `sums#${n}`, "--limit", "200");
        expect(lineage.code, lineage.stderr).toBe(0);
        const output = JSON.parse(outputs[n] ?? "") as Sum;
        const { value, vertices } = JSON.parse(lineage.stdout);
        // Of half of them no record is kept, but its digest is. Keys are in their order.
        expect(vertices[0].after).toBe(createHash("sha256").update(encode(output)).digest("hex"));
        if (value === null) expect(vertices[0].reason).toMatch(/not kept/);
        else expect(value).toEqual(output);
      }
      const early = await ask("lineage", "sums#0");
      expect([early.code, jsonError(early).code]).toEqual([2, "RecordGone"]);
      const replayed = await ask("replay", "retained");
      expect(replayed.code, replayed.stderr).toBe(0);
      const { diverged, steps, unverifiable, firstGone } = JSON.parse(replayed.stdout);
      expect(diverged).toBe(0);
      expect(steps + unverifiable).toBeGreaterThan(0);
      if (unverifiable > 0) expect(firstGone.reason).toMatch(/let go of|not there any more/);

      // What was refused is all there, and can be put back.
      const refused = JSON.parse((await ask("quarantine", "list", "retained", "--limit", "100000")).stdout);
      const unlucky = Math.ceil((written - 13) / 1_009);
      expect((refused.records ?? refused).length).toBe(unlucky);
    },
    10 * MINUTES,
  );
});
