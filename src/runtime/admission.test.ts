import { describe, expect, test } from "vitest";
import { pipeline } from "../pipeline/pipeline.ts";
import { type Admitted, admit } from "./admission.ts";

function given(options: object, value: unknown): Admitted | Promise<Admitted> {
  const p = pipeline("p");
  p.source("s", options);
  const [source] = p.definition.sources;
  if (source === undefined) throw new Error("no source");
  return admit(source, { value, line: 1 });
}

describe("what a source's functions may answer", () => {
  test.each([
    ["a text", "a", "a"],
    ["a number", 1.5, "1.5"],
  ])("an id that is %s", (_, id, kept) => {
    expect(given({ id: () => id }, {})).toMatchObject({ id: kept });
  });

  test.each([
    ["NaN, which would make duplicates of all", Number.NaN],
    ["an infinity", Number.POSITIVE_INFINITY],
    ["undefined", undefined],
    ["an object", {}],
    ["half of a surrogate pair", "\ud800"],
    ["too long", "x".repeat(1_025)],
  ])("no id that is %s", (_, id) => {
    expect(() => given({ id: () => id }, {})).toThrow(/id function answered/);
  });

  test.each([
    ["2015-09-12T00:47:35.776Z", 1_442_018_855_776],
    [1_442_018_855_776.9, 1_442_018_855_776],
  ])("an event time like %s", (time, ms) => {
    expect(given({ eventTime: () => time }, {})).toMatchObject({ time: ms });
  });

  test.each([
    ["yesterday"],
    ["channel 12"],
    ["2015-02-30"],
    [Number.NaN],
    [null],
    [8.64e15 + 1],
    [new Date()],
  ])("no event time like %s", (time) => {
    expect(() => given({ eventTime: () => time }, {})).toThrow(/not a time/);
  });

  const revoked = () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  };
  test.each([
    ["nothing", () => undefined, "the source's schema answered nothing, and not { value } or { issues }"],
    ["a number", () => 5, "the source's schema answered number, and not"],
    ["a promise of null", async () => null, "the source's schema answered object, and not"],
    ["what cannot be read", revoked, "the source's schema failed: "],
    ["issues that are none", () => ({ issues: 5 }), "the source's schema failed: "],
    [
      "a promise of what cannot be read",
      async () => ({
        get issues() {
          throw revoked();
        },
      }),
      "the source's schema failed: ",
    ],
    [
      "what it throws",
      () => {
        throw revoked();
      },
      "the source's schema failed: an object was thrown, not an Error",
    ],
    [
      "what it rejects with",
      () => Promise.reject(new Error("no table")),
      "the source's schema failed: no table",
    ],
  ])("no schema that answers %s", async (_, validate, message) => {
    const schema = { "~standard": { version: 1, vendor: "test", validate } };
    const error = await (async () => given({ schema }, {}))().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "BadInput", message: expect.stringContaining(message), where: "$" });
  });

  test("no key that is an object, and what a function throws", () => {
    expect(() => given({ key: () => ({}) }, {})).toThrow(/key function answered object/);
    expect(() =>
      given(
        {
          key: () => {
            throw new Error("no such field");
          },
        },
        {},
      ),
    ).toThrow(/the source's key function failed: no such field/);
  });

  test("what an asynchronous schema makes of it, or the first of its complaints with its path", async () => {
    const schema = (result: object) => ({
      schema: { "~standard": { version: 1, vendor: "test", validate: async () => result } },
    });
    expect(await given(schema({ value: { made: true } }), {})).toMatchObject({ value: { made: true } });
    const issues = [{ message: "too small", path: ["list", { key: 3 }, "n"] }, { message: "and more" }];
    await expect(given(schema({ issues }), {})).rejects.toMatchObject({
      message: "too small (and 1 more)",
      where: "$.list[3].n",
    });
  });
});
