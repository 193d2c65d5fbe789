import { beforeAll, describe, expect, test } from "vitest";
import { auditLog } from "../../src/app/audit.ts";
import type { AuditReport } from "../../src/app/audit-types.ts";
import { decodeDeltas, encodeDeltas } from "../../src/core/columns.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import type { RecordedEvent } from "../../src/ports/event-log.ts";
import { arrayLog, copyEvents } from "../array-log.ts";
import { ORDINARY } from "./expectations.ts";
import { type Data, rewritten } from "./faults.ts";
import { simulate } from "./harness.ts";
import { withoutWarnings } from "./property-runs.ts";

/** What no chain can find: a log that was written as it is, with all digests right, and says something impossible. */

let id = "";
let events: RecordedEvent[] = [];

withoutWarnings();

beforeAll(async () => {
  const p = pipeline("p", { partitions: 2 });
  const numbers = p.source("s", { key: (n: unknown) => Number(n) % 5 });
  numbers
    .filter("kept", (n) => Number(n) % 3 !== 0)
    .keyBy("again", (n) => Number(n) % 7)
    .map("once", (n) => {
      if (Number(n) % 10 === 1) throw new Error("not this one");
      return { n: Number(n) };
    })
    .reduce("sum", { init: () => 0, step: (total, { n }) => total + n, emit: (total) => total })
    .sink("out");
  const given = new Map([["s", Array.from({ length: 120 }, (_, value) => ({ value }))]]);
  const { log } = await simulate(p.definition, given, {
    seed: 3,
    nodes: 2,
    batchRecords: 8,
    tickMs: 10,
    delayMs: 5,
    interruptions: [{ kind: "crash", at: 60, made: true }],
    losses: [],
    failures: [],
  });
  id = log.id;
  events = await copyEvents(log);
});

const audit = (found: readonly RecordedEvent[]) => auditLog(arrayLog(id, found), { checkpoints: [] });
const check = (report: AuditReport, name: string) => report.checks.find((one) => one.name === name);

/** The place of an event of a stream whose name begins so, with records, after the first of them. */
function placeOf(stream: string, holds: (data: Data) => boolean = () => true): number {
  const found = events.findIndex((event) => {
    if (!event.stream.startsWith(stream)) return false;
    const { type, data } = decodeEvent(event);
    const counted = "count" in data && data.count > 1;
    return (counted || type.startsWith("RecordsQ")) && holds(data as unknown as Data);
  });
  expect(found).toBeGreaterThan(0);
  return found;
}

const deltas = (data: Data, column: string, change: (numbers: number[]) => number[]) => ({
  ...data,
  [column]: encodeDeltas(change(decodeDeltas(data[column] as Uint8Array))),
});
const raised = (data: Data, field: string) => ({ ...data, [field]: Number(data[field]) + 1 });
const lastRaised = (numbers: number[]) => numbers.with(-1, (numbers.at(-1) as number) + 1);

test("a batch that is prepared begins where its records do, behind what had none for the sink", async () => {
  const p = pipeline("few", { partitions: 1 });
  p.source("s")
    .filter("some", (n) => Number(n) % 40 > 35)
    .sink("out");
  const given = new Map([["s", Array.from({ length: 400 }, (_, value) => ({ value }))]]);
  const few = { ...ORDINARY, batchRecords: 4, delayMs: 3, inBatches: true };
  const { log } = await simulate(p.definition, given, few);
  const recorded = await copyEvents(log);
  const prepared = recorded.flatMap((event) => {
    const { type, data } = decodeEvent(event);
    return type === "OutputsPrepared" ? [data.from["steps_few.some.0000"] ?? 0] : [];
  });
  expect(prepared.some((from) => from % 40 > 20)).toBe(true);
  const report = await auditLog(arrayLog(log.id, recorded), { checkpoints: [] });
  expect(report.checks.flatMap(({ failures }) => failures)).toEqual([]);

  // Not before what was delivered last.
  const last = recorded.findLastIndex(({ type }) => type === "OutputsPrepared");
  const back = rewritten(recorded, last, (data) => ({ ...data, from: { "steps_few.some.0000": 1 } }));
  const { checks } = await auditLog(arrayLog(log.id, back), { checkpoints: [] });
  expect(checks.flatMap(({ failures }) => failures)).toContainEqual(
    expect.objectContaining({ address: `sink_few.out@${recorded[last]?.revision}`, code: "BadCursor" }),
  );
});

test("a log that nobody has touched is good, and says what became of its records", async () => {
  const report = await audit(events);
  expect(report.checks.flatMap(({ failures }) => failures)).toEqual([]);
  const quarantined = Array.from({ length: 120 }, (_, n) => n).filter((n) => n % 3 !== 0 && n % 10 === 1);
  expect(check(report, "conservation")).toMatchObject({
    checked: 120 + 120 + 80 + 80 - quarantined.length,
    unverifiable: 0,
    counts: {
      accepted: 120,
      filtered: 40,
      quarantined: quarantined.length,
      delivered: 80 - quarantined.length,
      pending: 0,
    },
  });
  expect(check(report, "continuity")).toMatchObject({ checked: 120 + 80, unverifiable: 0 });
});

