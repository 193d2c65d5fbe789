import { beforeAll, describe, expect, test } from "vitest";
import { auditLog } from "../../src/app/audit.ts";
import type { AuditReport } from "../../src/app/audit-types.ts";
import { equalBytes } from "../../src/core/digest.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import type { EventType } from "../../src/core/events.ts";
import type { RecordedEvent } from "../../src/ports/event-log.ts";
import { arrayLog } from "../array-log.ts";
import { addressOf, announced, rewritten } from "./faults.ts";
import { placesOf, replacementsOf } from "./field-faults.ts";
import { withoutWarnings } from "./property-runs.ts";
import { type RichLog, richLogs } from "./rich-log.ts";
import { type Random, seededRandom, upTo } from "./virtual-world.ts";

/** How many faults are tried over all types of events: all that there are, if it is more. */
const FAULTS = Number(process.env["HEADWATER_TAMPER_FAULTS"] ?? 180);

/** Every type that an event can have: one that is not here does not compile, and one that no log holds is a failure. */
const TYPES = Object.keys({
  DoorClaimed: true,
  RecordsAccepted: true,
  InputEnded: true,
  PartitionClaimed: true,
  StepsRecorded: true,
  RecordsStored: true,
  SnapshotChunk: true,
  MembersNamed: true,
  EffectsRecorded: true,
  RecordsRejected: true,
  RecordsQuarantined: true,
  RetryAsked: true,
  RecordsDiscarded: true,
  RetriesWithdrawn: true,
  SinkClaimed: true,
  SinkOpened: true,
  OutputsPrepared: true,
  OutputsDelivered: true,
  PipelineDeployed: true,
  RuntimeChanged: true,
  RetentionSet: true,
  RetentionAdvanced: true,
  ReplayAsked: true,
  VerificationBegun: true,
  VerificationProgressed: true,
  CodeChunk: true,
  SupervisorClaimed: true,
  SupervisorReleased: true,
  Heartbeat: true,
  UnitsAssigned: true,
  LeavesSequenced: true,
  CheckpointSigned: true,
} satisfies Record<EventType, true>) as readonly EventType[];

/** Each is tried in two ways. */
const PER_TYPE = Math.ceil(FAULTS / TYPES.length / 2);
const TIMEOUT_MS = Math.max(600_000, PER_TYPE * 500);

/** What of an event has bytes, and the event with others in its place. */
const PARTS: Readonly<
  Record<
    "data" | "metadata" | "id" | "type",
    {
      of(event: RecordedEvent): Uint8Array;
      with(bytes: Uint8Array): Partial<RecordedEvent>;
    }
  >
> = {
  data: { of: ({ data }) => data, with: (data) => ({ data }) },
  metadata: { of: ({ metadata }) => metadata, with: (metadata) => ({ metadata }) },
  id: {
    of: ({ id }) => Buffer.from(id, "latin1"),
    with: (id) => ({ id: Buffer.from(id).toString("latin1") }),
  },
  type: {
    of: ({ type }) => Buffer.from(type, "latin1"),
    with: (type) => ({ type: Buffer.from(type).toString("latin1") }),
  },
};

interface Flip {
  readonly log: RichLog;
  readonly at: number;
  readonly part: keyof typeof PARTS;
  readonly byte: number;
}

let logs: readonly RichLog[] = [];

withoutWarnings();

beforeAll(async () => {
  logs = await richLogs();
});

const audit = ({ id, first, checkpoint }: RichLog, events: readonly RecordedEvent[], signed = true) =>
  auditLog(arrayLog(id, events, first), { checkpoints: signed ? [checkpoint] : [] });
const firsts = (report: AuditReport) =>
  report.checks.flatMap(({ failures }) => failures.slice(0, 1).map(({ address }) => address));

/** So many of `all`, without order; all, if there are no more. */
function some<T>(all: readonly T[], count: number, random: Random): readonly T[] {
  const left = [...all];
  for (let at = 0; at < Math.min(count, left.length); at++) {
    const other = at + upTo(random, left.length - 1 - at);
    [left[at], left[other]] = [left[other] as T, left[at] as T];
  }
  return left.slice(0, count);
}

