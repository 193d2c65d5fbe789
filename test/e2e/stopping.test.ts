/** What a run does that is asked to stop while there is much to do: by signals, with threads and without. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RunReport } from "../../src/app/run-types.ts";
import { type Command, type Ended, headwater, projectFile, Workplace } from "./command.ts";
import { until } from "./kill-history.ts";
import { Receiver, type Treatment } from "./receiver.ts";
import { orderLines } from "./workload.ts";

const MINUTES = 60_000;
/** What stopping costs beside the work: nobody waits much longer for a run with nothing to do. */
const PROMPT_MS = 10_000;

const place = new Workplace();
const receivers: Receiver[] = [];
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(async () => {
  await place.clear();
  for (const running of receivers.splice(0)) await running.stop();
});

/** So many readings of `ms` each, the even ones at the left source, the odd ones at the right. */
function writeReadings(count: number, ms: number | null): void {
  const lines = Array.from({ length: count }, (_, n) => `${JSON.stringify({ n, time: n * 1_000, ms })}\n`);
  writeFileSync(join(cwd, "left.jsonl"), lines.filter((_, n) => n % 2 === 0).join(""));
  writeFileSync(join(cwd, "right.jsonl"), lines.filter((_, n) => n % 2 === 1).join(""));
}

/** What comes of them: those with a nine are left out, those with a three fail. */
function numbersOf(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n).filter((n) => n % 10 !== 9 && n % 10 !== 3);
}

function args(executor: "inline" | "threads", ...more: readonly string[]): string[] {
  const files = ["left", "right"].flatMap((source) => ["--input", `${source}=${source}.jsonl`]);
  const outputs = ["numbers", "hours"].flatMap((sink) => ["--output", `${sink}=${sink}.jsonl`]);
  const how = executor === "threads" ? ["--executor", "threads", "--nodes", "2"] : [];
  return ["run", projectFile("test/e2e/fixtures/slow.ts"), ...files, ...outputs, ...how, "--json", ...more];
}

function numbers(): number[] {
  const path = join(cwd, "numbers.jsonl");
  const text = existsSync(path) ? readFileSync(path, "utf8").trim() : "";
  return text === "" ? [] : text.split("\n").map((line): number => JSON.parse(line).n);
}

function reportOf({ stdout, stderr }: Ended): RunReport {
  expect(stdout, stderr).not.toBe("");
  return JSON.parse(stdout) as RunReport;
}

/** How many records have been left out by the stage, as an audit counts them in the log. */
async function audited(): Promise<{ readonly accepted: number; readonly filtered: number }> {
  const ended = await headwater(["audit", "--json"], { cwd });
  expect(ended.code, ended.stdout).toBe(0);
  const { checks } = JSON.parse(ended.stdout) as {
    checks: { name: string; counts: Record<string, number> }[];
  };
  const { counts = {} } = checks.find(({ name }) => name === "conservation") ?? {};
  return { accepted: counts["accepted"] ?? 0, filtered: counts["filtered"] ?? 0 };
}

async function untilSome(command: Command): Promise<void> {
  await until(() => numbers().length > 0 || command.exited);
  expect(command.exited, command.said).toBe(false);
}

const byNumber = (a: number, b: number) => a - b;