test("what has not come to its end is pending", async () => {
  // The second segment had only begun, and nothing was handed out.
  const begun = events.filter(
    ({ stream, revision }) =>
      !stream.startsWith("sink_") && !(stream.startsWith("steps_p.once.") && revision > 2),
  );
  const taken = begun.reduce((sum, event) => {
    if (!event.stream.startsWith("steps_p.once.")) return sum;
    const { data } = decodeEvent(event);
    return sum + ("count" in data ? data.count : 0);
  }, 0);
  const report = await audit(begun);
  expect(taken).toBeGreaterThan(0);
  expect(check(report, "conservation")).toMatchObject({ ok: true, counts: { pending: 80 - taken } });
});

interface Impossible {
  readonly what: string;
  readonly stream: string;
  readonly where?: (data: Data) => boolean;
  readonly change: (data: Data) => Data;
  readonly check: "conservation" | "continuity";
  readonly code: string;
}

const IMPOSSIBLE: readonly Impossible[] = [
  {
    what: "an input whose parent went to another partition",
    stream: "steps_p.kept.",
    change: (data) => deltas(data, "parents", lastRaised),
    check: "conservation",
    code: "NotHandedOn",
  },
  {
    what: "an input that was taken before",
    stream: "steps_p.kept.",
    change: (data) => deltas(data, "parents", (numbers) => numbers.with(-1, numbers[0] as number)),
    check: "conservation",
    code: "NotHandedOn",
  },
  {
    what: "a record that is passed over by the cursors",
    stream: "steps_p.kept.",
    change: (data) => ({ ...data, to: { "source_p.s": 120 } }) as unknown as Data,
    check: "conservation",
    code: "BadCursor",
  },
  {
    what: "inputs that begin with a gap",
    stream: "steps_p.once.0000",
    change: (data) => raised(data, "first"),
    check: "conservation",
    code: "NotDense",
  },
  {
    what: "an output more than was handed on",
    stream: "sink_p.out",
    change: (data) => raised(data, "count"),
    check: "conservation",
    code: "BadCount",
  },
  {
    what: "records accepted with ordinals that do not rise",
    stream: "source_p.s",
    change: (data) => deltas(data, "ordinals", (numbers) => numbers.with(-1, numbers.at(-2) as number)),
    check: "conservation",
    code: "OutOfOrder",
  },
  {
    what: "a record that goes to no partition",
    stream: "source_p.s",
    change: (data) => ({ ...data, sections: (data["sections"] as unknown[]).slice(1) }) as unknown as Data,
    check: "conservation",
    code: "BadData",
  },
  {
    what: "inputs in another order",
    stream: "steps_p.once.0000",
    change: (data) => deltas(data, "ordinals", (numbers) => numbers.toReversed()),
    check: "conservation",
    code: "OutOfOrder",
  },
  {
    what: "a failure that is in no quarantine",
    stream: "steps_p.once.",
    where: (data) => data["quarantine"] !== undefined,
    change: ({ quarantine, ...data }) => data as Data,
    check: "conservation",
    code: "Missing",
  },
  {
    what: "an input with another ordinal than its parent",
    stream: "steps_p.once.0000",
    change: (data) => deltas(data, "ordinals", (numbers) => numbers.with(0, (numbers[0] as number) - 1)),
    check: "continuity",
    code: "Discontinuous",
  },
  {
    what: "an input with another root than its parent",
    stream: "steps_p.once.0001",
    change: (data) => deltas(data, "roots", lastRaised),
    check: "continuity",
    code: "Discontinuous",
  },
  {
    what: "a stage with a digest less than it has rows",
    stream: "steps_p.once.0000",
    change: (data) => {
      const [first, ...rest] = data["stages"] as unknown as { digests: Uint8Array }[];
      const digests = (first as { digests: Uint8Array }).digests.subarray(32);
      return { ...data, stages: [{ ...first, digests }, ...rest] } as unknown as Data;
    },
    check: "continuity",
    code: "BadStage",
  },
  {
    what: "a record in quarantine that is not the one that failed",
    stream: "quarantine_p.once.",
    change: (data) => {
      const [first, ...rest] = data["records"] as unknown as { record: Uint8Array }[];
      return { ...data, records: [{ ...first, record: Uint8Array.of(7) }, ...rest] } as unknown as Data;
    },
    check: "continuity",
    code: "Discontinuous",
  },
  {
    what: "a record that a segment kept as it came in, and that is another one",
    stream: "payload_p.kept.",
    where: (data) => (data["blocks"] as unknown[]).length > 0,
    change: (data) => {
      const [block] = data["blocks"] as unknown as { lengths: Uint8Array; bytes: Uint8Array }[];
      const bytes = Uint8Array.from(block?.bytes ?? []);
      bytes[0] = (bytes[0] as number) ^ 1;
      return { ...data, blocks: [{ ...block, bytes }] } as unknown as Data;
    },
    check: "continuity",
    code: "Discontinuous",
  },
];

describe("a log that says something impossible, with all its digests right", () => {
  test.each(IMPOSSIBLE)("$what", async ({ stream, where = () => true, change, check: name, code }) => {
    const at = stream.startsWith("payload_")
      ? events.findIndex((event) => event.stream.startsWith(stream))
      : placeOf(stream, where);
    const report = await audit(rewritten(events, at, change));
    expect(check(report, "chain")).toMatchObject({ ok: true });
    expect(check(report, name)?.failures.map((failure) => failure.code)).toContain(code);
  });
});
