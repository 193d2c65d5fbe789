import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Workplace } from "./command.ts";
import {
  atEveryPoint,
  atRandomMoments,
  type Blow,
  History,
  POINTS,
  type Subject,
  shuffled,
  Turns,
} from "./kill-history.ts";
import type { LogContent } from "./log-content.ts";
import { clearSound, inspectLog } from "./open-log.ts";
import { orderLines, seeded, stepLines, wordLines } from "./workload.ts";

const KILLS_LEAST = 200;
const MINUTES = 60_000;

const inputs = mkdtempSync(join(tmpdir(), "headwater-e2e-inputs-"));
const place = new Workplace();
const turns = new Turns(2);
/** Point, or `moment` → how many runs were really killed there. */
const kills = new Map<string, number>();

const busy: Subject = {
  pipeline: "busy",
  inputs: { orders: join(inputs, "orders.jsonl") },
  outputs: ["stock", "spent"],
  batch: 16,
};
const meeting: Subject = {
  pipeline: "meeting",
  inputs: { left: join(inputs, "left.jsonl"), right: join(inputs, "right.jsonl") },
  outputs: ["merged", "counts"],
  batch: 16,
};
const timed: Subject = {
  pipeline: "timed",
  inputs: { orders: join(inputs, "fewer-orders.jsonl") },
  outputs: ["windows", "late", "sessions", "pairs"],
  batch: 16,
};
const deep: Subject = {
  pipeline: "deep",
  inputs: { steps: join(inputs, "steps.jsonl") },
  outputs: ["sums"],
  batch: 256,
};

beforeAll(() => {
  writeFileSync(join(inputs, "orders.jsonl"), orderLines(2_400, 11));
  writeFileSync(join(inputs, "fewer-orders.jsonl"), orderLines(900, 15));
  writeFileSync(join(inputs, "left.jsonl"), wordLines(2_000, 12));
  writeFileSync(join(inputs, "right.jsonl"), wordLines(1_600, 13));
  writeFileSync(join(inputs, "steps.jsonl"), stepLines(36_000, 14));
});
afterAll(async () => {
  await clearSound(place);
  rmSync(inputs, { recursive: true, force: true });
});

/** What a run that nobody disturbs leaves behind. */
interface Undisturbed {
  readonly content: LogContent;
  readonly outputs: ReadonlyMap<string, Buffer>;
}

const undisturbed = new Map<Subject, Promise<Undisturbed>>();

function undisturbedRun(subject: Subject): Promise<Undisturbed> {
  let known = undisturbed.get(subject);
  if (known === undefined) {
    known = turns.do(async () => {
      const history = await History.begin(place, subject, 1);
      const ended = await history.run();
      expect(ended, ended.stderr).toMatchObject({ code: 0 });
      const content = await inspectLog(history.log, subject.pipeline);
      return { content, outputs: new Map(subject.outputs.map((sink) => [sink, history.output(sink)])) };
    });
    undisturbed.set(subject, known);
  }
  return known;
}

/**
 * Kills runs of `subject` at all of `blows`, going on each time where it stopped; each time the input has come to
 * its end, `check` looks at what there is, and a new history begins.
 */
async function endure(
  subject: Subject,
  nodes: number,
  blows: readonly Blow[],
  check: (history: History) => Promise<void>,
  afterKill: (history: History) => void = () => {},
): Promise<void> {
  const left = [...blows];
  while (left.length > 0) {
    const history = await History.begin(place, subject, nodes);
    let killed = 0;
    for (let ended = false; !ended; ) {
      const blow = left[0];
      const { code, signal, stderr } = await turns.do(() => history.run(blow));
      if (signal === "SIGKILL" && blow !== undefined) {
        const where = blow.kind === "point" ? blow.point : "moment";
        kills.set(where, (kills.get(where) ?? 0) + 1);
        killed++;
        left.shift();
        afterKill(history);
      } else {
        expect(code, `after ${killed} kills:\n${stderr}`).toBe(0);
        ended = true;
      }
    }
    if (killed === 0) throw new Error(`no run comes to ${JSON.stringify(left[0])}`);
    await check(history);
  }
}

/** Whether everything is as if nothing had happened. */
async function mustEqual(history: History, subject: Subject, reference: Undisturbed): Promise<void> {
  const content = await inspectLog(history.log, subject.pipeline);
  expect(firstDifference(content.rows, reference.content.rows)).toBeUndefined();
  for (const [at, snapshot] of content.snapshots) {
    expect(snapshot, at).toBe(reference.content.snapshots.get(at) ?? snapshot);
  }
  for (const [sink, bytes] of reference.outputs) {
    expect(history.output(sink).equals(bytes), `the output of ${sink}`).toBe(true);
  }
}

