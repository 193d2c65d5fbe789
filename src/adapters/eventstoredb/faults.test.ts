import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  collect,
  event,
  eventRange,
  expectCode,
  Follower,
  readTexts,
  texts,
} from "../../../test/contract/event-log/harness.ts";
import type { AppendFault } from "../../../test/esdb-server/faults.ts";
import { esdbTests, eventually } from "../../../test/esdb-server/harness.ts";
import type { TestServer } from "../../../test/esdb-server/server.ts";
import { START } from "../../core/position.ts";
import type { EventLog } from "../../ports/event-log.ts";
import { createSystemClock } from "../system/clock.ts";
import { BOUNDS } from "./bounds.ts";

const { startServer, open, hurrying } = esdbTests();

/** Makes the first append to a stream of ours go wrong, and no other. */
function failOnce(server: TestServer, fault: AppendFault): void {
  server.faults.onAppend = () => {
    server.faults.onAppend = () => undefined;
    return fault;
  };
}

const OUTCOMES_UNKNOWN = [
  "lose",
  "lose-answer",
  "reset",
  "reset-after",
  "break",
  "break-after",
  "timeout",
  "timeout-after",
  "busy",
] as const satisfies readonly AppendFault[];

describe("an append that goes wrong", () => {
  for (const fault of OUTCOMES_UNKNOWN) {
    test(`${fault}: is made once, and answered`, async () => {
      const server = await startServer();
      const log = await open(server.url);
      await log.append("a", "no-stream", [event("0")]);
      failOnce(server, fault);
      const made = await log.append("a", 0, eventRange(1, 4));
      expect(made.revision).toBe(3);
      const events = await collect(log.read("a"));
      expect(events.map(({ revision }) => revision)).toEqual([0, 1, 2, 3]);
      expect(events[3]?.position).toEqual(made.position);
      failOnce(server, fault);
      expect((await log.append("a", "any", [event("4")])).revision).toBe(4);
      failOnce(server, fault);
      expect((await log.append("b", "no-stream", [event("0")])).revision).toBe(0);
      expect(await readTexts(log.read("a"))).toEqual(texts(0, 5));
      expect(await readTexts(log.read("b"))).toEqual(["0"]);
    });

    test(`${fault}: never lets a second writer in between`, async () => {
      const server = await startServer();
      const [one, other] = [await open(server.url), await open(server.url)];
      await one.append("a", "no-stream", [event("0")]);
      failOnce(server, fault);
      const outcomes = await Promise.allSettled([
        one.append("a", 0, [event("one")]),
        other.append("a", 0, [event("other")]),
      ]);
      expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      expect(await collect(one.read("a"))).toHaveLength(2);
    });
  }

  test("is not tried for ever: the log is unavailable then", async () => {
    const server = await startServer();
    const log = await open(server.url);
    server.faults.onAppend = () => "timeout";
    const failed = log.append("a", "any", [event()]);
    await expect(failed).rejects.toMatchObject({
      code: "LogUnavailable",
      hint: expect.stringContaining("Try again"),
    });
  });
});

describe("whatever happens to appends, connections and subscriptions", () => {
  test("what was acknowledged is there once and in order, and followers have seen it once and in order", async () => {
    const faults = fc.oneof(
      { weight: 3, arbitrary: fc.constant<AppendFault | undefined>(undefined) },
      { weight: 8, arbitrary: fc.constantFrom(...OUTCOMES_UNKNOWN.slice(2)) },
      // Each takes until the deadline.
      { weight: 1, arbitrary: fc.constantFrom(...OUTCOMES_UNKNOWN.slice(0, 2)) },
    );
    const accident = fc.constantFrom("none", "none", "reset", "drop", "end", "read");
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(faults, accident), { minLength: 5, maxLength: 30 }),
        async (script) => {
          const server = await startServer();
          const log = await open(server.url);
          const other = await open(server.url);
          const followers = followAll([log, other]);
          let step = 0;
          server.faults.onAppend = () => script[step++]?.[0];
          await Promise.all(
            ["w.a", "w.b", "w.c"].map((stream, w) =>
              write(w === 1 ? other : log, stream, script, (accident) => cause(server, accident)),
            ),
          );
          server.faults.onAppend = () => undefined;
          server.faults.onRead = () => undefined;
          const all = (await collect(log.readAll())).map(({ stream, revision }) => `${stream}@${revision}`);
          expect(all).toHaveLength(3 * script.length);
          for (const stream of ["w.a", "w.b", "w.c"]) {
            expect(await readTexts(log.read(stream))).toEqual(texts(0, script.length));
          }
          for (const follower of followers.ofAll) {
            await follower.untilEvents(all.length);
            expect(follower.events.map(({ stream, revision }) => `${stream}@${revision}`)).toEqual(all);
            await follower.stop();
          }
          for (const follower of followers.ofOne) {
            await follower.untilEvents(script.length);
            expect(follower.texts()).toEqual(texts(0, script.length));
            await follower.stop();
          }
        },
      ),
      { numRuns: 10 },
    );
  });
});

