import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  collect,
  event,
  eventRange,
  expectCode,
  readTexts,
  TestClock,
} from "../../../test/contract/event-log/harness.ts";
import { esdbTests, eventually } from "../../../test/esdb-server/harness.ts";

const { startServer, open } = esdbTests();

/** Each of these is something that the client's own calls do wrong. */
describe("what is known to go wrong in the client", () => {
  test("a connection that breaks does not disturb the appends of another log in the process", async () => {
    const [broken, whole] = [await startServer(), await startServer()];
    const [one, other] = [await open(broken.url), await open(whole.url)];
    whole.faults.onAppend = () => "hold-answer";
    const held = other.append("a", "no-stream", [event("held")]);
    await eventually(() => whole.held === 1);
    broken.faults.onAppend = () => {
      broken.faults.onAppend = () => undefined;
      return "reset-after";
    };
    await one.append("a", "no-stream", [event()]);
    whole.release();
    expect((await held).revision).toBe(0);
    expect(whole.network.connections).toBe(1);
  });

  test("a revision that cannot be does not reach the call that all appends share", async () => {
    const server = await startServer();
    const log = await open(server.url);
    server.faults.onAppend = () => "hold-answer";
    const held = log.append("a", "no-stream", [event()]);
    await eventually(() => server.held === 1);
    for (const revision of [-1, Number.NaN, 2 ** 60, 0.5]) {
      await expectCode(log.append("b", revision, [event()]), "BadUsage");
    }
    server.release();
    await held;
    expect(server.network.connections).toBe(1);
  });

  test("a server that will not say what it can do is not asked", async () => {
    const server = await startServer();
    server.faults.onFeatures = () => "internal";
    const log = await open(server.url);
    await log.append("a", "no-stream", [event("0")]);
    expect(await readTexts(log.read("a"))).toEqual(["0"]);
    expect(server.calls).not.toContain("getSupportedMethods");
  });

  test("metadata that looks like JSON comes back as it was", async () => {
    const log = await open((await startServer()).url);
    const texts = ['{"b":1.0,  "a":1e2}', "12345678901234567890", "null", '"\\u0041"', "[]", "{", " "];
    const events = texts.map((text) => ({ ...event(text), metadata: Buffer.from(text) }));
    await log.append("a", "no-stream", events);
    const read = await collect(log.read("a"));
    expect(read.map(({ metadata }) => Buffer.from(metadata).toString())).toEqual(texts);
  });

  test("a clock that is behind the server's makes no append late", async () => {
    const clock = new TestClock();
    clock.advance(3_600_000);
    const log = await open((await startServer({ clock })).url);
    expect((await log.append("a", "no-stream", [event()])).revision).toBe(0);
  });

  test("appends that wait to be sent when a connection breaks are sent on the next", async () => {
    const server = await startServer();
    const log = await open(server.url);
    server.network.freeze();
    const data = new Uint8Array(500_000);
    const made = Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        log.append(`s.${i}`, "no-stream", [{ ...event(), id: randomUUID(), data }]),
      ),
    );
    const before = server.network.connections;
    await eventually(() => server.network.connections > before);
    server.network.thaw();
    await made;
    expect(await collect(log.readAll())).toHaveLength(20);
  });

  test("a deletion that expects the stream to exist is not sent as a number", async () => {
    const log = await open((await startServer()).url);
    await log.append("a", "no-stream", eventRange(0, 2));
    await log.delete("a", "stream-exists");
    await expectCode(log.delete("a", "stream-exists"), "WrongExpectedRevision");
  });

  test("nothing of it is left when the log is closed", async () => {
    const server = await startServer();
    const log = await open(server.url);
    const subscription = (async () => {
      for await (const _ of log.subscribe("a", 0));
    })();
    await eventually(() => server.subscriptions === 1);
    await log.close();
    await expectCode(subscription, "LogClosed");
    await eventually(() => server.network.connected === 0);
  });
});
