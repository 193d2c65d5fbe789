import { beforeAll, test } from "vitest";
import { chainAudit } from "../../projections/audit-chain.ts";
import { createMemoryViewStore } from "../../src/adapters/memory/view-store.ts";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { makeEvidence } from "../../src/app/evidence.ts";
import { lineageBack, lineageForward } from "../../src/app/lineage.ts";
import { showStream } from "../../src/app/log.ts";
import { viewOf as viewAt } from "../../src/app/open-at.ts";
import { readChecked } from "../../src/app/read-log.ts";
import { stateInHistory } from "../../src/app/state.ts";
import { beginning, verifyFrom } from "../../src/app/verification.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import type { EventLog, RecordedEvent } from "../../src/ports/event-log.ts";
import { DeploymentHistory } from "../../src/runtime/deployment-history.ts";
import { LineageReader } from "../../src/runtime/lineage-reader.ts";
import { LineageView } from "../../src/runtime/lineage-view.ts";
import { readRefused, refusedOrigin } from "../../src/runtime/quarantine.ts";
import { readDecisions } from "../../src/runtime/retry-requests.ts";
import { searchRecords } from "../../src/runtime/search.ts";
import { arrayLog } from "../array-log.ts";
import { addressOf, rewritten } from "./faults.ts";
import { placesOf, replacementsOf } from "./field-faults.ts";
import { historyOf } from "./fork-runs.ts";
import { withoutWarnings } from "./property-runs.ts";
import { type RichLog, richLogs } from "./rich-log.ts";
import { seededRandom, upTo } from "./virtual-world.ts";

/** How many faults of each kind are tried: each is met by every reader. */
const FAULTS = Math.ceil(Number(process.env["HEADWATER_TAMPER_FAULTS"] ?? 180) / 20);
const TIMEOUT_MS = Math.max(600_000, FAULTS * 5_000);
/** So long may a reader take that takes a few milliseconds. */
const READING_MS = 20_000;
/** Records of each stream that are asked for. */
const ASKED = 1;

const NOTHING_LOADED = {
  bundle: () => Promise.reject(new Error("nothing is bundled in a simulation")),
  load: () => {
    throw new Error("nothing is loaded in a simulation");
  },
};
const OUTSIDE = {
  clock: createSystemClock(),
  bundler: {
    ...NOTHING_LOADED,
    namesOutside: async () => undefined,
    othersIn: async (_: unknown, names: ReadonlySet<string>) => names,
  },
};

let logs: readonly RichLog[] = [];

withoutWarnings();

beforeAll(async () => {
  logs = await richLogs();
});

/** Addresses of a few records of every unit, of refused ones, and of outputs. */
function asked({ events, definition }: RichLog): readonly string[] {
  const found = new Map<string, string[]>();
  for (const event of events) {
    const { type, data } = decodeEvent(event);
    if ((type !== "StepsRecorded" && type !== "RecordsAccepted") || data.count === 0) continue;
    const of = found.get(event.stream) ?? [];
    found.set(event.stream, of);
    of.push(`${event.stream}@${data.first + data.count - 1}${type === "StepsRecorded" ? ".0" : ""}`);
  }
  const outputs = definition.sinks.map(({ name }) => `p/${name}#3`);
  return [
    ...[...found.values()].flatMap((of) => of.slice(-ASKED)),
    ...outputs,
    "retry_p@0",
    "quarantine_p.orders@1",
  ];
}

type Reading = (log: EventLog) => Promise<unknown>;

async function all(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}

/** Everything that reads a log and answers, beside audits. */
function readingsOf(rich: RichLog): Readonly<Record<string, Reading>> {
  const { show, view, ...others } = rawReadingsOf(rich);
  const checked = Object.entries(others).map(([name, read]) => [
    name,
    (log: EventLog) => readChecked(log, read),
  ]);
  return { ...Object.fromEntries(checked), show, view };
}