function followAll(logs: readonly EventLog[]) {
  return {
    ofAll: logs.map(
      (log) => new Follower((signal) => log.subscribeAll({ prefixes: ["w."] }, START, { signal })),
    ),
    ofOne: logs.map((log) => new Follower((signal) => log.subscribe("w.b", 0, { signal }))),
  };
}

/** Appends one event after the other, with exact revisions. */
async function write(
  log: EventLog,
  stream: string,
  script: readonly (readonly [unknown, string])[],
  cause: (accident: string) => void,
): Promise<void> {
  for (const [i, [, accident]] of script.entries()) {
    const made = log.append(stream, i === 0 ? "no-stream" : i - 1, [event(String(i))]);
    cause(accident);
    expect((await made).revision).toBe(i);
  }
}

function cause(server: TestServer, accident: string): void {
  if (accident === "reset") server.network.reset();
  if (accident === "drop") server.dropSubscriptions("error");
  if (accident === "end") server.dropSubscriptions("end");
  if (accident !== "read") return;
  server.faults.onRead = () => {
    server.faults.onRead = () => undefined;
    return { after: 1, how: "break" };
  };
}

describe("a server that does not answer", () => {
  test("gets another connection after the deadline, and the appends again", async () => {
    const server = await startServer();
    const log = await open(server.url);
    await log.append("a", "no-stream", [event("0")]);
    const before = server.network.connections;
    server.network.freeze();
    const made = Promise.all([log.append("a", 0, [event("1")]), log.append("b", "any", [event("0")])]);
    await eventually(() => server.network.connections > before);
    server.network.thaw();
    expect((await made).map(({ revision }) => revision)).toEqual([1, 0]);
    expect(await readTexts(log.read("a"))).toEqual(["0", "1"]);
  });

  test("is waited for when it is down, and gets what came meanwhile when it is back", async () => {
    const server = await startServer();
    const log = await open(server.url);
    await log.append("a", "no-stream", [event("0")]);
    const follower = new Follower((signal) => log.subscribe("a", 0, { signal }));
    await follower.until(({ caughtUp }) => caughtUp === 1);
    await server.network.close();
    const made = log.append("a", 0, eventRange(1, 3));
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 50);
    });
    await server.network.open();
    expect((await made).revision).toBe(2);
    await follower.untilEvents(3);
    expect(follower.texts()).toEqual(texts(0, 3));
    await follower.stop();
  });

  test("when it stays away, makes reads and appends fail with what to do", async () => {
    const server = await startServer();
    const log = await open(server.url);
    await server.network.close();
    await expect(log.append("a", "any", [event()])).rejects.toMatchObject({
      code: "LogUnavailable",
      hint: expect.stringContaining("address"),
    });
    await expectCode(collect(log.read("a")), "LogUnavailable");
    await expectCode(log.size(), "LogUnavailable");
    await expectCode(collect(log.readAll()), "LogUnavailable");
  });

  test("holds so many appends at most; the others wait, and all are made in the end", async () => {
    const server = await startServer();
    // An answer that is late by a clock that hurries would be asked for again, and be held twice.
    const log = await open(server.url, { clock: createSystemClock() });
    server.faults.onAppend = () => "hold-answer";
    const count = BOUNDS.appendsInFlight * 2;
    const made = Promise.all(
      Array.from({ length: count }, (_, i) => log.append(`s.${i}`, "no-stream", [event()])),
    );
    await eventually(() => server.held === BOUNDS.appendsInFlight);
    server.faults.onAppend = () => undefined;
    server.release();
    expect(await made).toHaveLength(count);
    expect(await collect(log.readAll())).toHaveLength(count);
  });

  test("holds so many bytes of appends at most", async () => {
    const server = await startServer();
    const log = await open(server.url, { clock: createSystemClock() });
    server.faults.onAppend = () => "hold-answer";
    const data = new Uint8Array(1_000_000);
    const fit = Math.ceil(BOUNDS.appendBytesInFlight / data.length);
    const made = Promise.all(
      Array.from({ length: fit + 5 }, (_, i) => log.append(`s.${i}`, "no-stream", [{ ...event(), data }])),
    );
    await eventually(() => server.held === fit);
    server.faults.onAppend = () => undefined;
    server.release();
    expect(await made).toHaveLength(fit + 5);
  });
});

