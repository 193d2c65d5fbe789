import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { AuditedCheckpoint } from "../../projections/audit.ts";
import { auditLog } from "../../src/app/audit.ts";
import type { AuditReport } from "../../src/app/audit-types.ts";
import { decodeCanonical, encodeCanonical, type Value } from "../../src/core/canonical.ts";
import { eventDigest, eventId, eventMetadata, linkInMetadata } from "../../src/core/chain.ts";
import { decodePlain } from "../../src/core/columns.ts";
import type { EventType, EventTypes } from "../../src/core/events.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import type { EventLog, RecordedEvent } from "../../src/ports/event-log.ts";
import { Sequencer } from "../../src/runtime/sequencer.ts";
import { arrayLog, copyEvents } from "../array-log.ts";
import { emptyLog, fill, STILL } from "../small-log.ts";
import { type Circumstances, simulate } from "./harness.ts";
import {
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  interruptions,
  mishaps,
  pipelineWords,
} from "./random-pipelines.ts";
import { type Random, seededRandom, upTo } from "./virtual-world.ts";

/** How many faults are tried: `npm run tamper` tries many. */
const FAULTS = Number(process.env["HEADWATER_TAMPER_FAULTS"] ?? 300);
/** How many logs of random pipelines are audited. */
const LOGS = Number(process.env["HEADWATER_TAMPER_LOGS"] ?? 20);
const TIMEOUT_MS = Math.max(600_000, FAULTS * 200);

const CIRCUMSTANCES: Circumstances = {
  seed: 7,
  nodes: 2,
  batchRecords: 8,
  tickMs: 10,
  delayMs: 5,
  interruptions: [{ kind: "crash", at: 20, made: true }],
  losses: [],
  failures: [],
};

async function sign(log: EventLog, where: string): Promise<AuditedCheckpoint> {
  const sequencer = await Sequencer.open(log, STILL);
  await sequencer.catchUp();
  await sequencer.keepCheckpoint(`${where}\n`);
  return { where, size: sequencer.size, root: sequencer.root() };
}

let id = "";
let events: RecordedEvent[] = [];
let checkpoints: AuditedCheckpoint[] = [];

const audit = (found: readonly RecordedEvent[], given = checkpoints) =>
  auditLog(arrayLog(id, found), { checkpoints: given });
const check = (report: AuditReport, name: string) => report.checks.find((one) => one.name === name);
const addressOf = ({ stream, revision }: Pick<RecordedEvent, "stream" | "revision">) =>
  `${stream}@${revision}`;
const firsts = (report: AuditReport) =>
  report.checks.flatMap(({ failures }) => failures.slice(0, 1).map(({ address }) => address));

beforeAll(async () => {
  // XState's development build tells of messages to actors that have stopped.
  vi.spyOn(console, "warn").mockImplementation(() => {});
  const p = pipeline("p", { partitions: 2 });
  p.source("s", { key: (n: unknown) => Number(n) % 5 })
    .map("twice", (n) => Number(n) * 2)
    .filter("big", (n) => n > 20)
    .reduce("sum", { init: () => 0, step: (total, n) => total + n, emit: (total) => total })
    .sink("out");
  const given = new Map([["s", Array.from({ length: 120 }, (_, value) => ({ value }))]]);
  const { log } = await simulate(p.definition, given, CIRCUMSTANCES);
  id = log.id;
  checkpoints = [await sign(log, "first")];
  await fill(log, 20, { streams: ["supervisor_q", "supervisor_r"] });
  checkpoints.push(await sign(log, "second"));
  events = await copyEvents(log);
});

afterAll(() => {
  vi.restoreAllMocks();
});