describe.each(["inline", "threads"] as const)("a run (%s) that is asked to stop", (executor) => {
  it(
    "brings to its end what it has accepted, and leaves open windows open",
    async () => {
      const count = 1_500;
      writeReadings(count, 2);
      const command = place.start(args(executor, "--follow", "--batch", "64"), { cwd });
      await untilSome(command);
      const before = numbers().length;
      command.kill("SIGTERM");
      const ended = await command.ended;
      expect(ended.code, ended.stderr).toBe(0);
      const { records, outputs } = reportOf(ended);
      const { filtered } = await audited();
      // A part of the work was done before, and most of what was accepted was still to do.
      expect(before).toBeLessThan(records.accepted / 2);
      expect(records.pending).toBe(0);
      expect(outputs).toEqual({ numbers: numbers().length, hours: 0 });
      expect((outputs["numbers"] ?? 0) + filtered + records.quarantined).toBe(records.accepted);

      // For the windows the input had no end: only now they give what they have.
      const last = await headwater(args(executor), { cwd });
      expect(last.code, last.stderr).toBe(0);
      expect(reportOf(last)).toMatchObject({
        records: { accepted: count - records.accepted, pending: 0 },
        outputs: { hours: 1 },
      });
      expect(numbers().sort(byNumber)).toEqual(numbersOf(count));
      expect(JSON.parse(readFileSync(join(cwd, "hours.jsonl"), "utf8"))).toEqual({
        start: 0,
        records: numbersOf(count).length,
      });
    },
    2 * MINUTES,
  );

  it(
    "stops when its time is over, says how much is left, which the next start does",
    async () => {
      const count = 3_000;
      writeReadings(count, 4);
      const command = place.start(args(executor, "--follow", "--batch", "64", "--drain-timeout", "1"), {
        cwd,
      });
      await untilSome(command);
      command.kill("SIGINT");
      const ended = await command.ended;
      expect(ended.code, ended.stderr).toBe(0);
      expect(ended.stderr).toContain(
        "not finished within 1 s: stopped at once; the rest is left to the next start",
      );
      const { records, outputs } = reportOf(ended);
      const { accepted, filtered } = await audited();
      expect(records.accepted).toBe(accepted);
      expect(records.pending).toBeGreaterThan(100);
      expect(numbers().length).toBe(outputs["numbers"]);
      expect((outputs["numbers"] ?? 0) + filtered + records.quarantined + records.pending).toBe(accepted);

      // Stopped at once again, it has accepted nothing, and knows of what the run before has left.
      const asked = place.start(args(executor, "--drain-timeout", "0", "--follow"), { cwd });
      await asked.says("were taken in before");
      asked.kill("SIGINT");
      const { records: then, outputs: more } = reportOf(await asked.ended);
      const less = await audited();
      expect(numbers().length).toBe((outputs["numbers"] ?? 0) + (more["numbers"] ?? 0));
      expect(numbers().length + less.filtered + records.quarantined + then.quarantined + then.pending).toBe(
        accepted + then.accepted,
      );

      const again = await headwater(args(executor), { cwd });
      expect(again.code, again.stderr).toBe(0);
      expect(reportOf(again).records).toMatchObject({ accepted: count - less.accepted, pending: 0 });
      expect(numbers().sort(byNumber)).toEqual(numbersOf(count));
    },
    2 * MINUTES,
  );

  it("ends soon when there is nothing left to do", async () => {
    writeReadings(20, 0);
    const command = place.start(args(executor, "--follow"), { cwd });
    await until(() => numbers().length === numbersOf(20).length || command.exited);
    const asked = performance.now();
    command.kill("SIGTERM");
    const ended = await command.ended;
    expect(ended.code, ended.stderr).toBe(0);
    expect(performance.now() - asked).toBeLessThan(PROMPT_MS);
    expect(reportOf(ended).records).toMatchObject({ accepted: 20, pending: 0 });
  });

  it("ends as one that was stopped when Ctrl-C reaches the program that bundles the pipeline", async () => {
    writeReadings(10, null);
    const command = place.start(args("inline"), { cwd });
    const children = () =>
      command.exited
        ? []
        : readFileSync(`/proc/${command.pid}/task/${command.pid}/children`, "utf8")
            .trim()
            .split(" ")
            .filter(Boolean);
    await until(() => children().length > 0 || command.exited);
    // A terminal tells all of its foreground.
    for (const child of children()) process.kill(Number(child), "SIGINT");
    command.kill("SIGINT");
    const { code, signal, stderr } = await command.ended;
    expect(stderr).not.toContain("not expected");
    // Before anybody listens, the signal itself ends it.
    if (signal !== "SIGINT") expect(code, stderr).toBe(130);
    expect(existsSync(join(cwd, ".headwater"))).toBe(false);
  });

  it("stops at once at the second signal", async () => {
    writeReadings(40, null);
    const command = place.start(args(executor, "--follow"), { cwd });
    await until(() => command.exited || command.said.includes("deployed slow version 1"));
    await until(() => existsSync(join(cwd, "numbers.jsonl")) || command.exited);
    command.kill("SIGTERM");
    await command.says("Ctrl-C again stops at once");
    command.kill("SIGTERM");
    const { signal, stderr } = await command.ended;
    expect(signal, stderr).toBe("SIGINT");
    expect(stderr).not.toContain("not finished within");
  });
});

describe("a run that is asked to stop, with a service behind its sink", () => {
  const ORDERS = orderLines(600, 71);

  async function receiver(treat?: (batch: number) => Treatment | Promise<Treatment>): Promise<Receiver> {
    const started = await Receiver.start(treat);
    receivers.push(started);
    return started;
  }

  function posting(to: Receiver, ...more: readonly string[]): string[] {
    const inputs = ["--input", "orders=orders.jsonl", "--output", `stock=${to.url}`];
    return ["run", projectFile("test/e2e/fixtures/busy.ts"), ...inputs, "--batch", "16", "--json", ...more];
  }

  const slowly = (): Promise<Treatment> => new Promise((resolve) => setTimeout(resolve, 30, 200));

  it(
    "hands over all that was accepted, however slow the service is",
    async () => {
      writeFileSync(join(cwd, "orders.jsonl"), ORDERS);
      const received = await receiver(slowly);
      const command = place.start(posting(received, "--follow"), { cwd });
      await until(() => received.batches > 2 || command.exited);
      command.kill("SIGTERM");
      const before = received.lines.length;
      const ended = await command.ended;
      expect(ended.code, ended.stderr).toBe(0);
      const { records, outputs } = reportOf(ended);
      expect(records.pending).toBe(0);
      expect(received.lines.length).toBe(outputs["stock"]);
      expect(received.lines.length).toBeGreaterThan(2 * before);

      const other = await receiver();
      const rest = await headwater(posting(other), { cwd });
      expect(rest.code, rest.stderr).toBe(0);
      expect(reportOf(rest).records.pending).toBe(0);
    },
    2 * MINUTES,
  );

  it("leaves what the service does not take to the next start", async () => {
    writeFileSync(join(cwd, "orders.jsonl"), ORDERS);
    const answers: Treatment[] = [503];
    const received = await receiver(() => answers[0] ?? 200);
    const command = place.start(posting(received, "--follow", "--drain-timeout", "1"), { cwd });
    await command.says("kept waiting");
    command.kill("SIGTERM");
    const ended = await command.ended;
    expect(ended.code, ended.stderr).toBe(0);
    const left = reportOf(ended);
    expect(left.outputs["stock"]).toBe(0);
    expect(left.records.pending).toBeGreaterThan(0);
    answers.pop();
    const rest = await headwater(posting(received), { cwd });
    expect(rest.code, rest.stderr).toBe(0);
    const { records, outputs } = reportOf(rest);
    expect(records.pending).toBe(0);
    expect(received.lines.length).toBe(outputs["stock"]);
    expect(received.changed).toEqual([]);
  });
});
