import { describe, expect, test } from "vitest";
import { isHeadwaterError } from "../core/errors.ts";
import { count } from "./aggregates.ts";
import { pipeline } from "./pipeline.ts";
import { tumbling } from "./windows.ts";

function records() {
  return pipeline("p").source<undefined, string>("in", { key: String, eventTime: () => 0 });
}

/** What is wrong, and where. */
function refusal(define: () => unknown): string {
  try {
    define();
  } catch (error) {
    if (isHeadwaterError(error, "BadPipeline")) return `${error.message} | ${error.where} | ${error.hint}`;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("a stage's failure policy", () => {
  test("has its numbers, and those that it leaves out", () => {
    const p = pipeline("p");
    const numbers = { times: 3, backoff: "250ms", factor: 1.5, most: "1m" } as const;
    p.source("in")
      .map("usual", (r) => r, { onError: { retry: { times: 2 } } })
      .filter("all", () => true, { onError: { retry: numbers, otherwise: "fail" } })
      .flatMap("none", (r) => [r], { onError: "fail" });
    expect(p.definition.stages).toMatchObject([
      { onError: "skip", retry: { times: 2, backoffMs: 100, factor: 2, mostMs: 10_000 } },
      { onError: "fail", retry: { times: 3, backoffMs: 250, factor: 1.5, mostMs: 60_000 } },
      { onError: "fail" },
    ]);
    expect(p.definition.stages[2]).not.toHaveProperty("retry");
  });

  test.each([
    ["is no policy", "later" as never, /onError is no policy \| stage m \| Give "skip", "fail"/],
    ["retries nothing", { otherwise: "skip" } as never, /onError is no policy/],
    ["ends in neither", { retry: { times: 1 }, otherwise: "stop" } as never, /onError is no policy/],
    ["has more", { retry: { times: 1 }, backoff: 1 } as never, /onError is no policy/],
    ["never tries", { retry: { times: 0 } }, /retry\.times has to be a whole number from 1 to 100, not 0/],
    ["tries too often", { retry: { times: 101 } }, /from 1 to 100, not 101/],
    ["waits less and less", { retry: { times: 1, factor: 0.5 } }, /retry\.factor .* from 1 to 100, not 0\.5/],
    [
      "waits no time",
      { retry: { times: 1, backoff: "soon" as never } },
      /retry\.backoff is not a duration: "soon"/,
    ],
    ["waits too long", { retry: { times: 1, most: "2h" } }, /retry\.most is longer than an hour/],
    [
      "misspells",
      { retry: { times: 1, backof: 1 } as never },
      /retry has no "backof" .* times, backoff, factor/,
    ],
  ] as const)("is refused where it %s", (_what, onError, message) => {
    expect(refusal(() => records().map("m", (r) => r, { onError }))).toMatch(message);
  });

  test("is not to try again what depends on its records alone", () => {
    const onError = { retry: { times: 1 } } as never;
    const window = { aggregate: count(), emit: (n: number) => n, onError };
    const reduce = { init: () => 0, step: (n: number) => n, emit: (n: number) => n, onError };
    for (const [kind, define] of [
      ["reduce", () => records().reduce("s", reduce)],
      ["window", () => records().window("s", tumbling("1s"), window)],
      ["keyBy", () => records().keyBy("s", String, { onError })],
      ["split", () => records().split("s", { a: () => true }, { onError })],
    ] as const) {
      expect(refusal(define)).toMatch(
        new RegExp(`a ${kind} cannot be tried again \\| stage s \\| It depends`),
      );
    }
    const p = pipeline("p");
    const left = p.source<undefined, string>("l", { key: String, eventTime: () => 0 });
    const right = p.source<undefined, string>("r", { key: String, eventTime: () => 0 });
    expect(refusal(() => left.join("s", right, () => 0, { within: "1s", onError }))).toMatch(
      /a join cannot be tried again/,
    );
    expect(refusal(() => left.joinTable("s", right, () => 0, { onError }))).toMatch(/a join cannot/);
  });

  test("does not compile for stages that cannot have it, and neither does an effect there", () => {
    const retry = { retry: { times: 1 } } as const;
    const define = () => {
      // @ts-expect-error a keyBy is not tried again
      records().keyBy("s", String, { onError: retry });
      records().reduce("s", {
        init: () => 0,
        // @ts-expect-error a reduce cannot wait
        step: (n: number, _record, ctx) => n + Number(ctx.effect("e", () => 1)),
        emit: (n) => n,
      });
      // @ts-expect-error a predicate cannot wait
      records().split("s", { a: (_record, ctx) => Boolean(ctx.effect("e", () => 1)) });
      records().map("s", async (_record, ctx) => {
        // @ts-expect-error it gives what its function gives
        const text: string = await ctx.effect("e", async () => 1);
        return text;
      });
    };
    expect(define).toBeTypeOf("function");
  });
});
