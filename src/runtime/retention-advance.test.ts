import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { advanceOf, boundsOf, countOf, tierOf } from "./retention-advance.ts";

const kept = (stream: string, first: number, last: number, bytes = 0) => ({ stream, first, last, bytes });

describe("what a policy wants", () => {
  test("is parted among the streams of a tier by what each has", () => {
    const streams = [kept("payload_p.s", 0, 99, 900), kept("payload_p.g.0000", 50, 149, 100)];
    const bounds = boundsOf({ payload: { bytes: 500, events: 50 } }, streams, 0);
    expect(bounds.get("payload_p.s")).toEqual({ bytes: 450, events: 25 });
    expect(bounds.get("payload_p.g.0000")).toEqual({ bytes: 50, events: 25 });
  });

  test("is nothing of a tier that is within its bounds, or has none", () => {
    const streams = [kept("payload_p.s", 0, 9, 900), kept("state_p.g.0000", 0, 9, 900)];
    expect(boundsOf({ payload: { bytes: 900, events: 10 } }, streams, 0).size).toBe(0);
    expect([...boundsOf({ state: { ageMs: 10 } }, streams, 100)]).toEqual([
      ["state_p.g.0000", { olderThan: 90 }],
    ]);
  });

  test("knows tiers by the names of streams", () => {
    const names = ["payload_p.s", "transit_p.s", "effects_p.g.0000", "state_p.g.0000", "source_p.payload"];
    expect(names.map(tierOf)).toEqual(["payload", undefined, "effects", "state", "steps"]);
    const kept = ["pipeline_p", "code_00", "retry_p", "audit_log", "quarantine_p.s", "members_p.g.0000"];
    expect(kept.map(tierOf)).toEqual(kept.map(() => undefined));
  });
});

describe("how far a stream is let go of", () => {
  test("is up to the least of what is wanted and needed, and never the last event", () => {
    const of = fc.record({
      first: fc.nat(1_000),
      more: fc.nat(1_000),
      wanted: fc.nat(3_000),
      needed: fc.nat(3_000),
    });
    fc.assert(
      fc.property(of, ({ first, more, wanted, needed }) => {
        const last = first + more;
        const before = advanceOf({ first, last }, wanted, needed);
        if (before === undefined) {
          const could = Math.min(wanted, needed, last) - first;
          expect(could).toBeLessThan(Math.max(1, countOf({ first, last }) / 8));
          return;
        }
        expect(before).toBeLessThanOrEqual(Math.min(wanted, needed, last));
        expect(before).toBeGreaterThan(first);
      }),
    );
  });

  test("is not by little at a time", () => {
    expect(advanceOf({ first: 0, last: 799 }, 99)).toBeUndefined();
    expect(advanceOf({ first: 0, last: 799 }, 100)).toBe(100);
    expect(advanceOf({ first: 5, last: 5 }, 100)).toBeUndefined();
  });
});
