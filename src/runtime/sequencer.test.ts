import { describe, expect, it } from "vitest";
import { independentLeaves, merkleRoot } from "../../test/independent-tree.ts";
import { emptyLog, fill, STILL } from "../../test/small-log.ts";
import { toHex } from "../core/digest.ts";
import { hashLeaf } from "../core/leaves.ts";
import { verifyConsistency, verifyInclusion } from "../core/merkle.ts";
import type { EventLog } from "../ports/event-log.ts";
import { MerkleReader } from "./merkle-reader.ts";
import { Sequencer } from "./sequencer.ts";

async function sequence(log: EventLog): Promise<Sequencer> {
  const sequencer = await Sequencer.open(log, STILL);
  await sequencer.catchUp();
  return sequencer;
}

/** The same log, whose reads of every stream in `gone` find nothing. */
function without(log: EventLog, gone: ReadonlySet<string>): EventLog {
  return new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (name !== "read") return value.bind(target);
      return (...[stream, options]: Parameters<EventLog["read"]>) =>
        target.read(gone.has(stream) ? "none" : stream, options);
    },
  });
}

describe("the sequencer", () => {
  it("makes the tree that another program makes of the same log, in however many goes", async () => {
    const log = emptyLog();
    for (const count of [0, 1, 2, 3, 250, 1, 511, 4_200]) {
      await fill(log, count, { seed: count });
      const sequencer = await sequence(log);
      const expected = await independentLeaves(log);
      expect(sequencer.size).toBe(expected.length);
      expect(toHex(sequencer.root())).toBe(toHex(merkleRoot(expected)));
    }
    // Nothing new is no event.
    const { position } = await log.size();
    await sequence(log);
    expect((await log.size()).position).toEqual(position);
  });

  it("leaves other programs' streams and its own out", async () => {
    const log = emptyLog();
    await fill(log, 5);
    await log.append("foreign", "no-stream", [
      { id: "00000000-0000-4000-8000-000000000000", type: "X", data: Buffer.of(1), metadata: Buffer.of() },
    ]);
    expect((await sequence(log)).size).toBe(5);
    expect((await sequence(log)).size).toBe(5);
  });

  it.each([[["supervisor_c"]], [["supervisor_a", "supervisor_b", "supervisor_c"]]])(
    "goes on where the events of its last leaves are gone: %j",
    async (gone) => {
      const log = emptyLog();
      await fill(log, 400);
      await sequence(log);
      await fill(log, 3, { seed: 2, streams: ["supervisor_c"] });
      await sequence(log);
      await fill(log, 100, { seed: 3 });
      const sequencer = await sequence(without(log, new Set(gone)));
      const expected = await independentLeaves(log);
      expect(sequencer.size).toBe(503);
      expect(toHex(sequencer.root())).toBe(toHex(merkleRoot(expected)));
    },
  );

  it("does everything once when two are at work", async () => {
    const log = emptyLog();
    await fill(log, 100);
    const two = [await Sequencer.open(log, STILL), await Sequencer.open(log, { ...STILL, now: () => 0 })];
    const ends = await Promise.allSettled(two.map((sequencer) => sequencer.catchUp()));
    expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(ends.find(({ status }) => status === "rejected")).toMatchObject({
      reason: { code: "WrongExpectedRevision" },
    });
    const after = await sequence(log);
    expect(after.size).toBe(100);
    expect(toHex(after.root())).toBe(toHex(merkleRoot(await independentLeaves(log))));
  });

  it("names an event that has no digest", async () => {
    const log = emptyLog();
    await fill(log, 3);
    const metadata = Buffer.from("{}");
    await log.append("steps_p.s.0000", "no-stream", [
      { id: "00000000-0000-4000-8000-000000000000", type: "X", data: Buffer.of(1), metadata },
    ]);
    await expect(sequence(log)).rejects.toMatchObject({ code: "LogDamaged", where: "steps_p.s.0000@0" });
  });
});

describe("the tree's reader", () => {
  it("proves every leaf and every size from few reads", async () => {
    const log = emptyLog();
    for (const count of [100, 300, 1, 700]) {
      await fill(log, count, { seed: count });
      const sequencer = await sequence(log);
      await sequencer.keepCheckpoint("note\n");
      await sequencer.keepCheckpoint("another\n");
    }
    const leaves = await independentLeaves(log);
    const size = leaves.length;
    let reads = 0;
    const counted = new Proxy(log, {
      get: (target, name) => {
        if (name === "read") reads++;
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const reader = new MerkleReader(counted);
    const root = merkleRoot(leaves);
    expect(toHex(await reader.root(size))).toBe(toHex(root));
    for (const index of [0, 1, 99, 100, 255, 256, 400, 401, 511, 512, 1_023, 1_024, size - 1]) {
      reads = 0;
      const leaf = hashLeaf(await reader.leaf(index));
      expect(toHex(leaf)).toBe(toHex(leaves[index] as Buffer));
      expect(verifyInclusion(leaf, index, size, await reader.inclusion(index, size), root)).toBe(true);
      expect(reads).toBeLessThan(100);
    }
    for (const first of [1, 2, 255, 256, 257, 600, 1_024, size]) {
      const firstRoot = merkleRoot(leaves.slice(0, first));
      expect(toHex(await reader.root(first))).toBe(toHex(firstRoot));
      const proof = await reader.consistency(first, size);
      expect(verifyConsistency(first, size, firstRoot, root, proof)).toBe(true);
    }
    await expect(reader.leaf(size)).rejects.toMatchObject({ code: "LogDamaged" });
  });
});
