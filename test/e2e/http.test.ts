/** A sink whose batches are POSTed to a service, while the one, the other, or what is between them fails. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { until } from "./kill-history.ts";
import { clearSound } from "./open-log.ts";
import { Receiver, type Treatment } from "./receiver.ts";
import { between, orderLines, seeded } from "./workload.ts";

const MINUTES = 60_000;
const ORDERS = orderLines(600, 71);
const place = new Workplace();
const receivers: Receiver[] = [];
let expected: readonly string[];

function args(output: string, ...more: readonly string[]): string[] {
  const pipeline = projectFile("test/e2e/fixtures/busy.ts");
  const inputs = ["--input", "orders=orders.jsonl", "--output", `stock=${output}`];
  return ["run", pipeline, ...inputs, "--batch", "16", "--json", ...more];
}

async function newFolder(): Promise<string> {
  const cwd = await place.folder();
  writeFileSync(join(cwd, "orders.jsonl"), ORDERS);
  return cwd;
}

async function receiver(treat?: (batch: number) => Treatment, port?: number): Promise<Receiver> {
  const started = await Receiver.start(treat, port);
  receivers.push(started);
  return started;
}

beforeAll(async () => {
  const cwd = await newFolder();
  expect((await headwater(args("stock.jsonl"), { cwd })).code).toBe(0);
  expected = readFileSync(join(cwd, "stock.jsonl"), "utf8").trimEnd().split("\n");
});
afterEach(async () => {
  await clearSound(place);
  for (const running of receivers.splice(0)) await running.stop();
});

/** Each record once, in order, and never another batch under a key. */
function mustHaveAll(received: Receiver): void {
  expect(received.changed).toEqual([]);
  expect(received.lines).toEqual(expected);
}

describe("a sink that POSTs its batches", () => {
  it("refuses an address that nothing can be sent to, before it takes anything in", async () => {
    const cwd = await newFolder();
    const ended = await headwater(args("http://ada:%zz@127.0.0.1:8080/x"), { cwd });
    expect(ended.code, ended.stderr).toBe(2);
    const error = jsonError(ended);
    expect(error).toMatchObject({ code: "BadUsage", where: "http://127.0.0.1:8080/x" });
    expect(error.message).toMatch(/^the sink "stock" cannot send to its receiver: /);
    expect(existsSync(join(cwd, ".headwater"))).toBe(false);
  });

  it("sends each record once, in order, and nothing when there is nothing new", async () => {
    const received = await receiver();
    const cwd = await newFolder();
    const ended = await headwater(args(received.url), { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ outputs: { stock: expected.length } });
    mustHaveAll(received);
    const { batches } = received;
    expect((await headwater(args(received.url), { cwd })).code).toBe(0);
    expect(received.batches).toBe(batches);
  });

  it("sends again what was not taken, or of which it does not know, and says that it is kept waiting", async () => {
    const answers: readonly Treatment[] = [503, 200, 429, 200, "break", 200, "take-and-break", 200, 500];
    const received = await receiver((batch) => answers[batch] ?? 200);
    const ended = await headwater(args(received.url), { cwd: await newFolder() });
    expect(ended.code, ended.stderr).toBe(0);
    expect(ended.stderr).toContain("the sink stock is kept waiting, and tries again: HTTP 503");
    expect(ended.stderr).toContain("takes records again");
    expect(received.repeated).toBeGreaterThan(0);
    mustHaveAll(received);
  });

  it.each([
    "prepared:before",
    "prepared:after",
    "write:before",
    "write:after",
    "delivered:before",
    "delivered:after",
  ])("sends the same batch under the same key after it was killed at %s", async (point) => {
    const received = await receiver();
    const cwd = await newFolder();
    for (const times of [1, 2, 3]) {
      const env = { HEADWATER_FAIL_AT: `${point}:${times}` };
      expect((await headwater(args(received.url), { cwd, env })).signal).toBe("SIGKILL");
    }
    const ended = await headwater(args(received.url), { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    mustHaveAll(received);
    if (point === "write:after") expect(received.repeated).toBe(3);
  });

  it(
    "sends each record once, whenever it is killed, and however the service fails",
    async () => {
      const random = seeded(72);
      const failures: readonly Treatment[] = ["take-and-break", "take-and-break", "break", 503];
      const received = await receiver(() => failures[between(random, 0, 15)] ?? 200);
      const cwd = await newFolder();
      for (let kill = 0; kill < 12; kill++) {
        const command = place.start(args(received.url), { cwd });
        const after = received.batches + between(random, 1, 4);
        await until(() => received.batches >= after || command.exited);
        if (command.exited) break;
        command.kill("SIGKILL");
        await command.ended;
      }
      const ended = await headwater(args(received.url), { cwd });
      expect(ended.code, ended.stderr).toBe(0);
      mustHaveAll(received);
    },
    3 * MINUTES,
  );

  it("stops with what the service said when it refuses a batch, and goes on with that batch", async () => {
    const refusing = await receiver((batch) => (batch < 2 ? 200 : 422));
    const cwd = await newFolder();
    const refused = await headwater(args(refusing.url), { cwd });
    expect(refused.code).toBe(3);
    expect(jsonError(refused)).toMatchObject({
      code: "OutputRefused",
      message: "the receiver refused a batch: HTTP 422: said 422",
      where: refusing.url,
    });
    const { port } = refusing;
    await refusing.stop();
    receivers.length = 0;
    const mended = await receiver(undefined, port);
    const ended = await headwater(args(mended.url), { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect([...refusing.lines, ...mended.lines]).toEqual(expected);
  });

  it("waits for a service that is not there yet", async () => {
    const first = await receiver();
    const { url, port } = first;
    await first.stop();
    receivers.length = 0;
    const command = place.start(args(url), { cwd: await newFolder() });
    await command.says("kept waiting, and tries again: nobody listens there");
    const received = await receiver(undefined, port);
    const ended = await command.ended;
    expect(ended.code, ended.stderr).toBe(0);
    mustHaveAll(received);
  });

  it.each(["http://", "http://host:99999/x"])("is not begun with the address %s", async (address) => {
    const refused = await headwater(args(address), { cwd: await newFolder() });
    expect(refused.code).toBe(2);
    expect(jsonError(refused)).toMatchObject({ code: "BadUsage", where: address });
  });
});

describe("a run that is asked to stop", () => {
  it.each(["SIGINT", "SIGTERM"] as const)(
    "stops at once when its time is over after %s, and leaves the rest to the next start",
    async (signal) => {
      let hangs = true;
      const received = await receiver(() => (hangs ? "hang" : 200));
      const cwd = await newFolder();
      const command = place.start(args(received.url, "--drain-timeout", "1"), { cwd });
      await until(() => received.batches > 0 || command.exited);
      command.kill(signal);
      const { code, stderr } = await command.ended;
      expect(code, stderr).toBe(130);
      expect(stderr).toContain(
        "not finished within 1 s: stopped at once; the rest is left to the next start",
      );
      hangs = false;
      const ended = await headwater(args(received.url), { cwd });
      expect(ended.code, ended.stderr).toBe(0);
      mustHaveAll(received);
    },
  );

  it("stops at once at the second signal", async () => {
    const received = await receiver(() => "hang");
    const command = place.start(args(received.url), { cwd: await newFolder() });
    await until(() => received.batches > 0 || command.exited);
    command.kill("SIGTERM");
    await command.says("again stops at once");
    command.kill("SIGTERM");
    const { signal, stderr } = await command.ended;
    expect(signal, stderr).toBe("SIGINT");
    expect(stderr).not.toContain("not finished within");
  });
});