describe("a log that nobody has touched", () => {
  test("is found to be good, and everything that was signed is covered", async () => {
    const report = await audit(events);
    expect(report).toMatchObject({ ok: true });
    expect(check(report, "chain")).toMatchObject({ checked: events.length, unverifiable: 0 });
    expect(check(report, "checkpoint")).toMatchObject({
      checked: events.filter(({ stream }) => stream !== "audit_log").length,
      unverifiable: 0,
    });
  });

  test("has nothing that a missing checkpoint covers", async () => {
    const covered = checkpoints[0]?.size ?? 0;
    const all = checkpoints[1]?.size ?? 0;
    expect(check(await audit(events, checkpoints.slice(0, 1)), "checkpoint")).toMatchObject({
      ok: true,
      checked: covered,
      unverifiable: all - covered,
    });
    expect(check(await audit(events, []), "checkpoint")).toMatchObject({
      ok: true,
      checked: 0,
      unverifiable: all,
    });
  });

  test("is good while it grows", async () => {
    const log = emptyLog();
    await fill(log, 10);
    const early = await sign(log, "early");
    await fill(log, 10, { seed: 2 });
    const report = await auditLog(log, { checkpoints: [early] });
    expect(report.ok).toBe(true);
    expect(check(report, "checkpoint")).toMatchObject({ checked: 10, unverifiable: 10 });
  });
});

/** A fault, and the addresses of which one has to be named. */
interface Fault {
  readonly what: string;
  readonly events: readonly RecordedEvent[];
  readonly affected: readonly string[];
}

function flipped(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const at = upTo(random, copy.length - 1);
  copy[at] = (copy[at] as number) ^ (1 << upTo(random, 7));
  return copy;
}

type Data = { readonly wall: number; readonly [field: string]: Value };
type Change = (data: Data) => Data;

/** `event` with other data, and all after it in its stream linked anew, as the program itself would have. */
function rewritten(
  at: number,
  change: Change = (data) => ({ ...data, wall: data.wall + 1 }),
): RecordedEvent[] {
  const changed = events[at] as RecordedEvent;
  let previous: Uint8Array | undefined;
  return events.map((event, index) => {
    if (event.stream !== changed.stream || index < at) return event;
    const before = decodeCanonical(event.data, Number.MAX_SAFE_INTEGER) as Data;
    const data = index === at ? change(before) : before;
    const bytes = encodeCanonical(data, Number.MAX_SAFE_INTEGER);
    previous ??= linkInMetadata(event.metadata)?.previous as Uint8Array;
    const newId = eventId(event, bytes);
    const digest = eventDigest(previous, event, newId, event.type, bytes);
    const metadata = eventMetadata(data as unknown as EventTypes[EventType], previous, digest);
    previous = digest;
    return { ...event, id: newId, data: bytes, metadata };
  });
}

const covered = (event: RecordedEvent) => event.stream !== "audit_log";
const pick = (random: Random, from: (event: RecordedEvent) => boolean = () => true) => {
  const places = events.flatMap((event, at) => (from(event) ? [at] : []));
  return places[upTo(random, places.length - 1)] as number;
};

/** A fault that changes one event where it is. */
const changing =
  (
    what: string,
    change: (event: RecordedEvent, random: Random) => Partial<RecordedEvent>,
    of: (event: RecordedEvent) => boolean = () => true,
  ) =>
  (random: Random): Fault => {
    const at = pick(random, of);
    const event = events[at] as RecordedEvent;
    const changed = { ...event, ...change(event, random) };
    return { what, events: events.with(at, changed), affected: [addressOf(event)] };
  };

const flippedText = (text: string, random: Random) =>
  Buffer.from(flipped(Buffer.from(text, "latin1"), random)).toString("latin1");
const flipData = ({ data }: RecordedEvent, random: Random) => ({ data: flipped(data, random) });

