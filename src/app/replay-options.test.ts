import { describe, expect, it } from "vitest";
import { replay, resumeReplay, whatIf } from "./replay.ts";

/** There is no such log: what is refused is refused before anything is opened. */
const log = "lmdb:/nonexistent/log";

const RATES: readonly unknown[] = [
  7,
  "2x",
  null,
  {},
  { perSecond: 5 },
  { recordsPerSecond: 0 },
  { recordsPerSecond: Number.NaN },
  { recordsPerSecond: "5" },
  { timesRealTime: Number.POSITIVE_INFINITY },
  { recordsPerSecond: 5, timesRealTime: 2 },
];

describe("what a program asks of a replay", () => {
  it.each(RATES)("is refused with a rate that is none: %o", async (rate) => {
    const odd = { log, rate: rate as { recordsPerSecond: number } };
    for (const asked of [
      () => replay({ ...odd, pipeline: "p" }),
      () => whatIf({ ...odd, pipeline: "p", whatIf: "1" }),
      () => resumeReplay({ ...odd, id: "a" }),
    ]) {
      await expect(asked()).rejects.toMatchObject({ code: "BadUsage", where: "rate" });
    }
  });

  it.each(["parameters", "outputs", "rotations"])("is refused with %s that are no Map", async (name) => {
    for (const value of [{ score: { factor: 2 } }, [["a", "b"]], new Map([["score.factor", 2]])]) {
      const asked = whatIf({ log, pipeline: "p", whatIf: "1", [name]: value });
      await expect(asked).rejects.toMatchObject({ code: "BadUsage", where: name });
    }
    if (name === "parameters") return;
    const resumed = resumeReplay({ log, id: "a", [name]: {} });
    await expect(resumed).rejects.toMatchObject({ code: "BadUsage", where: name });
  });

  it.each([{ recordsPerSecond: 0.5 }, { timesRealTime: 20 }, undefined])(
    "is looked for in the log with a rate that is one: %o",
    async (rate) => {
      const asked = replay({ log, pipeline: "p", ...(rate && { rate }) });
      await expect(asked).rejects.toMatchObject({ code: "LogMissing" });
    },
  );
});
