import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { auditLog } from "../../src/app/audit.ts";
import { decodeDeltas, decodePlain, decodeRuns, encodeDeltas, encodePlain } from "../../src/core/columns.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { EventLog, RecordedEvent } from "../../src/ports/event-log.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { arrayLog, copyEvents } from "../array-log.ts";
import { addressOf, announced, type Data, rewritten } from "../simulation/faults.ts";
import { headwater, projectFile, Workplace } from "./command.ts";
import { Receiver } from "./receiver.ts";

/**
 * Logs that were written as they are, with all digests right, and that say something impossible: each has one lie in it,
 * and an audit names the first address that it affects.
 */

const PIPELINE = projectFile("test/e2e/fixtures/eventful.ts");
const MINUTES = 60_000;

const place = new Workplace();
let id = "";
let events: readonly RecordedEvent[] = [];

const record = (n: number, at: number) => ({
  id: `r${n}`,
  k: "abcde"[n % 5],
  t: at,
  v: n % 25 === 0 ? -1 : n,
});

beforeAll(async () => {
  const cwd = await place.folder();
  const receiver = await Receiver.start();
  const outputs = ["--output", "totals=totals.jsonl", "--output", "minutes=minutes.jsonl"];
  const more = ["--output", `all=${receiver.url}`, "--rotate", "minutes=2kB", "--batch", "16", "--json"];
  const run = async (mended: boolean, ...args: readonly string[]) => {
    const ended = await headwater(args, { cwd, env: mended ? { HEADWATER_TEST_MENDED: "yes" } : {} });
    expect(ended.code, ended.stderr).toBe(0);
    return JSON.parse(ended.stdout) as unknown;
  };
  const work = (mended: boolean) =>
    run(mended, "run", PIPELINE, "--input", "in=in.jsonl", ...outputs, ...more);
  const given = Array.from({ length: 200 }, (_, n) => record(n, n * 2_000));
  // Too late for its minute.
  given.splice(150, 0, record(201, -30 * MINUTES));
  writeFileSync(join(cwd, "in.jsonl"), given.map((one) => `${JSON.stringify(one)}\n`).join(""));
  await work(false);
  const listed = (await run(false, "quarantine", "list", "eventful", "--json")) as {
    records: { address: string; at: string }[];
  };
  const asked = listed.records.filter(({ at }) => at === "asked").map(({ address }) => address);
  await run(false, "quarantine", "discard", "eventful", ...asked.slice(0, 3), "--reason", "a test", "--json");
  await run(false, "quarantine", "retry", "eventful", "--stage", "even", "--later", "--json");
  await work(true);
  await run(false, "quarantine", "retry", "eventful", "--source", "in", "--later", "--json");
  await work(false);
  await run(false, "quarantine", "retry", "eventful", "--all", "--later", "--json");
  await work(true);
  await receiver.stop();
  const log = await openLog(`lmdb:${join(cwd, ".headwater")}`, { readOnly: true });
  id = log.id;
  events = await copyEvents(log);
  await log.close();
}, 4 * MINUTES);
afterAll(() => place.clear());

const audit = async (found: readonly RecordedEvent[]) =>
  (await auditLog(arrayLog(id, found), { checkpoints: [] })).checks;

type Change = (data: Data, event: RecordedEvent) => Record<string, unknown>;

/** An event that is changed: the first one, or the last, of streams whose names begin so, for which `where` holds. */
interface Lie {
  readonly what: string;
  readonly stream: string;
  readonly type: string;
  readonly where?: (data: Data, event: RecordedEvent) => boolean;
  readonly last?: true;
  readonly change: Change;
  readonly check: "conservation" | "continuity" | "payload";
  readonly code: string;
  /** The address that is named; that of the changed event if absent. */
  readonly at?: (data: Data, event: RecordedEvent) => string;
}

const num = (value: unknown) => Number(value);
const map = (value: unknown) => value as Readonly<Record<string, unknown>>;
const list = (value: unknown) => value as readonly Readonly<Record<string, unknown>>[];
const column = (value: unknown) => value as Uint8Array;
const RETRIES = "retry_eventful";