const FAULT_KINDS: readonly ((random: Random) => Fault)[] = [
  changing("a bit of data", flipData),
  changing("a bit of a payload", flipData, ({ stream }) => stream.startsWith("payload_")),
  changing("a bit of metadata", ({ metadata }, random) => ({ metadata: flipped(metadata, random) })),
  changing("a bit of an id", ({ id: old }, random) => ({ id: flippedText(old, random) })),
  changing("a bit of a type", ({ type }, random) => ({ type: flippedText(type, random) })),
  (random) => {
    const at = pick(random);
    const event = events[at] as RecordedEvent;
    return {
      what: "an event removed",
      events: events.toSpliced(at, 1),
      affected: [addressOf(event), ...(event.stream === "audit_log" ? ["audit_log"] : [])],
    };
  },
  (random) => {
    const at = pick(random);
    const event = events[at] as RecordedEvent;
    const to = upTo(random, events.length);
    return {
      what: "an event doubled",
      events: events.toSpliced(to, 0, event),
      // Where it was put in, what belongs there has another place.
      affected: [addressOf(event), ...events.slice(to).filter(covered).slice(0, 1).map(addressOf)],
    };
  },
  (random) => {
    const at = pick(random, covered);
    const event = events[at] as RecordedEvent;
    const rest = events.toSpliced(at, 1);
    // To another place among those that the tree is about, so that the order is another.
    const places = rest.flatMap((other, place) =>
      covered(other) && Math.abs(place - at) > 1 ? [place] : [],
    );
    const to = places[upTo(random, places.length - 1)] as number;
    const moved = rest.toSpliced(to, 0, event);
    const first = events.findIndex((other, place) => other !== moved[place]);
    const coveredFrom = events.slice(first).find(covered) as RecordedEvent;
    return { what: "an event moved", events: moved, affected: [addressOf(event), addressOf(coveredFrom)] };
  },
  (random) => {
    const [one, other] = [pick(random, covered), pick(random, covered)].toSorted((a, b) => a - b) as [
      number,
      number,
    ];
    const [a, b] = [events[one] as RecordedEvent, events[other] as RecordedEvent];
    if (a === b) return { what: "nothing", events: events.toSpliced(one, 1), affected: [addressOf(a)] };
    return { what: "two swapped", events: events.with(one, b).with(other, a), affected: [addressOf(a)] };
  },
  (random) => {
    // The contents change places; revisions stay where they were.
    const [one, other] = [pick(random), pick(random)].toSorted((a, b) => a - b) as [number, number];
    const [a, b] = [events[one] as RecordedEvent, events[other] as RecordedEvent];
    if (a === b)
      return { what: "nothing", events: events.toSpliced(one, 1), affected: [addressOf(a), "audit_log"] };
    const place = ({ stream, revision }: RecordedEvent) => ({ stream, revision });
    return {
      what: "the contents of two swapped",
      events: events.with(one, { ...b, ...place(a) }).with(other, { ...a, ...place(b) }),
      affected: [addressOf(a)],
    };
  },
  (random) => {
    const at = pick(random, covered);
    return {
      what: "one replaced by a well-formed one, its chain made anew",
      events: rewritten(at),
      affected: [addressOf(events[at] as RecordedEvent)],
    };
  },
  (random) => {
    const { stream, revision } = events[pick(random)] as RecordedEvent;
    return {
      what: "a stream cut",
      events: events.filter((event) => event.stream !== stream || event.revision < revision),
      affected: [`${stream}@${revision}`, ...(stream === "audit_log" ? ["audit_log"] : [])],
    };
  },
  (random) => ({
    what: "a log rolled back",
    events: events.slice(0, upTo(random, events.length - 1)),
    affected: ["audit_log"],
  }),
];

test(
  "every fault is found, and the first address that it affects is named",
  async () => {
    const random = seededRandom(2_026);
    for (let fault = 0; fault < FAULTS; fault++) {
      const kind = FAULT_KINDS[fault % FAULT_KINDS.length] as (random: Random) => Fault;
      const { what, events: tampered, affected } = kind(random);
      const report = await audit(tampered);
      const named = firsts(report);
      const seen = JSON.stringify({
        fault,
        what,
        affected,
        named: report.checks.map(({ failures }) => failures[0]),
      });
      expect(report.ok, seen).toBe(false);
      expect(
        named.some((address) => affected.includes(address)),
        seen,
      ).toBe(true);
    }
  },
  TIMEOUT_MS,
);

