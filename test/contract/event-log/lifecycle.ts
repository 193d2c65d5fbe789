import { describe, expect } from "vitest";
import { START } from "../../../src/core/position.ts";
import type { RecordedEvent } from "../../../src/ports/event-log.ts";
import {
  collect,
  event,
  eventRange,
  expectCode,
  Follower,
  type Lacking,
  type Make,
  readTexts,
  scenes,
  texts,
} from "./harness.ts";

export function lifecycleTests(make: Make, lacking: Lacking): void {
  const test = scenes(make, lacking);

  describe("closing and opening", () => {
    test(
      "keeps the log's id, and another handle has the same",
      async ({ log, openHandle, reopen }) => {
        const { id } = log;
        expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
        expect((await openHandle()).id).toBe(id);
        expect((await reopen()).id).toBe(id);
      },
      "reopen",
    );

    test(
      "keeps everything",
      async ({ log, reopen, stream, mine }) => {
        await log.append(stream("a"), "any", eventRange(0, 10));
        await log.append(stream("b"), "any", eventRange(10, 12));
        await log.setMetadata(stream("a"), { truncateBefore: 3 });
        await log.append(stream("c"), "any", [event()]);
        await log.delete(stream("c"), "any");
        const before = await collect(log.readAll({ filter: mine }));
        const size = await log.size();
        const infos = await collect(log.streams(mine));
        const again = await reopen();
        expect(await collect(again.readAll({ filter: mine }))).toEqual(before);
        expect((await again.size()).position).toEqual(size.position);
        expect(await collect(again.streams(mine))).toEqual(infos);
        expect(await readTexts(again.read(stream("a")))).toEqual(texts(3, 10));
        await expectCode(collect(again.read(stream("c"))), "StreamNotFound");
        expect((await again.append(stream("a"), 9, [event("10")])).revision).toBe(10);
      },
      "reopen",
    );

    test("finishes appends under way", async ({ log, openHandle, stream }) => {
      const other = await openHandle();
      const appends = eventRange(0, 200).map((next) => log.append(stream("a"), "any", [next]));
      await log.close();
      const answers = await Promise.all(appends);
      expect(answers).toHaveLength(200);
      expect(await readTexts(other.read(stream("a")))).toEqual(texts(0, 200));
    });

    test("ends what is under way and refuses what comes after", async ({ log, openHandle, stream, mine }) => {
      const other = await openHandle();
      await log.append(stream("a"), "any", eventRange(0, 2000));
      const waiting = new Follower((signal) => log.subscribeAll({ stream: stream("b") }, START, { signal }));
      const live = new Follower((signal) => log.subscribe(stream("a"), 0, { signal }));
      await waiting.until(({ caughtUp }) => caughtUp === 1);
      await live.until(({ caughtUp }) => caughtUp === 1);
      const seen: RecordedEvent[] = [];
      const reading = (async () => {
        for await (const next of log.read(stream("a"))) {
          seen.push(next);
          if (seen.length === 5) await log.close();
        }
      })();
      await expectCode(reading, "LogClosed");
      expect(seen).toHaveLength(5);
      expect(await waiting.end()).toMatchObject({ code: "LogClosed" });
      expect(await live.end()).toMatchObject({ code: "LogClosed" });
      await log.close();
      await expectCode(log.append(stream("a"), "any", [event()]), "LogClosed");
      await expectCode(log.appendInOrder([]), "LogClosed");
      await expectCode(collect(log.read(stream("a"))), "LogClosed");
      await expectCode(collect(log.readAll()), "LogClosed");
      await expectCode(collect(log.subscribe(stream("a"), 0)), "LogClosed");
      await expectCode(collect(log.subscribeAll(mine, START)), "LogClosed");
      await expectCode(collect(log.streams()), "LogClosed");
      await expectCode(log.streamInfo(stream("a")), "LogClosed");
      await expectCode(log.getMetadata(stream("a")), "LogClosed");
      await expectCode(log.setMetadata(stream("a"), {}), "LogClosed");
      await expectCode(log.delete(stream("a"), "any"), "LogClosed");
      await expectCode(log.tombstone(stream("a"), "any"), "LogClosed");
      await expectCode(log.scavenge(), "LogClosed");
      await expectCode(log.size(), "LogClosed");
      expect((await other.append(stream("a"), "any", [event()])).revision).toBe(2000);
    });
  });
}
