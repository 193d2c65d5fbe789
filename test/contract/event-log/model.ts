import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { isHeadwaterError } from "../../../src/core/errors.ts";
import type { EventLog, ExpectedRevision, NewEvent } from "../../../src/ports/event-log.ts";
import { collect, event, type Lacking, type Make, type Scene, scenes } from "./harness.ts";

/** Something that is done to one of a few streams. */
type Operation =
  | { readonly kind: "append"; readonly on: number; readonly expected: Expected; readonly count: number }
  | { readonly kind: "repeat"; readonly on: number; readonly at: number; readonly count: number }
  | { readonly kind: "truncate"; readonly on: number; readonly by: number }
  | { readonly kind: "count"; readonly on: number; readonly most: number }
  | { readonly kind: "delete" | "tombstone"; readonly on: number }
  | { readonly kind: "scavenge" };

type Expected = "exact" | "behind" | "ahead" | "no-stream" | "stream-exists" | "any";

/** What the log should hold, as plainly as it can be said. */
interface ModelStream {
  readonly name: string;
  readonly events: NewEvent[];
  first: number;
  maxCount: number | undefined;
  deleted: boolean;
  ended: boolean;
}

const STREAMS = 3;
const on = fc.nat({ max: STREAMS - 1 });
const OPERATION: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      on,
      expected: fc.constantFrom<Expected>(
        "exact",
        "exact",
        "any",
        "behind",
        "ahead",
        "no-stream",
        "stream-exists",
      ),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("repeat" as const),
      on,
      at: fc.nat({ max: 10 }),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("truncate" as const), on, by: fc.nat({ max: 4 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("count" as const), on, most: fc.integer({ min: 1, max: 5 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete" as const), on }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("tombstone" as const), on }) },
  { weight: 1, arbitrary: fc.constant({ kind: "scavenge" as const }) },
);

export function modelTests(make: Make, lacking: Lacking): void {
  const test = scenes(make, lacking);

  describe("any sequence of operations", () => {
    test("leaves what a model of arrays says", async (scene) => {
      const { log, openHandle } = scene;
      const handles = [log, await openHandle()];
      await fc.assert(
        fc.asyncProperty(
          fc.array(OPERATION, { minLength: 1, maxLength: 40 }),
          fc.nat(),
          async (operations, salt) => {
            await runSequence(scene, handles, operations, salt, lacking.scavenge === undefined);
          },
        ),
        { numRuns: 60 },
      );
    });
  });
}

async function runSequence(
  scene: Scene,
  handles: readonly EventLog[],
  operations: readonly Operation[],
  salt: number,
  scavenges: boolean,
): Promise<void> {
  const run = randomUUID().slice(0, 8);
  const streams = Array.from(
    { length: STREAMS },
    (_, i): ModelStream => ({
      name: scene.stream(`${run}.${i}`),
      events: [],
      first: 0,
      maxCount: undefined,
      deleted: false,
      ended: false,
    }),
  );
  const order: { readonly stream: ModelStream; readonly revision: number }[] = [];
  let gone = new Set<string>();
  const id = (stream: ModelStream, revision: number) => stream.events[revision]?.id ?? "";
  for (const [i, operation] of operations.entries()) {
    const log = handles[(i + salt) % handles.length] ?? scene.log;
    if (operation.kind === "scavenge") {
      if (!scavenges) continue;
      await log.scavenge();
      gone = new Set(
        order
          .filter(({ stream, revision }) => revision < firstOf(stream))
          .map((o) => id(o.stream, o.revision)),
      );
      continue;
    }
    const stream = streams[operation.on];
    if (stream === undefined) continue;
    const outcome = await attempt(() => perform(log, stream, operation, order, gone));
    expect([operation, outcome.actual]).toEqual([operation, outcome.expected]);
  }
  const filter = { prefixes: [scene.stream(`${run}.`)] };
  for (const log of handles) {
    for (const stream of streams) await compareStream(log, stream, salt);
    const all = (await collect(log.readAll({ filter }))).map((read) => read.id);
    const expected = order.map((o) => id(o.stream, o.revision)).filter((one) => !gone.has(one));
    expect(all).toEqual(expected);
    const backwards = (await collect(log.readAll({ filter, direction: "backwards" }))).map((read) => read.id);
    expect(backwards).toEqual(expected.toReversed());
  }
}

/** What an operation came to, and what it should have: a revision, nothing, or the code of an error. */
interface Outcome {
  readonly actual: unknown;
  readonly expected: unknown;
}

interface Performed {
  readonly expected: unknown;
  readonly call: () => Promise<unknown>;
}

async function attempt(perform: () => Performed): Promise<Outcome> {
  const { expected, call } = perform();
  try {
    return { actual: await call(), expected };
  } catch (error) {
    if (!isHeadwaterError(error)) throw error;
    return { actual: error.code, expected };
  }
}

/** Changes the model, and says what the log should answer to the same. */
function perform(
  log: EventLog,
  stream: ModelStream,
  operation: Exclude<Operation, { kind: "scavenge" }>,
  order: { stream: ModelStream; revision: number }[],
  gone: ReadonlySet<string>,
): Performed {
  const { name, events } = stream;
  const last = events.length - 1;
  switch (operation.kind) {
    case "append": {
      const offered = Array.from({ length: operation.count }, () => event(randomUUID()));
      const expected = revisionExpected(operation.expected, last);
      const call = async () => (await log.append(name, expected, offered)).revision;
      if (stream.ended) return { expected: "StreamTombstoned", call };
      const exists = events.length > 0 && !stream.deleted;
      const fits =
        expected === "any" ||
        (expected === "no-stream" ? !exists : expected === "stream-exists" ? exists : expected === last);
      if (!fits) return { expected: "WrongExpectedRevision", call };
      for (const one of offered) {
        order.push({ stream, revision: events.length });
        events.push(one);
      }
      stream.deleted = false;
      return { expected: events.length - 1, call };
    }
    case "repeat": {
      const first = Math.max(1, operation.at);
      const offered = events.slice(first, first + operation.count);
      if (offered.length === 0 || first - 1 === last) return NOTHING;
      const call = async () => (await log.append(name, first - 1, offered)).revision;
      if (stream.ended) return { expected: "StreamTombstoned", call };
      // Whether a repeat of something scavenged is found is left open.
      if (offered.some((one) => gone.has(one.id))) return NOTHING;
      return { expected: first + offered.length - 1, call };
    }
    case "truncate": {
      // Never lowered: whether that brings anything back is left open. Nor ahead of a deleted stream: its settings
      // need not be kept.
      const ahead = stream.deleted ? 0 : 2;
      const truncateBefore = Math.max(
        stream.first,
        Math.min(firstOf(stream) + operation.by, events.length + ahead),
      );
      const metadata = {
        truncateBefore,
        ...(stream.maxCount !== undefined && { maxCount: stream.maxCount }),
      };
      const call = () => log.setMetadata(name, metadata);
      if (stream.ended) return { expected: "StreamTombstoned", call };
      stream.first = truncateBefore;
      return { expected: undefined, call };
    }
    case "count": {
      const truncateBefore = stream.first;
      const call = () => log.setMetadata(name, { truncateBefore, maxCount: operation.most });
      if (stream.ended) return { expected: "StreamTombstoned", call };
      // Whether a deleted stream can be given a limit is left open.
      if (stream.deleted && !stream.ended) return NOTHING;
      // A limit that grows does not bring anything back, so that the model need not know what was scavenged.
      if (stream.maxCount !== undefined && operation.most > stream.maxCount) return NOTHING;
      stream.maxCount = operation.most;
      return { expected: undefined, call };
    }
    case "delete":
    case "tombstone": {
      // Whether a stream's limit outlives its deletion is left open.
      const limited = stream.maxCount !== undefined || stream.first > events.length;
      if (operation.kind === "delete" && limited && !stream.ended) return NOTHING;
      const call = () => (operation.kind === "delete" ? log.delete(name, "any") : log.tombstone(name, "any"));
      if (events.length === 0) return { expected: "StreamNotFound", call };
      if (stream.ended) return { expected: "StreamTombstoned", call };
      stream.deleted = true;
      stream.ended = operation.kind === "tombstone";
      stream.first = Math.max(stream.first, events.length);
      return { expected: undefined, call };
    }
  }
}

const NOTHING: Performed = { expected: undefined, call: async () => undefined };

function revisionExpected(expected: Expected, last: number): ExpectedRevision {
  switch (expected) {
    case "exact":
      return last < 0 ? "no-stream" : last;
    case "behind":
      return Math.max(0, last - 1) === last ? "any" : Math.max(0, last - 1);
    case "ahead":
      return last + 1;
    default:
      return expected;
  }
}

function firstOf({ events, first, maxCount, deleted, ended }: ModelStream): number {
  if (deleted || ended) return events.length;
  return Math.min(events.length, Math.max(first, maxCount === undefined ? 0 : events.length - maxCount));
}

async function compareStream(log: EventLog, stream: ModelStream, salt: number): Promise<void> {
  const { name, events } = stream;
  if (events.length === 0 || stream.deleted || stream.ended) {
    const code = stream.ended ? "StreamTombstoned" : "StreamNotFound";
    await expect(collect(log.read(name))).rejects.toMatchObject({ code });
    return;
  }
  const first = firstOf(stream);
  const readable = events.slice(first).map(({ id }, i) => ({ id, revision: first + i }));
  const from = salt % (events.length + 2);
  const limit = 1 + (salt % 4);
  const forwards = await collect(log.read(name));
  expect(forwards.map(({ id, revision }) => ({ id, revision }))).toEqual(readable);
  const some = await collect(log.read(name, { from, limit }));
  expect(some.map(({ id }) => id)).toEqual(
    readable
      .filter(({ revision }) => revision >= from)
      .slice(0, limit)
      .map(({ id }) => id),
  );
  const backwards = await collect(log.read(name, { direction: "backwards", from, limit }));
  expect(backwards.map(({ id }) => id)).toEqual(
    readable
      .filter(({ revision }) => revision <= from)
      .toReversed()
      .slice(0, limit)
      .map(({ id }) => id),
  );
  const info = await log.streamInfo(name);
  expect(info).toMatchObject({ firstRevision: first, lastRevision: events.length - 1, deleted: false });
  if (info?.bytes === undefined) return;
  const bytes = events
    .slice(first)
    .reduce((sum, { data, metadata }) => sum + data.length + metadata.length, 0);
  expect(info.bytes).toBe(bytes);
}
