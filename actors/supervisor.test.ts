import { describe, expect, it } from "vitest";
import { createActor, fromPromise, SimulatedClock, waitFor } from "xstate";
import { LIMITS } from "../src/core/limits.ts";
import { nodeMachine } from "./node.ts";
import { type AssignmentRecord, RESTARTS_MOST, supervisorMachine } from "./supervisor.ts";
import { type WorkerInput, workerMachine } from "./worker.ts";

/** A supervisor whose workers do what the test says, on a clock that the test moves. */
function supervise(
  nodes: readonly string[],
  partitions: readonly string[],
  fails: (order: WorkerInput) => unknown,
) {
  const clock = new SimulatedClock();
  const assignments: AssignmentRecord[] = [];
  const life: string[] = [];
  const note = (what: string, order: WorkerInput) => life.push(`${what} ${order.unit}`);
  const drains = new Map<string, () => void>();
  const worker = workerMachine.provide({
    actors: {
      claim: fromPromise(async ({ input }) => {
        note("claim", input);
        const error = fails(input);
        if (error !== undefined) throw error;
      }),
      restore: fromPromise(async ({ input }) => {
        note("restore", input);
      }),
      work: fromPromise<void, WorkerInput>(
        ({ input }) =>
          new Promise((resolve) => {
            note("work", input);
            drains.set(input.unit, resolve);
          }),
      ),
    },
    actions: {
      drain: ({ context }) => drains.get(context.unit)?.(),
      dispose: ({ context }) => note("dispose", context),
    },
  });
  const machine = supervisorMachine.provide({
    actors: {
      claim: fromPromise(async () => ({ version: 7 })),
      assignUnits: fromPromise<void, AssignmentRecord>(async ({ input }) => {
        assignments.push(input);
      }),
      node: nodeMachine.provide({ actors: { partition: worker } }),
      door: worker,
      sink: worker,
    },
    guards: { fatal: (_, { error }) => error === "fatal" },
  });
  const actor = createActor(machine, {
    clock,
    input: { nodes, partitions, doors: ["door:s"], sinks: ["sink:k"] },
  });
  actor.start();
  return { actor, clock, assignments, life };
}

