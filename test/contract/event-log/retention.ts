import { describe, expect } from "vitest";
import {
  collect,
  event,
  eventRange,
  expectCode,
  type Lacking,
  type Make,
  readTexts,
  scenes,
  texts,
} from "./harness.ts";

export function retentionTests(make: Make, lacking: Lacking): void {
  const test = scenes(make, lacking);

  describe("truncation", () => {
    test("hides what is before a revision, but not from readers of all", async ({ log, stream, mine }) => {
      await log.append(stream("a"), "any", eventRange(0, 10));
      await log.setMetadata(stream("a"), { truncateBefore: 4 });
      expect(await readTexts(log.read(stream("a")))).toEqual(texts(4, 10));
      expect(await readTexts(log.read(stream("a"), { from: 2, limit: 2 }))).toEqual(["4", "5"]);
      expect(await readTexts(log.read(stream("a"), { from: 2, limit: 1 }))).toEqual(["4"]);
      expect(await readTexts(log.read(stream("a"), { direction: "backwards", from: 5 }))).toEqual(["5", "4"]);
      expect(await readTexts(log.read(stream("a"), { direction: "backwards", from: 3 }))).toEqual([]);
      expect(await readTexts(log.readAll({ filter: mine }))).toEqual(texts(0, 10));
      expect(await readTexts(log.readAll({ filter: { stream: stream("a") } }))).toEqual(texts(0, 10));
      expect(await log.streamInfo(stream("a"))).toMatchObject({ firstRevision: 4, lastRevision: 9 });
    });

    test("of everything leaves an empty stream that goes on", async ({ log, stream }) => {
      await log.append(stream("a"), "any", eventRange(0, 3));
      await log.setMetadata(stream("a"), { truncateBefore: 3 });
      expect(await readTexts(log.read(stream("a")))).toEqual([]);
      expect(await readTexts(log.read(stream("a"), { direction: "backwards" }))).toEqual([]);
      expect(await log.streamInfo(stream("a"))).toMatchObject({
        firstRevision: 3,
        lastRevision: 2,
        deleted: false,
      });
      await expectCode(log.append(stream("a"), "no-stream", [event()]), "WrongExpectedRevision");
      expect((await log.append(stream("a"), 2, [event("3")])).revision).toBe(3);
      expect(await readTexts(log.read(stream("a")))).toEqual(["3"]);
    });

    test("can be set before the stream is written, and beyond its end", async ({ log, stream }) => {
      await log.setMetadata(stream("a"), { truncateBefore: 2 });
      expect(await log.getMetadata(stream("a"))).toEqual({ truncateBefore: 2 });
      await expectCode(collect(log.read(stream("a"))), "StreamNotFound");
      expect(await log.streamInfo(stream("a"))).toBeUndefined();
      expect((await log.append(stream("a"), "no-stream", eventRange(0, 3))).revision).toBe(2);
      expect(await readTexts(log.read(stream("a")))).toEqual(["2"]);
    });

    test("is seen by other handles at once", async ({ log, openHandle, stream }) => {
      const other = await openHandle();
      await log.append(stream("a"), "any", eventRange(0, 5));
      expect(await readTexts(other.read(stream("a")))).toEqual(texts(0, 5));
      await log.setMetadata(stream("a"), { truncateBefore: 3 });
      expect(await other.getMetadata(stream("a"))).toEqual({ truncateBefore: 3 });
      expect(await readTexts(other.read(stream("a")))).toEqual(texts(3, 5));
      await other.append(stream("a"), 4, [event("5")]);
      expect(await readTexts(log.read(stream("a")))).toEqual(texts(3, 6));
    });
  });

  describe("limits of count and age", () => {
    test("let the last events be read, and the greater bound wins", async ({ log, stream }) => {
      await log.append(stream("a"), "any", eventRange(0, 10));
      await log.setMetadata(stream("a"), { maxCount: 3 });
      expect(await readTexts(log.read(stream("a")))).toEqual(texts(7, 10));
      await log.append(stream("a"), 9, eventRange(10, 12));
      expect(await readTexts(log.read(stream("a")))).toEqual(texts(9, 12));
      await log.setMetadata(stream("a"), { maxCount: 3, truncateBefore: 11 });
      expect(await readTexts(log.read(stream("a")))).toEqual(["11"]);
      expect(await log.getMetadata(stream("a"))).toEqual({ maxCount: 3, truncateBefore: 11 });
      await log.setMetadata(stream("a"), { maxCount: 100, truncateBefore: 11 });
      expect(await readTexts(log.read(stream("a")))).toEqual(["11"]);
    });

    test(
      "let young events be read",
      async ({ log, stream, advance }) => {
        await log.append(stream("a"), "any", eventRange(0, 3));
        await log.setMetadata(stream("a"), { maxAgeSeconds: 60 });
        expect(await readTexts(log.read(stream("a")))).toEqual(texts(0, 3));
        await advance(50_000);
        await log.append(stream("a"), "any", eventRange(3, 5));
        await advance(20_000);
        expect(await readTexts(log.read(stream("a")))).toEqual(texts(3, 5));
        expect(await log.streamInfo(stream("a"))).toMatchObject({ firstRevision: 3, lastRevision: 4 });
        await advance(60_000);
        expect(await readTexts(log.read(stream("a")))).toEqual([]);
      },
      "clock",
    );

    test("that mean nothing are refused", async ({ log, stream }) => {
      await expectCode(log.setMetadata(stream("a"), { truncateBefore: -1 }), "BadUsage");
      await expectCode(log.setMetadata(stream("a"), { maxCount: 0 }), "BadUsage");
      await expectCode(log.setMetadata(stream("a"), { maxAgeSeconds: 0.5 }), "BadUsage");
      expect(await log.getMetadata(stream("a"))).toEqual({});
    });
  });

  describe("deletion", () => {
    test("hides the stream until its next append, which goes on numbering", async ({ log, stream, mine }) => {
      await log.append(stream("a"), "any", eventRange(0, 3));
      await expectCode(log.delete(stream("a"), 1), "WrongExpectedRevision");
      await expectCode(log.delete(stream("a"), "no-stream"), "WrongExpectedRevision");
      await log.delete(stream("a"), 2);
      await expectCode(collect(log.read(stream("a"))), "StreamNotFound");
      expect(await log.streamInfo(stream("a"))).toMatchObject({
        deleted: true,
        lastRevision: 2,
        firstRevision: 3,
      });
      await expectCode(log.append(stream("a"), "stream-exists", [event()]), "WrongExpectedRevision");
      await expectCode(log.append(stream("a"), 1, [event()]), "WrongExpectedRevision");
      const again = eventRange(3, 5);
      const revived = await log.append(stream("a"), "no-stream", again);
      expect(revived.revision).toBe(4);
      expect(await log.append(stream("a"), "no-stream", again)).toEqual(revived);
      expect(await readTexts(log.read(stream("a")))).toEqual(texts(3, 5));
      expect(await log.getMetadata(stream("a"))).toEqual({ truncateBefore: 3 });
      expect(await log.streamInfo(stream("a"))).toMatchObject({
        deleted: false,
        firstRevision: 3,
        lastRevision: 4,
      });
      expect(await readTexts(log.readAll({ filter: mine }))).toEqual(texts(0, 5));
    });

    test("is undone by an append that expects its last revision, or any", async ({ log, stream }) => {
      for (const expected of [1, "any"] as const) {
        const name = stream(`a ${expected}`);
        await log.append(name, "any", eventRange(0, 2));
        await log.delete(name, "stream-exists");
        expect((await log.append(name, expected, [event("2")])).revision).toBe(2);
        expect(await readTexts(log.read(name))).toEqual(["2"]);
      }
    });

    test("of what does not exist is refused", async ({ log, stream }) => {
      await expectCode(log.delete(stream("a"), "any"), "StreamNotFound");
      await expectCode(log.tombstone(stream("a"), "any"), "StreamNotFound");
    });

    test("for ever is for ever", async ({ log, stream }) => {
      const events = eventRange(0, 3);
      await log.append(stream("a"), "no-stream", events);
      await expectCode(log.tombstone(stream("a"), 7), "WrongExpectedRevision");
      await log.tombstone(stream("a"), 2);
      await expectCode(collect(log.read(stream("a"))), "StreamTombstoned");
      await expectCode(log.append(stream("a"), "any", [event()]), "StreamTombstoned");
      await expectCode(log.append(stream("a"), "no-stream", events), "StreamTombstoned");
      await expectCode(log.delete(stream("a"), "any"), "StreamTombstoned");
      await expectCode(log.setMetadata(stream("a"), { truncateBefore: 1 }), "StreamTombstoned");
      expect(await log.streamInfo(stream("a"))).toMatchObject({ tombstoned: true, lastRevision: 2 });
    });
  });

  describe("scavenging", () => {
    test(
      "removes what is not read any more, and nothing else",
      async ({ log, stream, mine }) => {
        await log.append(stream("cut"), "any", eventRange(0, 2500));
        await log.append(stream("whole"), "any", eventRange(0, 3));
        await log.append(stream("deleted"), "any", eventRange(0, 4));
        await log.append(stream("ended"), "any", eventRange(0, 5));
        await log.append(stream("counted"), "any", eventRange(0, 6));
        await log.setMetadata(stream("cut"), { truncateBefore: 2400 });
        await log.setMetadata(stream("counted"), { maxCount: 1 });
        await log.delete(stream("deleted"), "any");
        await log.tombstone(stream("ended"), "any");
        const info = await log.streamInfo(stream("cut"));
        const removed = await log.scavenge();
        if (removed.events !== undefined) expect(removed.events).toBe(2400 + 4 + 5 + 5);
        expect(removed.bytes).toBeGreaterThan(2400);
        const rest = await collect(log.readAll({ filter: mine }));
        expect(rest).toHaveLength(100 + 3 + 1);
        const backwards = await collect(log.readAll({ filter: mine, direction: "backwards" }));
        expect(backwards).toEqual(rest.toReversed());
        expect(await readTexts(log.readAll({ filter: { stream: stream("cut") } }))).toEqual(
          texts(2400, 2500),
        );
        expect(await readTexts(log.read(stream("cut")))).toEqual(texts(2400, 2500));
        expect(await log.streamInfo(stream("cut"))).toEqual(info);
        const again = await log.scavenge();
        expect([again.events ?? 0, again.bytes]).toEqual([0, 0]);
        expect((await log.append(stream("deleted"), "no-stream", [event("4")])).revision).toBe(4);
        expect(await readTexts(log.read(stream("deleted")))).toEqual(["4"]);
        expect((await log.append(stream("cut"), 2499, [event("2500")])).revision).toBe(2500);
      },
      "scavenge",
    );

    test(
      "goes on beside readers and writers",
      async ({ log, openHandle, stream, mine }) => {
        const other = await openHandle();
        const name = stream("a");
        let last = (await log.append(name, "no-stream", eventRange(0, 1000))).revision;
        for (let round = 0; round < 5; round++) {
          await log.setMetadata(name, { truncateBefore: last - 50 });
          const [, events] = await Promise.all([
            other.scavenge(),
            collect(log.read(name)),
            log.append(name, "any", eventRange(last + 1, last + 501)),
          ]);
          last += 500;
          expect(events.map(({ revision }) => revision)).toEqual(
            Array.from({ length: events.length }, (_, i) => (events[0]?.revision ?? 0) + i),
          );
        }
        const all = (await readTexts(log.readAll({ filter: mine }))).map(Number);
        expect(all).toEqual(Array.from({ length: all.length }, (_, i) => last + 1 - all.length + i));
      },
      "scavenge",
    );
  });
}