const firstInput = (data: Data, { stream }: RecordedEvent) => `${stream}@${num(data["first"])}`;
const lastInput = (data: Data, { stream }: RecordedEvent) =>
  `${stream}@${num(data["first"]) + num(data["count"]) - 1}`;
const firstItem = (data: Data) => `${RETRIES}@${num(data["first"])}`;

const deltas =
  (name: string, change: (numbers: number[]) => number[]): Change =>
  (data) => ({ ...data, [name]: encodeDeltas(change(decodeDeltas(column(data[name])))) });
const raised =
  (name: string, by = 1): Change =>
  (data) => ({ ...data, [name]: num(data[name]) + by });
const within =
  (name: string, change: (inner: Readonly<Record<string, unknown>>) => Record<string, unknown>): Change =>
  (data) => ({ ...data, [name]: change(map(data[name])) });
const firstOf =
  (name: string, change: (one: Readonly<Record<string, unknown>>) => Record<string, unknown>): Change =>
  (data) => ({ ...data, [name]: list(data[name]).map((one, at) => (at === 0 ? change(one) : one)) });
const without =
  (name: string): Change =>
  ({ [name]: _, ...data }) =>
    data;
const flipped = (bytes: unknown) =>
  Uint8Array.from(column(bytes), (byte, at) => (at === 0 ? byte ^ 1 : byte));
const counted = (data: Data) => num(data["count"]) > 1;
const putBack = (data: Data) => data["entry"] !== undefined && counted(data);
const ofSteps = (data: Data) => String(data["unit"]).startsWith("steps_");
const ofDoor = (data: Data) => String(data["unit"]).startsWith("source_");

const dataOf = (fits: (event: RecordedEvent) => boolean) =>
  decodeEvent(events.find(fits) as RecordedEvent).data as unknown as Data;
const discarded = () => dataOf(({ type }) => type === "RecordsDiscarded");

const windowOf = (data: Data) => list(data["stages"] ?? [])[0] ?? {};
const membersIn = (data: Data) => decodePlain(column(windowOf(data)["members"] ?? new Uint8Array(0)));

/** Steps of the reduce that go on from one before: which input each is of, and which it goes on from, in the event. */
const stepsOfTotals = (data: Data) => {
  const stages = list(data["stages"] ?? []).slice(0, 3);
  const previous = stages[2]?.["previous"];
  if (previous === undefined) return [];
  let inputs = Array.from({ length: num(data["count"]) }, (_, row) => row);
  for (const { results } of stages) {
    if (results === undefined) continue;
    const given = decodeRuns(column(results), inputs.length);
    inputs = inputs.flatMap((input, row) => new Array<number>(given[row] ?? 0).fill(input));
  }
  return decodePlain(column(previous)).flatMap((back, row) => {
    const input = inputs[row] ?? 0;
    return back > 1 ? [{ row, input, from: input - back + 1 }] : [];
  });
};

const lateEvent = () =>
  events.find(
    (event) =>
      event.stream.startsWith("steps_eventful.minutes.") &&
      windowOf(decodeEvent(event).data as unknown as Data)["late"] !== undefined,
  ) as RecordedEvent;

/** N of the input of a window that came too late. */
function tooLate(): number {
  const data = decodeEvent(lateEvent()).data as unknown as Data;
  return num(data["first"]) + (decodeDeltas(column(windowOf(data)["late"]))[0] ?? 0);
}

