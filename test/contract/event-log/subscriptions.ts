import { describe, expect } from "vitest";
import { comparePositions, END, START } from "../../../src/core/position.ts";
import type { EventLog, RecordedEvent } from "../../../src/ports/event-log.ts";
import {
  collect,
  event,
  eventRange,
  expectCode,
  Follower,
  type Lacking,
  type Make,
  scenes,
  texts,
  turn,
} from "./harness.ts";

/** More than any adapter keeps for a reader that does not read. */
const FLOOD = { appends: 260, events: 40 };

export function subscriptionTests(make: Make, lacking: Lacking): void {
  const test = scenes(make, lacking);

  describe("a subscription to a stream", () => {
    test("yields what there is, says that it caught up, and goes on live", async ({ log, stream }) => {
      await log.append(stream("a"), "any", eventRange(0, 700));
      const follower = new Follower((signal) => log.subscribe(stream("a"), 0, { signal }));
      await follower.until(({ caughtUp }) => caughtUp === 1);
      expect(follower.texts()).toEqual(texts(0, 700));
      await log.append(stream("a"), "any", eventRange(700, 710));
      await log.append(stream("b"), "any", eventRange(0, 10));
      await log.append(stream("a"), "any", eventRange(710, 711));
      await follower.untilEvents(711);
      expect(follower.texts()).toEqual(texts(0, 711));
      await follower.stop();
    });

    test("starts at a revision, also one that is not written yet", async ({ log, stream }) => {
      await log.append(stream("a"), "any", eventRange(0, 10));
      const middle = new Follower((signal) => log.subscribe(stream("a"), 7, { signal }));
      const later = new Follower((signal) => log.subscribe(stream("a"), 12, { signal }));
      await Promise.all([middle, later].map((one) => one.until(({ caughtUp }) => caughtUp === 1)));
      await log.append(stream("a"), "any", eventRange(10, 15));
      await Promise.all([middle.untilEvents(8), later.untilEvents(3)]);
      expect(middle.texts()).toEqual(texts(7, 15));
      expect(later.texts()).toEqual(texts(12, 15));
      await Promise.all([middle.stop(), later.stop()]);
      expect(() => log.subscribe(stream("a"), -1)).toThrowError(
        expect.objectContaining({ code: "BadUsage" }),
      );
    });

    test("waits for a stream that does not exist", async ({ log, openHandle, stream }) => {
      const other = await openHandle();
      const followers = [log, other].map(
        (handle) => new Follower((signal) => handle.subscribe(stream("a"), 0, { signal })),
      );
      for (const follower of followers) await follower.until(({ caughtUp }) => caughtUp === 1);
      await log.append(stream("a"), "no-stream", [event("first")]);
      for (const follower of followers) {
        await follower.untilEvents(1);
        expect(follower.texts()).toEqual(["first"]);
        await follower.stop();
      }
    });

    test("does not yield what is truncated, and goes on over a deletion", async ({ log, stream }) => {
      await log.append(stream("a"), "any", eventRange(0, 10));
      await log.setMetadata(stream("a"), { truncateBefore: 6 });
      const follower = new Follower((signal) => log.subscribe(stream("a"), 2, { signal }));
      await follower.until(({ caughtUp }) => caughtUp === 1);
      await log.delete(stream("a"), 9);
      await log.append(stream("a"), "no-stream", eventRange(10, 12));
      await follower.untilEvents(6);
      expect(follower.texts()).toEqual(texts(6, 12));
      await follower.stop();
    });

    test("to a tombstoned stream fails", async ({ log, stream }) => {
      await log.append(stream("a"), "any", [event()]);
      await log.tombstone(stream("a"), "any");
      await expectCode(collect(log.subscribe(stream("a"), 0)), "StreamTombstoned");
    });
  });

  describe("a subscription to several streams", () => {
    test("yields those that its filter lets pass, after a position", async ({ log, stream }) => {
      for (let i = 0; i < 20; i++)
        await log.append(stream(i % 2 === 0 ? "x_a.0" : "x_ab.0"), "any", [event(`${i}`)]);
      const filter = { prefixes: [stream("x_a.")] };
      const all = await collect(log.readAll({ filter }));
      const after = all[4]?.position ?? START;
      const rest = new Follower((signal) => log.subscribeAll(filter, after, { signal }));
      const one = new Follower((signal) => log.subscribeAll({ stream: stream("x_ab.0") }, START, { signal }));
      const now = new Follower((signal) => log.subscribeAll(filter, END, { signal }));
      await Promise.all([rest, one, now].map((each) => each.until(({ caughtUp }) => caughtUp === 1)));
      expect(rest.texts()).toEqual(["10", "12", "14", "16", "18"]);
      expect(now.texts()).toEqual([]);
      await log.append(stream("x_ab.0"), "any", [event("not")]);
      await log.append(stream("x_a.1"), "any", [event("new")]);
      await Promise.all([rest.untilEvents(6), one.untilEvents(11), now.untilEvents(1)]);
      expect(rest.texts().at(-1)).toBe("new");
      expect(one.texts().at(-1)).toBe("not");
      expect(now.texts()).toEqual(["new"]);
      await Promise.all([rest.stop(), one.stop(), now.stop()]);
    });

    test("says how far it is when its filter lets nothing pass", async ({ log, stream }) => {
      const start = (await log.size()).position;
      const follower = new Follower((signal) =>
        log.subscribeAll({ stream: stream("rare") }, start, { signal }),
      );
      await follower.until(({ caughtUp }) => caughtUp === 1);
      for (let i = 0; i < 30; i++) await log.append(stream("noise"), "any", eventRange(0, 100));
      const progress = () => follower.messages.findLast((message) => message.kind === "progress");
      await follower.until(() => progress() !== undefined);
      const position = progress()?.position ?? START;
      expect(comparePositions(start, position)).toBeLessThan(0);
      await follower.stop();
      await log.append(stream("rare"), "any", [event("found")]);
      const next = new Follower((signal) =>
        log.subscribeAll({ stream: stream("rare") }, position, { signal }),
      );
      await next.untilEvents(1);
      expect(next.texts()).toEqual(["found"]);
      await next.stop();
    });

    test("has every event once and in order while several handles write", async ({
      log,
      openHandle,
      stream,
      mine,
    }) => {
      const other = await openHandle();
      const start = (await log.size()).position;
      await log.append(stream("w0"), "any", eventRange(0, 50));
      const followers = [log, other].flatMap((handle) =>
        [0, 1, 2].map(() => new Follower((signal) => handle.subscribeAll(mine, start, { signal }))),
      );
      const ofOne = new Follower((signal) => other.subscribe(stream("w1"), 0, { signal }));
      await Promise.all(
        [0, 1, 2, 3].map(async (w) => {
          for (let i = 0; i < 100; i++) {
            await (w % 2 === 0 ? log : other).append(stream(`w${w}`), "any", eventRange(i * 3, i * 3 + 3));
          }
        }),
      );
      const late = new Follower((signal) => log.subscribeAll(mine, start, { signal }));
      const expected = (await collect(log.readAll({ filter: mine }))).map(identity);
      expect(expected).toHaveLength(1250);
      for (const follower of [...followers, late]) {
        await follower.untilEvents(expected.length);
        expect(follower.events.map(identity)).toEqual(expected);
        await follower.stop();
      }
      await ofOne.untilEvents(300);
      expect(ofOne.texts()).toEqual(texts(0, 300));
      await ofOne.stop();
    });

    test("has them when handles take turns, each writing alone", async ({
      log,
      openHandle,
      stream,
      mine,
    }) => {
      const other = await openHandle();
      const start = (await log.size()).position;
      const followers = [log, other].map(
        (handle) => new Follower((signal) => handle.subscribeAll(mine, start, { signal })),
      );
      for (let i = 0; i < 40; i++) {
        await (i % 2 === 0 ? log : other).append(stream("a"), "any", [event(String(i))]);
        if (i % 8 === 7) await Promise.all(followers.map((follower) => follower.untilEvents(i + 1)));
      }
      for (const follower of followers) {
        await follower.untilEvents(40);
        expect(follower.texts()).toEqual(texts(0, 40));
        await follower.stop();
      }
    });
  });

  describe("a subscriber that does not keep up", () => {
    test("gets everything later, once and in order, and is live again", async ({ log, stream, mine }) => {
      const start = (await log.size()).position;
      let open = () => {};
      const gate = new Promise<void>((resolve) => {
        open = resolve;
      });
      const slow = [
        new Follower(
          (signal) => log.subscribeAll(mine, start, { signal }),
          () => gate,
        ),
        new Follower(
          (signal) => log.subscribe(stream("a"), 0, { signal }),
          () => gate,
        ),
      ];
      const quick = new Follower((signal) => log.subscribeAll(mine, start, { signal }));
      await flood(log, stream("a"));
      const count = FLOOD.appends * FLOOD.events;
      await quick.untilEvents(count);
      open();
      await Promise.all(slow.map((follower) => follower.untilEvents(count)));
      await log.append(stream("a"), "any", [event("live")]);
      await Promise.all([...slow, quick].map((follower) => follower.untilEvents(count + 1)));
      for (const follower of [...slow, quick]) {
        expect(follower.events.map(({ revision }) => revision)).toEqual(
          Array.from({ length: count + 1 }, (_, i) => i),
        );
        await follower.stop();
      }
    });

    test("keeps nobody else waiting, also with another handle's events", async ({
      log,
      openHandle,
      stream,
      mine,
    }) => {
      const other = await openHandle();
      const start = (await log.size()).position;
      let passed = 0;
      const slow = new Follower(
        (signal) => other.subscribeAll(mine, start, { signal }),
        async () => {
          passed += 1;
          for (let i = 0; i < 20; i++) await turn();
        },
      );
      await flood(log, stream("a"));
      const count = FLOOD.appends * FLOOD.events;
      await slow.untilEvents(count);
      expect(passed).toBeGreaterThan(0);
      expect(slow.events.map(({ revision }) => revision)).toEqual(Array.from({ length: count }, (_, i) => i));
      await slow.stop();
    });
  });

  describe("ending a subscription", () => {
    test("by its signal ends it without an error, wherever it is", async ({ log, stream, mine }) => {
      await log.append(stream("a"), "any", eventRange(0, 2000));
      const start = (await log.size()).position;
      const waiting = new Follower((signal) => log.subscribeAll(mine, start, { signal }));
      const reading = new Follower((signal) => log.subscribe(stream("a"), 0, { signal }));
      const never = new Follower((signal) => log.subscribe(stream("b"), 0, { signal }));
      await reading.untilEvents(1);
      await waiting.until(({ caughtUp }) => caughtUp === 1);
      await Promise.all([waiting.stop(), reading.stop(), never.stop()]);
      const aborted = { signal: AbortSignal.abort() };
      expect(await collect(log.subscribe(stream("a"), 0, aborted))).toEqual([]);
      expect(await collect(log.subscribeAll(mine, START, aborted))).toEqual([]);
    });

    test("by leaving the loop lets go of it", async ({ log, stream, mine }) => {
      await log.append(stream("a"), "any", [event("seen")]);
      for await (const message of log.subscribe(stream("a"), 0)) if (message.kind === "events") break;
      for await (const message of log.subscribeAll(mine, START)) if (message.kind === "caught-up") break;
      await log.append(stream("a"), "any", [event("more")]);
      await log.close();
    });
  });
}

async function flood(log: EventLog, stream: string): Promise<void> {
  const appends = Array.from({ length: FLOOD.appends }, (_, i) =>
    log.append(stream, "any", [
      { ...event(), data: new Uint8Array(50_000) },
      ...eventRange(i, i + FLOOD.events - 1),
    ]),
  );
  await Promise.all(appends);
}

function identity({ stream, revision, id }: RecordedEvent): string {
  return `${stream}@${revision} ${id}`;
}
