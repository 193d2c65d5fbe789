import { describe, expect, it } from "vitest";
import { createSystemClock } from "../adapters/system/clock.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../ports/clock.ts";
import type { HttpAnswer, HttpRequest } from "../ports/http.ts";
import { HttpTarget } from "./http-target.ts";
import type { OutputBatch } from "./sink-target.ts";

const answered = (status: number, retryAfterMs?: number): HttpAnswer => ({
  kind: "answered",
  status,
  text: "",
  retryAfterMs,
});

/** A target whose receiver answers as it is told, and what it was sent. */
function target(url: string, answer: (request: HttpRequest) => HttpAnswer, clock?: Clock) {
  const sent: HttpRequest[] = [];
  const post = async (request: HttpRequest) => {
    sent.push(request);
    return answer(request);
  };
  const options = {
    http: { post },
    clock: createSystemClock(),
    sink: "out",
    headers: { "x-team": "a" },
    timeoutMs: 1_000,
  };
  return { target: new HttpTarget({ ...options, url, clock: clock ?? options.clock }), sent };
}

function batchOf(values: readonly unknown[]): OutputBatch {
  const records = values.map((value, index) => ({ value, key: `k${index}`, ordinal: index }));
  return { records, first: 0, key: (from, count) => `${from}+${count}` };
}

const never = new AbortController().signal;
const text = ({ body }: HttpRequest) => Buffer.from(body).toString("utf8");

describe("a receiver of batches", () => {
  it("gets bodies that are bounded by records and bytes, in order, each under a key of its own", async () => {
    const { target: to, sent } = target("http://host/x", () => answered(204));
    const small = Array.from({ length: LIMITS.postRecords + 5 }, (_, n) => ({ n }));
    const large = Array.from({ length: 3 }, () => "ü".repeat(LIMITS.postBytes / 4));
    const huge = "x".repeat(2 * LIMITS.postBytes);
    expect(await to.write(batchOf([...small, ...large, huge, 1]), never, () => {})).toBe(true);
    expect(sent.map(({ headers }) => headers["idempotency-key"])).toEqual([
      "0+1024",
      "1024+6",
      "1030+1",
      "1031+1",
      "1032+1",
      "1033+1",
    ]);
    const lines = sent.map(text).join("").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([...small, ...large, huge, 1]);
  });

  it("is sent user and password of its address, which are not shown", async () => {
    const { target: to, sent } = target("https://ada:s%20ecret@host/x", () => answered(200));
    await to.write(batchOf([1]), never, () => {});
    expect(to.id).toBe("http:https://host/x");
    expect(sent[0]).toMatchObject({
      url: "https://host/x",
      headers: {
        authorization: `Basic ${Buffer.from("ada:s ecret").toString("base64")}`,
        "x-team": "a",
        "content-type": "application/x-ndjson",
      },
    });
  });

  it("is told of while it does not take a batch, once for each reason", async () => {
    const answers: HttpAnswer[] = [answered(503), answered(503), { kind: "failed", reason: "gone" }];
    const { target: to, sent } = target("http://host/x", () => answers.shift() ?? answered(200));
    const reasons: (string | undefined)[] = [];
    expect(await to.write(batchOf([1]), never, (reason) => reasons.push(reason))).toBe(true);
    expect(reasons).toEqual(["HTTP 503", "gone", undefined]);
    expect(new Set(sent.map(text))).toEqual(new Set(["1\n"]));
  });

  it("is left alone between two tries when the sink has to stop", async () => {
    const stop = new AbortController();
    const { target: to, sent } = target("http://host/x", () => answered(500));
    expect(await to.write(batchOf([1]), stop.signal, () => stop.abort())).toBe(false);
    expect(sent).toHaveLength(1);
  });

  it("is left alone for as long as its Retry-After says, five minutes at most, and no shorter than without it", async () => {
    const asked = [undefined, 1, 60_000, 10 * LIMITS.retryAfterMsMost];
    const answers = asked.map((retryAfterMs): HttpAnswer => answered(429, retryAfterMs));
    const system = createSystemClock();
    const waited: number[] = [];
    const clock: Clock = {
      ...system,
      setTimeout: (callback, ms) => {
        waited.push(ms);
        return system.setTimeout(callback, 0);
      },
    };
    const { target: to } = target("http://host/x", () => answers.shift() ?? answered(200), clock);
    expect(await to.write(batchOf([1]), never, () => {})).toBe(true);
    expect(waited).toEqual([LIMITS.sendAgainMs, 2 * LIMITS.sendAgainMs, 60_000, LIMITS.retryAfterMsMost]);
  });

  it.each([400, 401, 404, 409, 422, 301])("refuses for good with %s", async (status) => {
    const { target: to } = target("http://host/x", () => answered(status));
    await expect(to.write(batchOf([1]), never, () => {})).rejects.toMatchObject({
      code: "OutputRefused",
      where: "http://host/x",
      hint:
        status === 301 ? expect.stringContaining("another address") : expect.stringContaining("run again"),
    });
  });
});