const LIES: readonly Lie[] = [
  // What is decided about refused records.
  {
    what: "a record that is asked for twice",
    stream: RETRIES,
    type: "RetryAsked",
    where: counted,
    change: (data) => ({
      ...data,
      items: list(data["items"]).map((item, at, all) => (at === 1 ? all[0] : item)),
    }),
    check: "conservation",
    code: "DecidedTwice",
    at: (data) => `${RETRIES}@${num(data["first"]) + 1}`,
  },
  {
    what: "a record that is discarded and asked for",
    stream: RETRIES,
    type: "RetryAsked",
    last: true,
    where: ({ unit }) => unit === discarded()["unit"],
    change: firstOf("items", () => ({ ...list(discarded()["items"])[0] })),
    check: "conservation",
    code: "DecidedTwice",
    at: firstItem,
  },
  {
    what: "a record that is asked for and is not there",
    stream: RETRIES,
    type: "RetryAsked",
    where: ofSteps,
    change: firstOf("items", (item) => ({ ...item, index: 999 })),
    check: "conservation",
    code: "NotRefused",
    at: firstItem,
  },
  {
    what: "a record that is asked for in a quarantine that is not there",
    stream: RETRIES,
    type: "RetryAsked",
    where: ofDoor,
    change: firstOf("items", (item) => ({ ...item, revision: 999 })),
    check: "conservation",
    code: "NotRefused",
    at: firstItem,
  },
  {
    what: "a record that is asked for as another one",
    stream: RETRIES,
    type: "RetryAsked",
    where: ofSteps,
    change: firstOf("items", (item) => ({ ...item, n: num(item["n"]) + 1 })),
    check: "conservation",
    code: "NotRefused",
    at: firstItem,
  },
  {
    what: "a record that is discarded and is not there",
    stream: RETRIES,
    type: "RecordsDiscarded",
    change: firstOf("items", (item) => ({ ...item, index: 999 })),
    check: "conservation",
    code: "NotRefused",
  },
  {
    what: "I's that are passed over",
    stream: RETRIES,
    type: "RetryAsked",
    last: true,
    change: raised("first"),
    check: "conservation",
    code: "NotDense",
  },
  {
    what: "more records asked for than are named",
    stream: RETRIES,
    type: "RetryAsked",
    change: raised("count"),
    check: "conservation",
    code: "BadCount",
  },
  {
    what: "records of another pipeline that are asked for",
    stream: RETRIES,
    type: "RetryAsked",
    where: ofSteps,
    change: (data) => ({ ...data, unit: String(data["unit"]).replace("eventful", "other") }),
    check: "conservation",
    code: "NotRefused",
  },
  // What partitions take back.
  {
    what: "an input that is put back, and that nobody asked for",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: putBack,
    change: deltas("parents", (numbers) => numbers.with(-1, 999)),
    check: "conservation",
    code: "NotAsked",
    at: lastInput,
  },
  {
    what: "an input that is put back twice",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: putBack,
    change: deltas("parents", (numbers) => numbers.with(1, numbers[0] as number)),
    check: "conservation",
    code: "NotAsked",
    at: (data, { stream }) => `${stream}@${num(data["first"]) + 1}`,
  },
  {
    what: "records that were asked for and are passed over",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: putBack,
    change: ({ entry, count, ...data }) => ({ ...data, count: 0 }),
    check: "conservation",
    code: "PassedOver",
    at: (data) => `${RETRIES}@${decodeDeltas(column(data["parents"]))[0]}`,
  },
  {
    what: "a cursor of what is put back that falls",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: (data) => num(map(data["from"])[RETRIES] ?? 0) > 0,
    change: within("to", (to) => ({ ...to, [RETRIES]: 0 })),
    check: "conservation",
    code: "BadCursor",
  },
  {
    what: "an owner that forgets what was put back",
    stream: "steps_eventful.even.",
    type: "PartitionClaimed",
    where: (data) => num(map(data["cursors"])[RETRIES] ?? 0) > 0,
    change: within("cursors", ({ [RETRIES]: _, ...others }) => others),
    check: "conservation",
    code: "BadCursor",
  },
  {
    what: "an input that is put back with the root of another",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: putBack,
    change: (data) => ({
      ...data,
      roots: encodeDeltas(decodeDeltas(column(data["parents"])).map((n) => n + 1)),
    }),
    check: "continuity",
    code: "BadRetry",
    at: firstInput,
  },
  {
    what: "an input that is put back with another event time",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: putBack,
    change: deltas("times", (times) => times.with(0, (times[0] as number) + 1)),
    check: "continuity",
    code: "BadRetry",
    at: firstInput,
  },
  {
    what: "inputs that are put back with an ordinal that is not the next",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: putBack,
    change: deltas("ordinals", (ordinals) => ordinals.map((ordinal) => ordinal + 1)),
    check: "continuity",
    code: "BadRetry",
    at: firstInput,
  },
  {
    what: "a record that is put back as another than was quarantined",
    stream: "payload_eventful.even.",
    type: "RecordsStored",
    where: (data) => list(data["blocks"]).some(({ stage }) => stage === -1),
    change: firstOf("blocks", (block) => ({ ...block, bytes: flipped(block["bytes"]) })),
    check: "continuity",
    code: "Discontinuous",
    at: () => expect.stringMatching(/^steps_eventful\.even\.000\d@\d+$/) as string,
  },
  // What doors take in, and take back.
  {
    what: "a record that comes in again, and that nobody asked for",
    stream: "source_eventful.in",
    type: "RecordsAccepted",
    where: (data) => data["retried"] !== undefined,
    change: within("retried", (retried) => ({
      ...retried,
      items: encodeDeltas(decodeDeltas(column(retried["items"])).with(0, 0)),
    })),
    check: "conservation",
    code: "NotAsked",
    at: firstInput,
  },
  {
    what: "a record that came in again and does not say so",
    stream: "source_eventful.in",
    type: "RecordsAccepted",
    where: (data) => data["retried"] !== undefined,
    change: without("retried"),
    check: "conservation",
    code: "BadCount",
  },
  {
    what: "a door that forgets what was put back",
    stream: "source_eventful.in",
    type: "RecordsAccepted",
    where: (data) => num(data["retry"] ?? 0) > 0,
    last: true,
    change: raised("retry", -1),
    check: "conservation",
    code: "BadCursor",
  },
  {
    what: "a record that was rejected again and does not say so",
    stream: "quarantine_eventful.in",
    type: "RecordsRejected",
    where: (data) => list(data["records"])[0]?.["item"] !== undefined,
    change: firstOf("records", ({ item, ...rejected }) => rejected),
    check: "conservation",
    code: "PassedOver",
    at: (data) => `${RETRIES}@${num(list(data["records"])[0]?.["item"])}`,
  },
  {
    what: "rejected records that are those of another event",
    stream: "quarantine_eventful.in",
    type: "RecordsRejected",
    change: raised("main", 5),
    check: "conservation",
    code: "NotRefused",
    at: (data) => `source_eventful.in@${num(data["main"])}`,
  },
  {
    what: "an input of which a record came to nothing",
    stream: "source_eventful.in",
    type: "RecordsAccepted",
    where: counted,
    change: within("input", (input) => ({ ...input, read: num(input["read"]) + 1 })),
    check: "conservation",
    code: "BadInputCount",
  },
  {
    what: "an input of which more was accepted than came in",
    stream: "source_eventful.in",
    type: "RecordsAccepted",
    where: counted,
    change: within("input", (input) => ({
      ...input,
      read: num(input["read"]) + 1,
      accepted: num(input["accepted"]) + 1,
    })),
    check: "conservation",
    code: "BadInputCount",
  },
  // Effects.
  {
    what: "effects that are passed over",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: (data) => num(map(data["effects"] ?? {})["events"] ?? 0) > 0,
    change: within("effects", (effects) => ({ ...effects, revision: num(effects["revision"]) + 1 })),
    check: "continuity",
    code: "BadEffects",
  },
  {
    what: "effects that are not there",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: (data) => num(map(data["effects"] ?? {})["events"] ?? 0) > 0,
    last: true,
    change: within("effects", (effects) => ({ ...effects, events: num(effects["events"]) + 1 })),
    check: "continuity",
    code: "Missing",
  },
  {
    what: "an effect of a stage that is not there",
    stream: "effects_eventful.even.",
    type: "EffectsRecorded",
    change: (data) => ({ ...data, stages: ["another"] }),
    check: "continuity",
    code: "BadEffects",
    at: (data, { stream }) =>
      `${stream.replace("effects_", "steps_")}@${decodeDeltas(column(data["ns"]))[0]}`,
  },
  {
    what: "an effect of another record",
    stream: "effects_eventful.even.",
    type: "EffectsRecorded",
    change: (data) => ({ ...data, keys: flipped(data["keys"]) }),
    check: "continuity",
    code: "BadEffects",
    at: (data, { stream }) =>
      `${stream.replace("effects_", "steps_")}@${decodeDeltas(column(data["ns"]))[0]}`,
  },
  // Snapshots.
  {
    what: "a snapshot that is not what its digest says",
    stream: "state_eventful.",
    type: "SnapshotChunk",
    change: (data) => ({ ...data, bytes: flipped(data["bytes"]) }),
    check: "payload",
    code: "BadSnapshot",
    at: (_, { stream }) => expect.stringContaining(`${stream.replace("state_", "steps_")}@`) as string,
  },
  {
    what: "a snapshot that is not there",
    stream: "steps_eventful.",
    type: "StepsRecorded",
    where: (data) => data["snapshot"] !== undefined,
    change: within("snapshot", (snapshot) => ({ ...snapshot, revision: num(snapshot["revision"]) + 1 })),
    check: "payload",
    code: "Missing",
  },
  {
    what: "a snapshot of what had not come in yet",
    stream: "steps_eventful.",
    type: "StepsRecorded",
    where: (data) => data["snapshot"] !== undefined,
    change: within("snapshot", (snapshot) => ({ ...snapshot, next: num(snapshot["next"]) + 1_000 })),
    check: "payload",
    code: "BadSnapshot",
  },
  // Records that are kept.
  {
    what: "records that are kept nowhere",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: (data) => counted(data) && data["payload"] !== undefined,
    change: without("payload"),
    check: "payload",
    code: "Missing",
    at: (_, { stream }) => expect.stringMatching(new RegExp(`^${stream}@\\d+\\.\\d+$`)) as string,
  },
  {
    what: "a record that is kept as another than came in",
    stream: "payload_eventful.in",
    type: "RecordsStored",
    change: firstOf("blocks", (block) => ({ ...block, bytes: flipped(block["bytes"]) })),
    check: "payload",
    code: "BadPayload",
    at: () => "source_eventful.in@0",
  },
  // Outputs.
  {
    what: "an output file that does not begin at the beginning",
    stream: "sink_eventful.totals",
    type: "SinkOpened",
    change: within("cursors", (cursors) => ({ ...cursors, [Object.keys(cursors)[0] ?? ""]: 1 })),
    check: "conservation",
    code: "BadCursor",
  },
  {
    what: "an output file that does not grow",
    stream: "sink_eventful.totals",
    type: "OutputsDelivered",
    where: counted,
    last: true,
    change: (data) => ({ ...data, bytes: 1 }),
    check: "conservation",
    code: "BadContent",
  },
  {
    what: "an output file without its digest",
    stream: "sink_eventful.totals",
    type: "OutputsDelivered",
    where: counted,
    change: without("digest"),
    check: "conservation",
    code: "BadContent",
  },
  {
    what: "an output file that nothing was said of before it was begun",
    stream: "sink_eventful.minutes",
    type: "OutputsPrepared",
    change: (data) => ({ ...data, parts: ["000099"] }),
    check: "conservation",
    code: "NotAsPrepared",
    at: (_, { stream }) => expect.stringContaining(`${stream}@`) as string,
  },
  {
    what: "a batch that is not what was prepared",
    stream: "sink_eventful.all",
    type: "OutputsPrepared",
    change: raised("count"),
    check: "conservation",
    code: "NotAsPrepared",
    at: (_, { stream, revision }) => `${stream}@${revision + 1}`,
  },
  {
    what: "a batch that was sent without having been prepared",
    stream: "sink_eventful.all",
    type: "OutputsPrepared",
    change: (data) => ({ ...data, target: "http://elsewhere/" }),
    check: "conservation",
    code: "NotPrepared",
    at: (_, { stream, revision }) => `${stream}@${revision + 1}`,
  },
  {
    what: "outputs that were delivered twice",
    stream: "sink_eventful.totals",
    type: "OutputsDelivered",
    where: counted,
    last: true,
    change: (data) => ({ ...data, from: map(data["to"]), count: 0 }),
    check: "conservation",
    code: "BadCursor",
  },
  {
    what: "outputs that are said to come from another stream than they do",
    stream: "sink_eventful.totals",
    type: "OutputsDelivered",
    where: (data) => counted(data) && data["order"] !== undefined && !("" in map(data["to"])),
    change: (data) => {
      const [first = 0, ...others] = decodePlain(column(data["order"]));
      return { ...data, order: encodePlain([first === 0 ? 1 : 0, ...others]) };
    },
    check: "conservation",
    code: "BadOrder",
  },
  // What stages say.
  {
    what: "a record that ended its thread, in an event with others",
    stream: "quarantine_eventful.even.",
    type: "RecordsQuarantined",
    change: firstOf("records", (quarantined) => ({ ...quarantined, code: "NodeLost" })),
    check: "conservation",
    code: "NotAlone",
    at: (data, { stream }) =>
      `${stream.replace("quarantine_", "steps_")}@${num(list(data["records"])[0]?.["n"])}`,
  },
  {
    what: "a record that failed and has a result",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: (data) => list(data["stages"] ?? [])[0]?.["failed"] !== undefined && data["entry"] === undefined,
    change: firstOf("stages", (stage) => ({ ...stage, failed: encodeDeltas([1, 1]) })),
    check: "conservation",
    code: "TwoEnds",
    at: (data, { stream }) => `${stream}@${num(data["first"]) + 1}`,
  },
  {
    what: "a total that leaves a step out",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: (data) => data["entry"] === undefined && stepsOfTotals(data).length > 1,
    change: (data) => {
      const [one, other] = stepsOfTotals(data);
      const stages = list(data["stages"]).map((stage, at) => {
        if (at !== 2) return stage;
        const previous = decodePlain(column(stage["previous"]));
        const back = (other?.input ?? 0) - (one?.from ?? 0) + 1;
        return {
          ...stage,
          previous: encodePlain(previous.map((was, row) => (row === other?.row ? back : was))),
        };
      });
      return { ...data, stages };
    },
    check: "continuity",
    code: "StepLeftOut",
    at: (data, { stream }) => `${stream}@${num(data["first"]) + (stepsOfTotals(data)[1]?.input ?? 0)}`,
  },
  {
    what: "a window that has a record that came too late for it",
    stream: "steps_eventful.minutes.",
    type: "StepsRecorded",
    where: (data, { stream }) =>
      stream === lateEvent().stream && num(data["first"]) > tooLate() && membersIn(data).length > 0,
    change: firstOf("stages", (stage) => {
      // The first result has one run: the input that came too late alone.
      const [runs = 0, ...others] = decodePlain(column(stage["members"]));
      return { ...stage, members: encodePlain([1, tooLate(), 1, ...others.slice(2 * runs)]) };
    }),
    check: "continuity",
    code: "BadStage",
  },
  {
    what: "a partition that begins behind the first records",
    stream: "steps_eventful.even.",
    type: "PartitionClaimed",
    change: within("cursors", () => ({ "source_eventful.in": 5 })),
    check: "conservation",
    code: "PassedOver",
    at: () => "source_eventful.in@0",
  },
  {
    what: "a partition that stops reading a stream",
    stream: "steps_eventful.even.",
    type: "StepsRecorded",
    where: counted,
    change: (data) => ({ ...data, to: {} }),
    check: "conservation",
    code: "BadCursor",
  },
];