describe("a server that holds appends back for half a minute", () => {
  for (const fault of ["lose", "lose-answer"] as const) {
    test(`${fault}: has all of them once in the end, and never more at once than may be`, async () => {
      const server = await startServer();
      const log = await open(server.url);
      const until = hurrying.monotonic() + 30_000;
      let most = 0;
      const waiting = new Map<string, number>();
      server.faults.onAppend = (stream) => {
        if (hurrying.monotonic() > until) return undefined;
        waiting.set(stream, (waiting.get(stream) ?? 0) + 1);
        most = Math.max(most, waiting.size);
        return fault;
      };
      const count = BOUNDS.appendsInFlight + 100;
      const writers = Array.from({ length: count }, async (_, w) => {
        for (let i = 0; i < 3; i++) {
          await log.append(`w.${w}`, i === 0 ? "no-stream" : i - 1, [event(String(i))]);
        }
      });
      await Promise.all(writers);
      expect(most).toBe(BOUNDS.appendsInFlight);
      expect(await collect(log.readAll())).toHaveLength(count * 3);
    });
  }
});

describe("a read that breaks off", () => {
  for (const how of ["break", "stall"] as const) {
    test(`${how}: goes on where it was`, async () => {
      const server = await startServer();
      const log = await open(server.url);
      await log.append("a", "no-stream", eventRange(0, 100));
      const all = await collect(log.readAll());
      let broken = 0;
      server.faults.onRead = () => (++broken % 2 === 1 ? { after: 30, how } : undefined);
      expect(await readTexts(log.read("a"))).toEqual(texts(0, 100));
      expect(await readTexts(log.read("a", { direction: "backwards" }))).toEqual(texts(0, 100).toReversed());
      expect(await readTexts(log.read("a", { from: 20, limit: 50 }))).toEqual(texts(20, 70));
      if (how === "stall") return;
      expect(await collect(log.readAll())).toEqual(all);
      expect(await collect(log.readAll({ direction: "backwards" }))).toEqual(all.toReversed());
      expect(broken).toBeGreaterThan(5);
    });
  }
});

describe("a subscription", () => {
  for (const how of ["error", "end"] as const) {
    test(`that the server drops (${how}) comes back without gap or double`, async () => {
      const server = await startServer();
      const log = await open(server.url);
      await log.append("a", "no-stream", eventRange(0, 10));
      const one = new Follower((signal) => log.subscribe("a", 0, { signal }));
      const all = new Follower((signal) => log.subscribeAll({ everything: true }, START, { signal }));
      for (let round = 1; round <= 5; round++) {
        await Promise.all([one, all].map((each) => each.untilEvents(round * 10)));
        server.dropSubscriptions(how);
        await log.append("a", round * 10 - 1, eventRange(round * 10, round * 10 + 10));
      }
      for (const follower of [one, all]) {
        await follower.untilEvents(60);
        expect(follower.texts()).toEqual(texts(0, 60));
        await follower.stop();
      }
    });
  }

  test("is one at the server for all streams of a family, and ends with its last subscriber", async () => {
    const server = await startServer();
    const log = await open(server.url);
    const followers = Array.from(
      { length: 20 },
      (_, i) => new Follower((signal) => log.subscribe(`steps_p.s.${i}`, 0, { signal })),
    );
    for (const follower of followers) await follower.until(({ caughtUp }) => caughtUp === 1);
    expect(server.subscriptions).toBe(1);
    await log.append("steps_p.s.7", "no-stream", [event("seven")]);
    await followers[7]?.untilEvents(1);
    for (const follower of followers) await follower.stop();
    await eventually(() => server.subscriptions === 0);
  });

  test("that is never confirmed is begun again", async () => {
    const server = await startServer();
    const log = await open(server.url);
    server.faults.stallSubscriptions = true;
    const follower = new Follower((signal) => log.subscribe("a", 0, { signal }));
    const reads = () => server.calls.filter((call) => call === "read").length;
    const before = reads();
    await eventually(() => reads() > before + 1);
    server.faults.stallSubscriptions = false;
    await log.append("a", "any", [event("0")]);
    await follower.untilEvents(1);
    await follower.stop();
  });
});

