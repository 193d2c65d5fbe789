import { describe, expect, test } from "vitest";
import type { IntakeOutcome, IntakeRecord } from "./intake-record.ts";
import { KeptRecords } from "./kept-records.ts";

const record = (line: number, outcomes?: IntakeOutcome[]): IntakeRecord => ({
  value: line,
  line,
  settle: (outcome) => outcomes?.push(outcome),
});

async function* batches(...sizes: number[]): AsyncIterable<readonly IntakeRecord[]> {
  let line = 0;
  for (const size of sizes) yield Array.from({ length: size }, () => record(line++));
}

const never = new AbortController().signal;

describe("records that can be read only once", () => {
  test("are given again from the first one on that is not durable", async () => {
    const kept = new KeptRecords(batches(3, 2, 4));
    const first = kept.read(never)[Symbol.asyncIterator]();
    await first.next();
    await first.next();
    kept.taken(4);
    const seen: number[] = [];
    for await (const batch of kept.read(never)) seen.push(...batch.map(({ line }) => line));
    expect(seen).toEqual([4, 5, 6, 7, 8]);
  });

  test("go to the latest reader when an earlier one still waits for them", async () => {
    let give: (batch: readonly IntakeRecord[]) => void = () => {};
    const kept = new KeptRecords({
      [Symbol.asyncIterator]: () => ({
        next: () =>
          new Promise((resolve) => {
            give = (value) => resolve({ value, done: false });
          }),
      }),
    });
    const stale = kept.read(never)[Symbol.asyncIterator]().next();
    const latest = kept.read(never)[Symbol.asyncIterator]().next();
    give([record(1)]);
    expect(await stale).toEqual({ value: undefined, done: true });
    expect((await latest).value?.map((each: IntakeRecord) => each.line)).toEqual([1]);
    kept.taken(1);
  });

  test("answer who waits when nobody will read any more", async () => {
    const outcomes: IntakeOutcome[] = [];
    const kept = new KeptRecords(
      (async function* () {
        yield [record(1, outcomes), record(2, outcomes)];
      })(),
    );
    await kept.read(never)[Symbol.asyncIterator]().next();
    kept.taken(1);
    kept.abandon("over");
    expect(outcomes).toEqual([{ kind: "failed", error: "over" }]);
  });
});
