import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ownership, planOwnership } from "./assignment.ts";

const units = fc.uniqueArray(fc.stringMatching(/^u[0-9]{1,2}$/), { maxLength: 30 });
const nodes = fc.uniqueArray(fc.stringMatching(/^n[0-9]$/), { minLength: 1, maxLength: 6 });

const loads = (ownership: Ownership, alive: readonly string[]) =>
  alive.map((node) => Object.values(ownership).filter((owner) => owner === node).length);

describe("planOwnership", () => {
  it("gives every unit to a living node, evenly", () => {
    fc.assert(
      fc.property(units, nodes, nodes, (all, before, now) => {
        const ownership = planOwnership(all, now, planOwnership(all, before, {}));
        expect(Object.keys(ownership).sort()).toEqual([...all].sort());
        for (const owner of Object.values(ownership)) expect(now).toContain(owner);
        const share = Math.ceil(all.length / now.length);
        expect(Math.max(...loads(ownership, now))).toBeLessThanOrEqual(share);
      }),
    );
  });

  it("moves only what has to move when a node is lost", () => {
    fc.assert(
      fc.property(units, fc.integer({ min: 2, max: 6 }), (all, count) => {
        const alive = Array.from({ length: count }, (_, index) => `n${index}`);
        const before = planOwnership(all, alive, {});
        const after = planOwnership(all, alive.slice(1), before);
        for (const unit of all) if (before[unit] !== "n0") expect(after[unit]).toBe(before[unit]);
      }),
    );
  });

  it("does not depend on the order of facts, and changes nothing when nothing has changed", () => {
    fc.assert(
      fc.property(units, nodes, (all, alive) => {
        const once = planOwnership(all, alive, {});
        expect(planOwnership([...all].reverse(), [...alive].reverse(), {})).toEqual(once);
        expect(planOwnership(all, alive, once)).toEqual(once);
      }),
    );
  });

  it("has nothing to give when no node lives", () => {
    expect(planOwnership(["u1"], [], { u1: "n1" })).toEqual({});
  });
});