const never = () => undefined;
const PARTITIONS = ["partition:g.0", "partition:g.1", "partition:g.2", "partition:g.3"];

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe("supervisorMachine", () => {
  it("records an assignment before anybody works, with the version after the last one", async () => {
    const { actor, assignments, life } = supervise(["a", "b"], PARTITIONS, never);
    expect(life).toEqual([]);
    await until(() => life.filter((line) => line.startsWith("work")).length === 6);
    expect(assignments).toHaveLength(1);
    expect(assignments[0]?.version).toBe(8);
    const owners = Object.fromEntries((assignments[0]?.units ?? []).map(({ unit, node }) => [unit, node]));
    expect(Object.keys(owners).sort()).toEqual(["door:s", ...PARTITIONS, "sink:k"].sort());
    expect(PARTITIONS.filter((unit) => owners[unit] === "a")).toHaveLength(2);
    expect(actor.getSnapshot().value).toBe("running");
    actor.stop();
  });

  it("gives a lost node's partitions to the others, and leaves theirs alone", async () => {
    const { actor, clock, assignments, life } = supervise(["a", "b"], PARTITIONS, never);
    await until(() => life.filter((line) => line.startsWith("work")).length === 6);
    const before = assignments[0]?.units ?? [];
    actor.send({ type: "NODE_LOST", node: "a" });
    clock.increment(1_000);
    await until(() => life.filter((line) => line.startsWith("work")).length === 8);
    const moved = before.filter(({ node }) => node === "a").map(({ unit }) => unit);
    expect(
      life
        .filter((line) => line.startsWith("work"))
        .slice(6)
        .sort(),
    ).toEqual(moved.map((unit) => `work ${unit}`).sort());
    expect(assignments[1]?.version).toBe(9);
    expect(assignments[1]?.units.every(({ node }) => node !== "a")).toBe(true);
    actor.stop();
  });

  it("assigns a unit again after it failed, and only that one", async () => {
    let failures = 0;
    const { actor, clock, assignments, life } = supervise(["a"], PARTITIONS, ({ unit }) =>
      unit === "partition:g.2" && failures++ < 2 ? "for a while" : undefined,
    );
    await until(() => life.includes("dispose partition:g.2"));
    await until(() => actor.getSnapshot().context.homeless.length === 1);
    clock.increment(1_000);
    await until(() => failures === 2 && actor.getSnapshot().context.homeless.length === 1);
    clock.increment(1_000);
    await until(() => life.includes("work partition:g.2"));
    expect(life.filter((line) => line === "claim partition:g.2")).toHaveLength(3);
    expect(life.filter((line) => line === "claim partition:g.1")).toHaveLength(1);
    expect(assignments.map(({ version }) => version)).toEqual([8, 9, 10]);
    actor.stop();
  });

  it("fails with the error of a unit that fails too often", async () => {
    const { actor, clock } = supervise(["a"], PARTITIONS, ({ unit }) =>
      unit === "sink:k" ? "always" : undefined,
    );
    for (let failure = 1; failure <= RESTARTS_MOST; failure++) {
      await until(() => actor.getSnapshot().context.failures["sink:k"] === failure);
      clock.increment(1_000);
    }
    const done = await waitFor(actor, (snapshot) => snapshot.status === "done");
    expect(done.value).toBe("failed");
    expect(done.output).toEqual({ error: "always" });
  });

  it("fails at once at what trying again cannot mend", async () => {
    const { actor } = supervise(["a"], PARTITIONS, ({ unit }) => (unit === "door:s" ? "fatal" : undefined));
    const done = await waitFor(actor, (snapshot) => snapshot.status === "done");
    expect(done.value).toBe("failed");
    expect(done.output).toEqual({ error: "fatal" });
    expect(done.context.failures).toEqual({});
  });

  it("drains doors, then nodes, then sinks", async () => {
    const { actor, life } = supervise(["a", "b"], PARTITIONS, never);
    await until(() => life.filter((line) => line.startsWith("work")).length === 6);
    actor.send({ type: "DRAIN" });
    const done = await waitFor(actor, (snapshot) => snapshot.status === "done");
    expect(done.value).toBe("stopped");
    expect(done.output).toEqual({ error: undefined });
    const ends = life.filter((line) => line.startsWith("dispose"));
    expect(ends[0]).toBe("dispose door:s");
    expect(ends.at(-1)).toBe("dispose sink:k");
    expect(ends).toHaveLength(6);
  });

  it("has no node left when all are lost", async () => {
    const { actor, life } = supervise(["a"], PARTITIONS, never);
    await until(() => life.filter((line) => line.startsWith("work")).length === 6);
    actor.send({ type: "NODE_LOST", node: "a" });
    const done = await waitFor(actor, (snapshot) => snapshot.status === "done");
    expect(done.value).toBe("failed");
  });

  it("puts a node in the place of one that is lost, which gets its partitions", async () => {
    const { actor, clock, assignments, life } = supervise(["a", "b"], PARTITIONS, never);
    await until(() => life.filter((line) => line.startsWith("work")).length === 6);
    const before = assignments[0]?.units ?? [];
    actor.send({ type: "NODE_LOST", node: "a", replacement: "c", error: "gone", progressed: true });
    clock.increment(1_000);
    await until(() => life.filter((line) => line.startsWith("work")).length === 8);
    const placed = (node: string, units = before) =>
      units.filter((each) => each.node === node).map(({ unit }) => unit);
    expect(placed("c", assignments[1]?.units)).toEqual(placed("a"));
    expect(placed("b", assignments[1]?.units)).toEqual(placed("b"));
    actor.stop();
  });

  it("fails when nodes are lost again and again and nothing is recorded in between", async () => {
    const { actor, life } = supervise(["node-0"], PARTITIONS, never);
    await until(() => life.filter((line) => line.startsWith("work")).length === 6);
    const lose = (index: number, progressed: boolean) =>
      actor.send({
        ...{ type: "NODE_LOST", node: `node-${index}`, replacement: `node-${index + 1}` },
        ...{ error: `loss ${index}`, progressed },
      });
    let index = 0;
    for (; index < LIMITS.lossesInARow; index++) lose(index, false);
    lose(index++, true);
    expect(actor.getSnapshot().status).toBe("active");
    for (let more = 1; more < LIMITS.lossesInARow; more++) lose(index++, false);
    expect(actor.getSnapshot().status).toBe("active");
    lose(index, false);
    const done = await waitFor(actor, (snapshot) => snapshot.status === "done");
    expect(done.output).toEqual({ error: `loss ${index}` });
  });

  it("replaces nobody while it drains", async () => {
    const { actor, life } = supervise(["a", "b"], PARTITIONS, never);
    await until(() => life.filter((line) => line.startsWith("work")).length === 6);
    actor.send({ type: "DRAIN" });
    actor.send({ type: "NODE_LOST", node: "a", replacement: "c", error: "gone", progressed: false });
    const done = await waitFor(actor, (snapshot) => snapshot.status === "done");
    expect(done.value).toBe("stopped");
    expect(done.output).toEqual({ error: undefined });
  });
});