describe("a node that does not lead", () => {
  test("says who does, and everything goes there", async () => {
    const leader = await startServer();
    const follower = await startServer({ store: leader.store });
    follower.leader = { host: "127.0.0.1", port: leader.port };
    const log = await open(follower.url);
    await log.append("a", "no-stream", [event("0")]);
    expect(await readTexts(log.read("a"))).toEqual(["0"]);
    expect(leader.calls).toContain("batchAppend");
    expect(follower.calls).not.toContain("batchAppend");
  });

  test("any more: appends under way are made at the new leader, subscriptions go on there", async () => {
    const old = await startServer();
    const next = await startServer({ store: old.store });
    const log = await open(`esdb://127.0.0.1:${old.port}?tls=false`);
    const seen = new Follower((signal) => log.subscribe("a", 0, { signal }));
    await log.append("a", "no-stream", [event("0")]);
    await seen.untilEvents(1);
    failOnce(old, "break-after");
    old.leader = { host: "127.0.0.1", port: next.port };
    expect((await log.append("a", 0, [event("1")])).revision).toBe(1);
    expect((await log.append("a", 1, [event("2")])).revision).toBe(2);
    await seen.untilEvents(3);
    expect(seen.texts()).toEqual(["0", "1", "2"]);
    expect(next.calls).toContain("batchAppend");
    await seen.stop();
  });

  test("and does not know who: the log is unavailable, with what to do", async () => {
    const server = await startServer();
    server.leader = { host: "", port: 0 };
    await expect(open(server.url)).rejects.toMatchObject({
      code: "LogUnavailable",
      hint: expect.stringContaining("esdb+discover://"),
    });
  });

  test("may be read from by who asks for it", async () => {
    const leader = await startServer();
    const replica = await startServer({ store: leader.store });
    replica.leader = { host: "127.0.0.1", port: leader.port };
    await (await open(leader.url)).append("a", "no-stream", [event("0")]);
    const before = leader.calls.length;
    const log = await open(`${replica.url}&nodePreference=follower`, { readOnly: true });
    expect(await readTexts(log.read("a"))).toEqual(["0"]);
    await expectCode(log.append("a", "any", [event()]), "BadUsage");
    expect(leader.calls.length).toBe(before);
  });

  test("is found out by asking the cluster", async () => {
    const leader = await startServer();
    const follower = await startServer({ store: leader.store });
    follower.leader = { host: "127.0.0.1", port: leader.port };
    for (const server of [leader, follower]) server.members = [leader.port, follower.port];
    const nodes = [leader, follower].map(({ port }) => `127.0.0.1:${port}`).join(",");
    for (const url of [`esdb://${nodes}?tls=false`, `esdb+discover://127.0.0.1:${follower.port}?tls=false`]) {
      const log = await open(url);
      await log.append("a", "any", [event()]);
    }
    expect(follower.calls).not.toContain("batchAppend");
    expect(leader.calls).toContain("batchAppend");
  });
});

describe("deletion and tombstones", () => {
  for (const fault of ["lose", "lose-answer"] as const) {
    test(`${fault}: are made once`, async () => {
      const server = await startServer();
      const log = await open(server.url);
      await log.append("a", "no-stream", eventRange(0, 3));
      await log.append("b", "no-stream", eventRange(0, 3));
      const once = () => {
        server.faults.onCall = () => undefined;
        return fault;
      };
      server.faults.onCall = once;
      await log.delete("a", 2);
      await expectCode(collect(log.read("a")), "StreamNotFound");
      server.faults.onCall = once;
      await log.tombstone("b", 2);
      await expectCode(collect(log.read("b")), "StreamTombstoned");
    });
  }

  test("settings of a deleted stream are not changed behind its back", async () => {
    const log = await open((await startServer()).url);
    await log.append("a", "no-stream", eventRange(0, 3));
    await log.delete("a", 2);
    await log.setMetadata("a", { truncateBefore: 2 });
    await expectCode(log.setMetadata("a", { maxCount: 5 }), "StreamNotFound");
    await expectCode(log.setMetadata("a", { truncateBefore: 9 }), "StreamNotFound");
    await expectCode(collect(log.read("a")), "StreamNotFound");
    expect(await log.getMetadata("a")).toEqual({ truncateBefore: 3 });
  });

  test("a scavenge is waited for", async () => {
    const server = await startServer();
    const log = await open(server.url);
    await log.append("a", "no-stream", eventRange(0, 10));
    await log.setMetadata("a", { truncateBefore: 8 });
    expect((await log.scavenge()).bytes).toBeGreaterThan(0);
    expect(await readTexts(log.readAll())).toEqual(["8", "9"]);
  });
});
