import { describe, expect } from "vitest";
import { END, formatPosition, parsePosition, START } from "../../../src/core/position.ts";
import type { EventLog, RecordedEvent } from "../../../src/ports/event-log.ts";
import {
  collect,
  event,
  eventRange,
  expectCode,
  type Lacking,
  type Make,
  readTexts,
  scenes,
  textOf,
  texts,
} from "./harness.ts";

export function readTests(make: Make, lacking: Lacking): void {
  const test = scenes(make, lacking);

  describe("reading a stream", () => {
    test("forwards and backwards, from anywhere, up to a limit", async ({ log, stream }) => {
      await log.append(stream("a"), "no-stream", eventRange(0, 10));
      const read = (options: Parameters<EventLog["read"]>[1]) => readTexts(log.read(stream("a"), options));
      expect(await read({})).toEqual(texts(0, 10));
      expect(await read({ from: 4 })).toEqual(texts(4, 10));
      expect(await read({ from: 4, limit: 3 })).toEqual(texts(4, 7));
      expect(await read({ from: 9 })).toEqual(["9"]);
      expect(await read({ from: 10 })).toEqual([]);
      expect(await read({ from: 1000 })).toEqual([]);
      expect(await read({ limit: 0 })).toEqual([]);
      expect(await read({ direction: "backwards" })).toEqual(texts(0, 10).toReversed());
      expect(await read({ direction: "backwards", from: 4 })).toEqual(["4", "3", "2", "1", "0"]);
      expect(await read({ direction: "backwards", from: 4, limit: 2 })).toEqual(["4", "3"]);
      expect(await read({ direction: "backwards", from: 0 })).toEqual(["0"]);
      expect(await read({ direction: "backwards", from: 1000, limit: 1 })).toEqual(["9"]);
      expect(await read({ direction: "backwards", limit: 1 })).toEqual(["9"]);
    });

    test("that is longer than any chunk, with events of all sizes", async ({ log, stream }) => {
      const sizes = Array.from({ length: 60 }, (_, i) => (i % 3 === 0 ? 60_000 : 20));
      for (const [i, size] of sizes.entries()) {
        const events = eventRange(i * 20, i * 20 + 20);
        await log.append(stream("a"), "any", [...events, { ...event(), data: new Uint8Array(size) }]);
      }
      const forwards = await collect(log.read(stream("a")));
      expect(forwards.map(({ revision }) => revision)).toEqual(Array.from({ length: 1260 }, (_, i) => i));
      const backwards = await collect(log.read(stream("a"), { direction: "backwards" }));
      expect(backwards.map(({ id }) => id)).toEqual(forwards.map(({ id }) => id).toReversed());
    });

    test("that does not exist", async ({ log, stream }) => {
      await expectCode(collect(log.read(stream("a"))), "StreamNotFound");
      await expectCode(collect(log.read(stream("a"), { direction: "backwards" })), "StreamNotFound");
    });

    test("of just written events, one at a time", async ({ log, openHandle, stream }) => {
      const other = await openHandle();
      for (let i = 0; i < 50; i++) {
        await (i % 5 === 0 ? other : log).append(stream("a"), "any", [event(String(i))]);
        expect(await readTexts(log.read(stream("a"), { from: i, limit: 1 }))).toEqual([String(i)]);
        expect(await readTexts(other.read(stream("a"), { from: i, limit: 1 }))).toEqual([String(i)]);
      }
    });

    test("can be aborted, and left", async ({ log, stream }) => {
      await log.append(stream("a"), "no-stream", eventRange(0, 100));
      const abort = new AbortController();
      const seen: RecordedEvent[] = [];
      for await (const next of log.read(stream("a"), { signal: abort.signal })) {
        seen.push(next);
        if (seen.length === 3) abort.abort();
      }
      expect(seen).toHaveLength(3);
      for await (const next of log.read(stream("a"))) if (next.revision === 5) break;
      expect(await collect(log.read(stream("a"), { signal: AbortSignal.abort() }))).toEqual([]);
    });
  });

  describe("reading all streams", () => {
    test("gives them in the order of commit", async ({ log, stream, mine }) => {
      const order: string[] = [];
      for (let i = 0; i < 30; i++) {
        const name = stream(`s${(i * 7) % 4}`);
        await log.append(name, "any", [event(String(i))]);
        order.push(`${name} ${i}`);
      }
      const all = await collect(log.readAll({ filter: mine }));
      expect(all.map((next) => `${next.stream} ${textOf(next)}`)).toEqual(order);
    });

    test("starts at a position, inclusive forwards, exclusive backwards", async ({ log, stream, mine }) => {
      for (let i = 0; i < 10; i++) await log.append(stream(`s${i % 2}`), "any", [event(String(i))]);
      const all = await collect(log.readAll({ filter: mine }));
      const read = (options: Parameters<EventLog["readAll"]>[0]) =>
        readTexts(log.readAll({ filter: mine, ...options }));
      for (const [i, { position }] of all.entries()) {
        expect(await read({ from: position })).toEqual(texts(i, 10));
        expect(await read({ from: position, direction: "backwards" })).toEqual(texts(0, i).toReversed());
      }
      const middle = all[5]?.position ?? START;
      expect(await read({ from: middle, limit: 2 })).toEqual(["5", "6"]);
      expect(await read({ from: middle, limit: 2, direction: "backwards" })).toEqual(["4", "3"]);
      expect(await read({ from: START })).toEqual(texts(0, 10));
      expect(await read({ from: START, direction: "backwards" })).toEqual([]);
      expect(await read({ from: END })).toEqual([]);
      expect(await read({ from: END, direction: "backwards" })).toEqual(texts(0, 10).toReversed());
      expect(await read({ limit: 0 })).toEqual([]);
    });

    test("takes positions that were written down", async ({ log, stream, mine }) => {
      await log.append(stream("a"), "any", eventRange(0, 5));
      const all = await collect(log.readAll({ filter: mine }));
      for (const { position } of all) {
        const again = parsePosition(formatPosition(position));
        expect(again).toEqual(position);
        const [first] = await collect(log.readAll({ filter: mine, from: again, limit: 1 }));
        expect(first?.position).toEqual(position);
      }
    });

    test("filters by whole names and by prefixes", async ({ log, stream }) => {
      const names = [
        "steps_a.x.0000",
        "steps_a.y.0000",
        "steps_ab.x.0000",
        "steps_a",
        "payload_a.x.0000",
        "sink_a",
      ];
      for (const name of names) await log.append(stream(name), "any", [event(name)]);
      const through = async (...prefixes: string[]) =>
        await readTexts(log.readAll({ filter: { prefixes: prefixes.map(stream) } }));
      expect(await through("steps_a.")).toEqual(names.slice(0, 2));
      expect(await through("steps_a.y.", "payload_")).toEqual([names[1], names[4]]);
      expect(await through("steps_")).toEqual(names.slice(0, 4));
      expect(await through()).toEqual([]);
      for (const name of names) {
        expect(await readTexts(log.readAll({ filter: { stream: stream(name) } }))).toEqual([name]);
        const backwards = { filter: { stream: stream(name) }, direction: "backwards" } as const;
        expect(await readTexts(log.readAll(backwards))).toEqual([name]);
      }
      expect(await readTexts(log.readAll({ filter: { stream: stream("steps") } }))).toEqual([]);
      await expectCode(collect(log.readAll({ filter: { prefixes: ["steps"] } })), "BadUsage");
    });

    test("finds what a filter lets pass between much that it does not", async ({ log, stream }) => {
      for (let i = 0; i < 12; i++) {
        await log.append(stream("noise"), "any", eventRange(0, 500));
        await log.append(stream("rare.a"), "any", [event(`a${i}`)]);
        if (i % 3 === 0) await log.append(stream("rare.b"), "any", [event(`b${i}`)]);
      }
      const filter = { prefixes: [stream("rare.")] };
      const expected = texts(0, 12).flatMap((i) => (Number(i) % 3 === 0 ? [`a${i}`, `b${i}`] : [`a${i}`]));
      expect(await readTexts(log.readAll({ filter }))).toEqual(expected);
      expect(await readTexts(log.readAll({ filter, direction: "backwards" }))).toEqual(expected.toReversed());
      expect(await readTexts(log.readAll({ filter, limit: 3 }))).toEqual(expected.slice(0, 3));
      const one = { stream: stream("rare.b") };
      expect(await readTexts(log.readAll({ filter: one }))).toEqual(["b0", "b3", "b6", "b9"]);
      const all = await collect(log.readAll({ filter }));
      const from = all[6]?.position ?? START;
      expect(await readTexts(log.readAll({ filter: one, from }))).toEqual(["b6", "b9"]);
      expect(await readTexts(log.readAll({ filter: one, from, direction: "backwards" }))).toEqual([
        "b3",
        "b0",
      ]);
      expect(await readTexts(log.readAll({ filter: one, from, direction: "backwards", limit: 1 }))).toEqual([
        "b3",
      ]);
    });
  });

  describe("what is known of streams", () => {
    test("is counted and dated", async ({ log, stream }) => {
      expect(await log.streamInfo(stream("a"))).toBeUndefined();
      const before = Date.now() - 60_000;
      await log.append(stream("a"), "any", [
        { ...event(), data: new Uint8Array(100), metadata: new Uint8Array(11) },
      ]);
      await log.append(stream("a"), "any", eventRange(0, 2));
      const info = await log.streamInfo(stream("a"));
      expect(info).toMatchObject({
        stream: stream("a"),
        firstRevision: 0,
        lastRevision: 2,
        deleted: false,
        tombstoned: false,
      });
      if (info?.bytes !== undefined) expect(info.bytes).toBe(111 + 2 * (1 + '{"of":"0"}'.length));
      expect(info?.firstCreated).toBeGreaterThan(before);
      expect(info?.lastCreated).toBeGreaterThanOrEqual(info?.firstCreated ?? Number.NaN);
    });

    test(
      "is listed in the order of their names' bytes",
      async ({ log, stream, mine }) => {
        const names = ["b.2", "a", "\u{1F600}", "b.10", "b.1", "\uFF5E", "é"].map(stream);
        for (const name of names) await log.append(name, "any", [event()]);
        const byBytes = names.toSorted((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
        const listed = await collect(log.streams(mine));
        expect(listed.map((info) => info.stream)).toEqual(byBytes);
        const some = await collect(log.streams({ prefixes: [stream("b.")] }));
        expect(some.map((info) => info.stream)).toEqual([stream("b.1"), stream("b.10"), stream("b.2")]);
        expect(await collect(log.streams({ stream: stream("a") }))).toMatchObject([{ stream: stream("a") }]);
      },
      "order-of-names",
    );

    test("includes how much the log holds", async ({ log, stream, mine }) => {
      await log.append(stream("a"), "any", [event()]);
      const before = await log.size();
      const { position } = await log.append(stream("a"), "any", [
        { ...event(), data: new Uint8Array(500_000) },
      ]);
      const after = await log.size();
      expect(after.bytes).toBeGreaterThan(before.bytes);
      expect(after.position).toEqual(position);
      const rest = log.readAll({ filter: mine, from: before.position });
      expect(await collect(rest)).toHaveLength(2);
    });
  });
}