test("logs in which are events of every type are found to be good", async () => {
  const found = new Set(logs.flatMap(({ events }) => events.map(({ type }) => type)));
  expect(TYPES.filter((type) => !found.has(type))).toEqual([]);
  for (const log of logs) {
    const report = await audit(log, log.events);
    expect(report.checks.flatMap(({ failures }) => failures)).toEqual([]);
  }
});

test("of a stream of which nothing is left it is not known how many records were let go of, and that is said", async () => {
  for (const log of logs) {
    const uncounted = async (rich: RichLog, pipeline?: string) => {
      const options = { checkpoints: [], ...(pipeline !== undefined && { pipeline }) };
      const report = await auditLog(arrayLog(rich.id, rich.events, rich.first), options);
      expect(report.checks.flatMap(({ failures }) => failures)).toEqual([]);
      return report.checks.find(({ name }) => name === "conservation")?.uncounted;
    };
    expect(await uncounted(log)).toBe(undefined);
    for (const stream of ["sink_p.counts", "sink_p.totals"]) {
      const before = (log.events.findLast((event) => event.stream === stream) as RecordedEvent).revision + 1;
      const said = announced(log.events, "p", { stream, before });
      const events = said.filter((event) => event.stream !== stream);
      const cut = { ...log, events, first: new Map([...log.first, [stream, before]]) };
      expect(await uncounted(cut)).toEqual([stream]);
      expect(await uncounted(cut, "p")).toEqual([stream]);
      expect(await uncounted(cut, "q")).toBe(undefined);
    }
  }
});

describe.each(TYPES)("of an event %s", (type) => {
  const ofType = () =>
    logs.flatMap((log) =>
      log.events.flatMap((event, at) => (event.type === type ? [{ log, at, event }] : [])),
    );

  test(
    "a bit turned in any byte is found, where it is",
    async () => {
      const flips = ofType().flatMap(({ log, at, event }): Flip[] =>
        (Object.keys(PARTS) as (keyof typeof PARTS)[]).flatMap((part) =>
          Array.from(PARTS[part].of(event), (_, byte) => ({ log, at, part, byte })),
        ),
      );
      const random = seededRandom(7);
      for (const { log, at, part, byte } of some(flips, PER_TYPE, random)) {
        const event = log.events[at] as RecordedEvent;
        // The lowest bit of a letter in a field's name gives it another name.
        const bit = random() < 0.5 ? 0 : upTo(random, 7);
        const bytes = Uint8Array.from(PARTS[part].of(event));
        bytes[byte] = (bytes[byte] as number) ^ (1 << bit);
        const report = await audit(log, log.events.with(at, { ...event, ...PARTS[part].with(bytes) }));
        expect(firsts(report), `bit ${bit} of byte ${byte} of ${part}`).toContain(addressOf(event));
      }
    },
    TIMEOUT_MS,
  );

  test("data that is not what its type says is found without a checkpoint, though its chain was made anew", async () => {
    const [{ log, at, event }] = ofType() as [ReturnType<typeof ofType>[number]];
    const events = rewritten(log.events, at, (data) => ({ ...data, wall: null as never }));
    const { checks } = await audit(log, events, false);
    // Of what retention says it is told after it, too, what nothing explains any more.
    expect(checks[0]?.failures[0]).toMatchObject({ address: addressOf(event), code: "BadData" });
  });

  test(
    "a field with a value of another type, its chain made anew, ends no audit, and is found where it was signed",
    async () => {
      const faults = ofType().flatMap(({ log, at, event }) =>
        placesOf(event).flatMap((place) =>
          replacementsOf(place).flatMap((replacement) =>
            [false, true].map((signed) => ({ log, at, event, replacement, signed })),
          ),
        ),
      );
      for (const { log, at, event, replacement, signed } of some(faults, PER_TYPE, seededRandom(8))) {
        const events = rewritten(log.events, at, replacement.change);
        if (equalBytes((events[at] as RecordedEvent).data, event.data)) continue;
        // The tree itself is not covered by what it signs.
        const found = signed && event.stream !== "audit_log";
        const report = await audit(log, events, signed).catch((error: unknown) => {
          // What could be a newer program's is not judged by this one, unless it is known not to be.
          if (found || !isHeadwaterError(error, "LogTooNew")) throw error;
        });
        if (found) expect(report && firsts(report), replacement.what).toContain(addressOf(event));
      }
    },
    TIMEOUT_MS,
  );
});