test("a log whose tree was made anew after the change is not the one that was signed", async () => {
  const at = events.findIndex(({ stream }) => stream.startsWith("source_"));
  const changed = rewritten(at).filter(covered);
  const tree: RecordedEvent[] = [];
  const writing: EventLog = {
    ...arrayLog(id, changed),
    append: async (stream, _expected, appended) => {
      for (const event of appended) {
        tree.push({
          ...event,
          stream,
          revision: tree.length,
          created: 0,
          position: { commit: 0n, prepare: 0n },
        });
      }
      return { revision: tree.length - 1, position: { commit: 0n, prepare: 0n } };
    },
  };
  const sequencer = await Sequencer.open(writing, STILL);
  await sequencer.catchUp();
  await sequencer.keepCheckpoint("forged\n");
  const report = await audit([...changed, ...tree]);
  expect(check(report, "chain")).toMatchObject({ ok: true });
  const [first] = check(report, "checkpoint")?.failures ?? [];
  expect(first).toMatchObject({ code: "NotAsSigned" });
  expect(addressOf(events.find(covered) as RecordedEvent)).toBe(first?.address);
});

describe("a record that was changed, and the chain made anew after it", () => {
  /** The last byte of the record `row` in the only block of the stream's first event. */
  const changed = (stream: string, row: number) => {
    const at = events.findIndex((event) => event.stream === stream);
    return rewritten(at, (data) => {
      const [block] = data["blocks"] as unknown as [{ lengths: Uint8Array; bytes: Uint8Array }];
      const bytes = Uint8Array.from(block.bytes);
      const last =
        decodePlain(block.lengths)
          .slice(0, row + 1)
          .reduce((sum, length) => sum + length, 0) - 1;
      bytes[last] = (bytes[last] as number) ^ 1;
      return { ...data, blocks: [{ ...block, bytes }] };
    });
  };
  test("is found without a checkpoint, at a source", async () => {
    const report = await audit(changed("payload_p.s", 3), []);
    expect(check(report, "chain")).toMatchObject({ ok: true });
    expect(check(report, "payload")).toMatchObject({ failed: 1, failures: [{ address: "source_p.s@3" }] });
  });

  test("is found without a checkpoint, at a segment", async () => {
    const stream = events.find((event) => event.stream.startsWith("payload_p.twice."))?.stream ?? "";
    const report = await audit(changed(stream, 0), []);
    expect(check(report, "chain")).toMatchObject({ ok: true });
    expect(check(report, "payload")?.failures[0]).toMatchObject({
      code: "BadPayload",
      address: expect.stringMatching(/^steps_p\.twice\.000\d@\d+\.0$/),
    });
  });

  test("is looked at in the pipeline that is asked for", async () => {
    const log = arrayLog(id, changed("payload_p.s", 3));
    expect((await auditLog(log, { checkpoints: [], pipeline: "p" })).ok).toBe(false);
    await expect(auditLog(log, { checkpoints: [], pipeline: "q" })).rejects.toMatchObject({
      code: "UnknownPipeline",
    });
  });

  test("is found when it is taken out", async () => {
    const gone = events.filter(({ stream }) => stream !== "payload_p.s");
    expect(check(await audit(gone, []), "payload")?.failures[0]).toMatchObject({ address: "payload_p.s@0" });
  });
});

test(
  "logs of random pipelines that nobody has touched are good, whatever has befallen them",
  async () => {
    let covered = 0;
    await fc.assert(
      fc.asyncProperty(
        pipelineWords,
        inputWords,
        circumstances,
        interruptions,
        mishaps,
        async (words, input, how, befalls, wrong) => {
          const definition = definitionOf(words);
          const inputs = inputsOf(definition, input, true);
          const { log } = await simulate(definition, inputs, { ...how, ...wrong, interruptions: befalls });
          const signed = await sign(log, "now");
          const report = await auditLog(log, { checkpoints: [signed], pipeline: definition.name });
          expect(report.checks.flatMap(({ failures }) => failures)).toEqual([]);
          expect(check(report, "checkpoint")).toMatchObject({ checked: signed.size, unverifiable: 0 });
          covered += check(report, "payload")?.checked ?? 0;
        },
      ),
      { numRuns: LOGS },
    );
    expect(covered).toBeGreaterThan(0);
  },
  Math.max(120_000, LOGS * 2_000),
);
