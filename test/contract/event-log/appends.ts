import { randomBytes, randomUUID } from "node:crypto";
import { describe, expect } from "vitest";
import { isHeadwaterError } from "../../../src/core/errors.ts";
import { LIMITS } from "../../../src/core/limits.ts";
import { comparePositions } from "../../../src/core/position.ts";
import type { ExpectedRevision } from "../../../src/ports/event-log.ts";
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

export function appendTests(make: Make, lacking: Lacking): void {
  const test = scenes(make, lacking);

  describe("appending", () => {
    test("answers the revision and position of the last event", async ({ log, stream }) => {
      const first = await log.append(stream("a"), "no-stream", eventRange(0, 3));
      expect(first.revision).toBe(2);
      const second = await log.append(stream("a"), 2, eventRange(3, 4));
      expect(second.revision).toBe(3);
      expect(comparePositions(first.position, second.position)).toBeLessThan(0);
      const events = await collect(log.read(stream("a")));
      expect(events.map(({ revision }) => revision)).toEqual([0, 1, 2, 3]);
      expect(events.at(2)?.position).toEqual(first.position);
      expect(events.at(3)?.position).toEqual(second.position);
    });

    test("gives back what was offered, byte for byte", async ({ log, stream }) => {
      const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
      const offered = [
        { id: randomUUID(), type: "Every.Byte-1", data: everyByte, metadata: everyByte.toReversed() },
        { id: randomUUID(), type: "Empty", data: new Uint8Array(0), metadata: new Uint8Array(0) },
        { id: randomUUID(), type: "Big", data: randomBytes(300_000), metadata: randomBytes(70_000) },
      ];
      await log.append(stream("a"), "no-stream", offered);
      const events = await collect(log.read(stream("a")));
      expect(events).toHaveLength(3);
      for (const [i, { id, type, data, metadata }] of offered.entries()) {
        const event = events[i];
        expect(event).toMatchObject({ id, type, stream: stream("a"), revision: i });
        expect(Buffer.compare(event?.data ?? everyByte, data)).toBe(0);
        expect(Buffer.compare(event?.metadata ?? everyByte, metadata)).toBe(0);
        expect(event?.created).toBeGreaterThan(0);
      }
    });

    test("keeps what it gave back when more is read and written", async ({ log, stream }) => {
      await log.append(stream("a"), "no-stream", eventRange(0, 50));
      const [first] = await collect(log.read(stream("a"), { limit: 1 }));
      const copy = Buffer.from(first?.data ?? []);
      await log.append(stream("a"), "any", eventRange(50, 100));
      await collect(log.read(stream("a")));
      expect(Buffer.compare(first?.data ?? new Uint8Array(1), copy)).toBe(0);
    });

    test("does not see what the caller later writes into its own buffer", async ({ log, stream }) => {
      const data = new Uint8Array(100_000).fill(7);
      await log.append(stream("a"), "any", [{ ...event(), data }]);
      data.fill(9);
      const [read] = await collect(log.read(stream("a")));
      expect(read?.data.every((byte) => byte === 7)).toBe(true);
    });

    test("takes types and stream names with unusual characters", async ({ log, stream }) => {
      const names = ["ä ö", "日本", "a/b\\c", "😀", "'\"%00", "~.x", "UPPER", `${"n".repeat(200)}`].map(
        stream,
      );
      for (const name of names)
        await log.append(name, "no-stream", [{ ...event(name), type: "Größe 😀/\\\"'" }]);
      for (const name of names) {
        const events = await collect(log.read(name));
        expect(events).toMatchObject([{ stream: name, type: "Größe 😀/\\\"'" }]);
      }
    });

    test("refuses an append without events, and what is not an event", async ({ log, stream }) => {
      await expectCode(log.append(stream("a"), "any", []), "BadUsage");
      await expectCode(log.append(stream("a"), "any", [event("x", "not-a-uuid" as never)]), "BadUsage");
      await expectCode(log.append(stream("a"), "any", [{ ...event(), type: "" }]), "BadUsage");
      await expectCode(log.append(stream("a"), -1, [event()]), "BadUsage");
      await expectCode(log.append(stream("a"), 0.5, [event()]), "BadUsage");
      await expectCode(log.append("", "any", [event()]), "BadName");
      await expectCode(log.append("$mine", "any", [event()]), "BadName");
      await expectCode(log.append("half \ud800", "any", [event()]), "BadName");
      await expectCode(collect(log.read(stream("a"))), "StreamNotFound");
    });

    test("takes as much as an append may have, and refuses more", async ({ log, stream }) => {
      const { type } = event();
      const data = new Uint8Array(LIMITS.appendBytes / 2 - 2 * type.length);
      const metadata = new Uint8Array(0);
      const half = () => ({ ...event(), type, data, metadata });
      await log.append(stream("a"), "no-stream", [half(), half()]);
      const tooMuch = [half(), { ...half(), metadata: new Uint8Array(1) }];
      await expectCode(log.append(stream("a"), 1, tooMuch), "AppendTooLarge");
      expect((await collect(log.read(stream("a")))).length).toBe(2);
    });

    test("takes as many events as an append may have, and refuses more", async ({ log, stream }) => {
      const many = Array.from({ length: LIMITS.appendEvents }, () => event());
      const last = LIMITS.appendEvents - 1;
      expect((await log.append(stream("a"), "no-stream", many)).revision).toBe(last);
      await expectCode(log.append(stream("a"), last, [...many, event()]), "AppendTooLarge");
      expect((await log.streamInfo(stream("a")))?.lastRevision).toBe(last);
    });
  });

  describe("expected revisions", () => {
    const refused = async (
      append: (expected: ExpectedRevision) => Promise<unknown>,
      ...all: readonly ExpectedRevision[]
    ) => {
      for (const expected of all) await expectCode(append(expected), "WrongExpectedRevision");
    };

    test("of a stream that was never written", async ({ log, stream }) => {
      const append = (expected: ExpectedRevision) => log.append(stream("a"), expected, [event()]);
      await refused(append, 0, 5, "stream-exists");
      await append("no-stream");
      await log.append(stream("b"), "any", [event()]);
      expect(await readTexts(log.read(stream("b")))).toEqual(["data"]);
    });

    test("of a stream that was", async ({ log, stream }) => {
      await log.append(stream("a"), "any", eventRange(0, 3));
      const append = (expected: ExpectedRevision) => log.append(stream("a"), expected, [event("more")]);
      await refused(append, 0, 1, 3, 100, "no-stream");
      expect((await append(2)).revision).toBe(3);
      expect((await append("stream-exists")).revision).toBe(4);
      expect((await append("any")).revision).toBe(5);
    });

    test("let exactly one of two racing writers win, every time", async ({ log, openHandle, stream }) => {
      const other = await openHandle();
      for (let round = 0; round < 200; round++) {
        const expected = round === 0 ? "no-stream" : round - 1;
        const outcomes = await Promise.allSettled([
          log.append(stream("a"), expected, [event(`one ${round}`)]),
          other.append(stream("a"), expected, [event(`other ${round}`)]),
        ]);
        const lost = outcomes.filter(({ status }) => status === "rejected");
        expect(lost).toHaveLength(1);
        expect(lost[0]).toMatchObject({ reason: { code: "WrongExpectedRevision" } });
      }
      expect(await collect(log.read(stream("a")))).toHaveLength(200);
    });
  });

  describe("a repeated append", () => {
    test("answers as the first did, and writes nothing", async ({ log, stream }) => {
      const events = eventRange(0, 3);
      const first = await log.append(stream("a"), "no-stream", events);
      expect(await log.append(stream("a"), "no-stream", events)).toEqual(first);
      const more = [event("3"), event("4")];
      const second = await log.append(stream("a"), 2, more);
      await log.append(stream("b"), "any", [event()]);
      expect(await log.append(stream("a"), 2, more)).toEqual(second);
      expect(await log.append(stream("a"), "no-stream", events)).toEqual(first);
      expect(await readTexts(log.read(stream("a")))).toEqual(texts(0, 5));
    });

    test("is found for single events in the middle", async ({ log, stream }) => {
      const events = eventRange(0, 5);
      await log.append(stream("a"), "no-stream", events);
      for (const [i, repeated] of events.entries()) {
        const answer = await log.append(stream("a"), i === 0 ? "no-stream" : i - 1, [repeated]);
        expect(answer.revision).toBe(i);
      }
      expect(await collect(log.read(stream("a")))).toHaveLength(5);
    });

    test("from another handle is found, too", async ({ log, openHandle, stream }) => {
      const events = eventRange(0, 2);
      const first = await log.append(stream("a"), "no-stream", events);
      const other = await openHandle();
      expect(await other.append(stream("a"), "no-stream", events)).toEqual(first);
    });

    test("that only overlaps is a conflict", async ({ log, stream }) => {
      const events = eventRange(0, 3);
      const append = (expected: ExpectedRevision, from: number, to: number, more = 0) =>
        log.append(stream("a"), expected, [...events.slice(from, to), ...eventRange(0, more)]);
      await append("no-stream", 0, 3);
      await expectCode(append("no-stream", 0, 3, 1), "WrongExpectedRevision");
      await expectCode(append("no-stream", 1, 3), "WrongExpectedRevision");
      await expectCode(append(0, 0, 2), "WrongExpectedRevision");
      await expectCode(append(1, 1, 3), "WrongExpectedRevision");
      await expectCode(append(0, 1, 2, 1), "WrongExpectedRevision");
      expect(await collect(log.read(stream("a")))).toHaveLength(3);
    });
  });

  describe("several appends", () => {
    test("of one call are made in order, each seen by the next", async ({ log, stream }) => {
      const made = await log.appendInOrder([
        { stream: stream("payload"), expected: "no-stream", events: eventRange(0, 2) },
        { stream: stream("steps"), expected: "no-stream", events: eventRange(2, 3) },
        { stream: stream("steps"), expected: 0, events: eventRange(3, 4) },
      ]);
      expect(made.map(({ revision }) => revision)).toEqual([1, 0, 1]);
      for (const [i, { position }] of made.entries()) {
        const before = made[i - 1];
        if (before !== undefined) expect(comparePositions(before.position, position)).toBeLessThan(0);
      }
      expect(await log.appendInOrder([])).toEqual([]);
    });

    test("of one call stop at the first that fails", async ({ log, stream }) => {
      const appends = [
        { stream: stream("a"), expected: "no-stream", events: eventRange(0, 2) },
        { stream: stream("b"), expected: 7, events: eventRange(2, 3) },
        { stream: stream("c"), expected: "no-stream", events: eventRange(3, 4) },
      ] as const;
      await expectCode(log.appendInOrder(appends), "WrongExpectedRevision");
      expect(await readTexts(log.read(stream("a")))).toEqual(texts(0, 2));
      await expectCode(collect(log.read(stream("b"))), "StreamNotFound");
      await expectCode(collect(log.read(stream("c"))), "StreamNotFound");
    });

    test("in flight at once to one stream are made in the order of the calls", async ({ log, stream }) => {
      const calls = eventRange(0, 300).map((next) => log.append(stream("a"), "any", [next]));
      const answers = await Promise.all(calls);
      expect(answers.map(({ revision }) => revision)).toEqual(answers.map((_, i) => i));
      expect(await readTexts(log.read(stream("a")))).toEqual(texts(0, 300));
    });

    test("are all or nothing, each by itself, however many run", async ({
      log,
      openHandle,
      stream,
      mine,
    }) => {
      const other = await openHandle();
      const writers = Array.from({ length: 8 }, async (_, w) => {
        const handle = w % 2 === 0 ? log : other;
        let made = 0;
        for (let i = 0; i < 25; i++) {
          try {
            await handle.append(stream("a"), "any", eventRange(w * 1000 + i * 3, w * 1000 + i * 3 + 3));
            await handle.append(stream(`own.${w}`), made === 0 ? "no-stream" : made - 1, [event()]);
            made += 1;
            await handle.append(stream("a"), 1, [event("never")]);
          } catch (error) {
            if (!isHeadwaterError(error, "WrongExpectedRevision")) throw error;
          }
        }
      });
      await Promise.all(writers);
      const numbers = (await readTexts(log.read(stream("a")))).map(Number);
      expect(numbers).toHaveLength(600);
      for (let i = 0; i < numbers.length; i += 3) {
        expect(numbers.slice(i, i + 3).map((n) => n - (numbers[i] ?? 0))).toEqual([0, 1, 2]);
      }
      const positions = (await collect(log.readAll({ filter: mine }))).map(({ position }) => position);
      expect(positions).toHaveLength(800);
      for (const [i, position] of positions.entries()) {
        const before = positions[i - 1];
        if (before !== undefined) expect(comparePositions(before, position)).toBeLessThan(0);
      }
    });
  });
}