function rawReadingsOf(
  rich: RichLog,
): Readonly<Record<string, Reading> & { readonly show: Reading; readonly view: Reading }> {
  const addresses = asked(rich);
  const { definition, checkpoint } = rich;
  const viewOf = async (log: EventLog) => {
    const view = await LineageView.open(createMemoryViewStore(), log);
    await view.catchUp();
    return view;
  };
  const each =
    (read: (log: EventLog, record: string) => Promise<unknown>): Reading =>
    async (log) => {
      const errors: unknown[] = [];
      for (const record of addresses) await read(log, record).catch((error) => errors.push(error));
      for (const error of errors) if (!isToldWell(error)) throw error;
    };
  const search = async (log: EventLog, terms: object) => {
    const history = await DeploymentHistory.read(log, NOTHING_LOADED, "p");
    const reader = new LineageReader(log, NOTHING_LOADED);
    const view = "id" in terms ? await viewOf(log) : undefined;
    if (history !== undefined) await all(searchRecords({ log, reader, history, view }, terms));
  };
  return {
    "lineage back": each((log, record) => lineageBack(OUTSIDE, log, { record })),
    "lineage forward": async (log) => {
      const view = await viewOf(log);
      await each((_, record) => lineageForward(OUTSIDE, log, view, { record }))(log);
    },
    evidence: each((log, record) =>
      makeEvidence(
        { log, bundler: NOTHING_LOADED, note: "", checkpoint: { origin: "", ...checkpoint }, from: "here" },
        record,
      ),
    ),
    "search by time and node": (log) => search(log, { node: "node-1", times: { from: 0, to: 20_000 } }),
    "search by id": (log) => search(log, { id: "12" }),
    "search at a stage": (log) => search(log, { at: "priced" }),
    state: async (log) => {
      for (const stage of ["total", "counted", "joined"]) {
        const history = await historyOf(log, "p", definition);
        const withIdentity: typeof history.withIdentity = (...of) => ({
          ...history.withIdentity(...of),
          code: new Uint8Array(0),
        });
        const known = { ...history, withIdentity } as unknown as DeploymentHistory;
        const { entries } = await stateInHistory(OUTSIDE.clock, log, known, { stage });
        for (const _ of entries);
      }
    },
    replay: (log) => verify(log, definition),
    quarantine: async (log) => {
      await readDecisions(log, "p");
      for await (const refused of readRefused(log, "p")) await refusedOrigin(log, refused);
    },
    // It checks what it reads itself.
    view: async (log) => {
      const view = await viewAt(OUTSIDE, log, "p", { ordinal: 25 });
      for (const forward of [false, true]) {
        for (const record of addresses.slice(0, 3)) await view.lineage(record, { forward }).catch(mustBeTold);
      }
      await view.state("total").catch(mustBeTold);
      await view.project(chainAudit);
      await view.audit();
    },
    show: async (log) => {
      for await (const { stream } of log.streams()) await all(showStream(log, stream));
    },
  };
}

async function verify(log: EventLog, definition: PipelineDefinition): Promise<void> {
  const history = await historyOf(log, "p", definition);
  await verifyFrom(beginning(history), {
    surroundings: OUTSIDE,
    ...{ log, history, window: { from: 0, to: Number.MAX_SAFE_INTEGER } },
    ...{ only: undefined, selection: undefined, records: 0, rate: undefined },
    signal: new AbortController().signal,
  });
}

/** Whether an error says what is wrong, and, of what is stored, where. */
function isToldWell(error: unknown): boolean {
  if (!isHeadwaterError(error) || error.code === "Internal") return false;
  return error.code !== "LogDamaged" || (error.where !== undefined && error.where !== "");
}

function mustBeTold(error: unknown): void {
  if (!isToldWell(error)) throw error;
}

class Endless extends Error {}

function withinTime(reading: Promise<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Endless("it comes to no end")), READING_MS);
  });
  return Promise.race([reading, over]).finally(() => clearTimeout(timer));
}

async function expectTold(rich: RichLog, events: readonly RecordedEvent[], what: string): Promise<void> {
  for (const [name, read] of Object.entries(readingsOf(rich))) {
    try {
      await withinTime(read(arrayLog(rich.id, events, rich.first)));
    } catch (error) {
      if (isToldWell(error)) continue;
      throw new Error(`${name}, ${what}`, { cause: error });
    }
  }
}

test("a log that nobody has touched is read by all", async () => {
  for (const rich of logs) {
    for (const read of Object.values(readingsOf(rich)))
      await read(arrayLog(rich.id, rich.events, rich.first));
  }
});

test(
  "a bit turned in any byte makes no reader end without saying what is wrong",
  async () => {
    const random = seededRandom(17);
    for (let fault = 0; fault < FAULTS; fault++) {
      const rich = logs[fault % logs.length] as RichLog;
      const at = upTo(random, rich.events.length - 1);
      const event = rich.events[at] as RecordedEvent;
      const data = Uint8Array.from(event.data);
      const byte = upTo(random, data.length - 1);
      const bit = random() < 0.5 ? 0 : upTo(random, 7);
      data[byte] = (data[byte] as number) ^ (1 << bit);
      await expectTold(
        rich,
        rich.events.with(at, { ...event, data }),
        `bit ${bit} of byte ${byte} of ${addressOf(event)}`,
      );
    }
  },
  TIMEOUT_MS,
);

test(
  "a field with a value of another type, its chain made anew, does neither",
  async () => {
    const random = seededRandom(18);
    for (let fault = 0; fault < FAULTS; fault++) {
      const rich = logs[fault % logs.length] as RichLog;
      const at = upTo(random, rich.events.length - 1);
      const event = rich.events[at] as RecordedEvent;
      const replacements = placesOf(event).flatMap(replacementsOf);
      const { change, what } = replacements[
        upTo(random, replacements.length - 1)
      ] as (typeof replacements)[0];
      await expectTold(rich, rewritten(rich.events, at, change), `${what} in ${addressOf(event)}`);
    }
  },
  TIMEOUT_MS,
);