/** At any moment a file holds a beginning of what it will hold. */
function mustBeBeginning(history: History, { outputs }: Undisturbed): void {
  for (const [sink, bytes] of outputs) {
    const now = history.output(sink);
    expect(now.equals(bytes.subarray(0, now.length)), `the output of ${sink} after a kill`).toBe(true);
  }
}

function firstDifference(found: readonly string[], expected: readonly string[]): object | undefined {
  const length = Math.max(found.length, expected.length);
  for (let at = 0; at < length; at++) {
    if (found[at] !== expected[at]) return { at, found: found[at], expected: expected[at] };
  }
  return undefined;
}

/** What `meeting` has to make of what its doors took, in the order of their ordinals. */
function meet({ accepted }: LogContent): Map<string, string> {
  const merged: string[] = [];
  const counts: string[] = [];
  const totals = new Map<string, { left: number; right: number }>();
  const inOrder = [...accepted].sort((a, b) => a.ordinal - b.ordinal || (a.source < b.source ? -1 : 1));
  for (const { source, value } of inOrder) {
    const { word } = value as { word: string };
    const side = source as "left" | "right";
    if (side === "right" && word.length >= 5) continue;
    const total = totals.get(word) ?? { left: 0, right: 0 };
    totals.set(word, total);
    total[side]++;
    // Maps of records have their keys in order.
    merged.push(`${JSON.stringify({ side, word })}\n`);
    counts.push(`${JSON.stringify({ left: total.left, right: total.right, side, word })}\n`);
  }
  return new Map([
    ["merged", merged.join("")],
    ["counts", counts.join("")],
  ]);
}

/** Rows that do not depend on how the two sources met. */
function apart(content: LogContent): string[] {
  return content.rows.filter((row) => !/^steps_meeting\.(all|counts)\.\d+@\d/.test(row));
}

describe.concurrent("runs that are killed and go on", () => {
  for (const [nodes, seed] of [
    [1, 101],
    [4, 102],
  ] as const) {
    it(
      `leave behind what an undisturbed run does: all kinds of stages, ${nodes} nodes`,
      async () => {
        const random = seeded(seed);
        const reference = await undisturbedRun(busy);
        const blows = shuffled([...atEveryPoint(random), ...atRandomMoments(random, 18)], random);
        await endure(
          busy,
          nodes,
          blows,
          (history) => mustEqual(history, busy, reference),
          (history) => mustBeBeginning(history, reference),
        );
      },
      10 * MINUTES,
    );

    it(
      `merge two sources by their ordinals: ${nodes} nodes`,
      async () => {
        const random = seeded(seed + 100);
        const reference = await undisturbedRun(meeting);
        const blows = shuffled([...atEveryPoint(random), ...atRandomMoments(random, 12)], random);
        await endure(meeting, nodes, blows, async (history) => {
          const content = await inspectLog(history.log, "meeting");
          expect(firstDifference(apart(content), apart(reference.content))).toBeUndefined();
          for (const [sink, expected] of meet(content)) {
            expect(history.output(sink).equals(Buffer.from(expected)), `the output of ${sink}`).toBe(true);
          }
        });
      },
      10 * MINUTES,
    );
  }

  it(
    "close windows, and join what comes of them, as an undisturbed run does",
    async () => {
      const random = seeded(401);
      const reference = await undisturbedRun(timed);
      for (const [sink, bytes] of reference.outputs) expect(bytes.length, sink).toBeGreaterThan(0);
      const blows = shuffled([...atEveryPoint(random), ...atRandomMoments(random, 12)], random);
      await endure(
        timed,
        4,
        blows,
        (history) => mustEqual(history, timed, reference),
        (history) => mustBeBeginning(history, reference),
      );
    },
    10 * MINUTES,
  );

  it(
    "bring state back from snapshots",
    async () => {
      const random = seeded(301);
      const reference = await undisturbedRun(deep);
      const middle = [...reference.content.snapshots.keys()].filter((at) => !at.endsWith("@36000"));
      expect(middle.length, "snapshots before the end").toBeGreaterThan(0);
      const blows: Blow[] = [
        ...["before", "between", "after"].flatMap((moment) =>
          [1, 2].map((times) => ({ kind: "point", point: `snapshot:${moment}`, times }) as const),
        ),
        ...atRandomMoments(random, 10),
      ];
      await endure(
        deep,
        2,
        shuffled(blows, random),
        (history) => mustEqual(history, deep, reference),
        (history) => mustBeBeginning(history, reference),
      );
    },
    10 * MINUTES,
  );
});

it("was a test of real kills, at each point that has a name", () => {
  const total = [...kills.values()].reduce((sum, count) => sum + count, 0);
  expect(total).toBeGreaterThanOrEqual(KILLS_LEAST);
  expect(POINTS.filter((point) => !kills.has(point))).toEqual([]);
  expect(kills.get("moment")).toBeGreaterThanOrEqual(50);
});