describe("a log of everything that can happen to a record", () => {
  it("is found to be good", async () => {
    const checks = await audit(events);
    expect(checks.flatMap(({ failures }) => failures)).toEqual([]);
    expect(checks.map(({ unverifiable, name }) => [name, unverifiable])).toEqual([
      ["chain", 0],
      ["checkpoint", events.length],
      ["continuity", 0],
      ["payload", 0],
      ["conservation", 0],
    ]);
  });
});

describe("a log of which something was let go", () => {
  it("is not called wrong, and what is gone is not called good", { timeout: 4 * MINUTES }, async () => {
    const wrong: string[] = [];
    for (const stream of new Set(events.map((event) => event.stream))) {
      const { length } = events.filter((event) => event.stream === stream);
      for (const first of new Set([1, Math.floor(length / 2), length - 1].filter((at) => at > 0))) {
        const said = announced(events, "eventful", { stream, before: first });
        const left = said.filter((event) => event.stream !== stream || event.revision >= first);
        const log = arrayLog(id, left, new Map([[stream, first]]));
        const { checks } = await auditLog(log, { checkpoints: [] });
        for (const { name, failures, unverifiable } of checks) {
          if (name === "chain" && unverifiable !== first)
            wrong.push(`${stream} from ${first} on: ${unverifiable}`);
          const [one] = failures;
          if (one === undefined) continue;
          wrong.push(`${stream} from ${first} on: ${name}: ${one.address}: ${one.code}: ${one.message}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe("a log of which somebody else than retention let something go", () => {
  const cut = (all: readonly RecordedEvent[], stream: string, first: number) =>
    arrayLog(
      id,
      all.filter((event) => event.stream !== stream || event.revision >= first),
      new Map([[stream, first]]),
    );
  const chainOf = async (log: EventLog) => {
    const { checks } = await auditLog(log, { checkpoints: [] });
    return checks.find(({ name }) => name === "chain")?.failures.map(({ address, code }) => [address, code]);
  };
  const source = "source_eventful.in";

  it("is told where its first event is missing, also if retention let go of less", async () => {
    expect(await chainOf(cut(events, source, 2))).toEqual([[`${source}@0`, "Missing"]]);
    const said = announced(events, "eventful", { stream: source, before: 1 });
    expect(await chainOf(cut(said, source, 1))).toEqual([]);
    expect(await chainOf(cut(said, source, 2))).toEqual([[`${source}@1`, "Missing"]]);
  });

  it("is told if the first event that is left does not follow the last that was let go of", async () => {
    const said = announced(events, "eventful", { stream: source, before: 1 });
    const at = said.findIndex((event) => event.stream === source && event.revision === 0);
    // Everything after it is made anew, too; what retention said of it stays.
    const other = rewritten(said, at);
    expect(await chainOf(cut(other, source, 1))).toEqual([[`${source}@1`, "BadLink"]]);
  });
});

describe("a log that says something impossible, with all its digests right", () => {
  it.each(LIES)("$what", async ({ stream, type, where, last, change, check: name, code, at }) => {
    const fits = (event: RecordedEvent) =>
      event.stream.startsWith(stream) &&
      event.type === type &&
      (where === undefined || where(decodeEvent(event).data as unknown as Data, event));
    const index = last ? events.findLastIndex(fits) : events.findIndex(fits);
    expect(index, "an event that fits").toBeGreaterThanOrEqual(0);
    const event = events[index] as RecordedEvent;
    const data = decodeEvent(event).data as unknown as Data;
    const checks = await audit(rewritten(events, index, (before) => change(before, event) as Data));
    const chain = checks.find((one) => one.name === "chain");
    expect(chain).toMatchObject({ ok: true });
    const [first] = checks.find((one) => one.name === name)?.failures ?? [];
    expect([first?.address, first?.code]).toEqual([
      at === undefined ? addressOf(event) : at(data, event),
      code,
    ]);
  });
});
