import { describe, expect, test } from "vitest";
import { createActor, fromPromise, waitFor } from "xstate";
import { type VerificationEnd, verificationMachine } from "./verification.ts";

/** A verification of which each part ends when it is told to, and what it has done. */
function started() {
  const done: string[] = [];
  const parts = { claim: part<void>(), restore: part<void>(), work: part<VerificationEnd>() };
  const actor = createActor(
    verificationMachine.provide({
      actors: {
        claim: fromPromise(() => parts.claim.promise),
        restore: fromPromise(() => parts.restore.promise),
        work: fromPromise(() => parts.work.promise),
      },
      actions: { halt: () => done.push("halt"), dispose: () => done.push("dispose") },
    }),
  );
  actor.start();
  const reached = (state: "restoring" | "active" | "done" | "halted" | "failed") =>
    waitFor(actor, (snapshot) => snapshot.matches(state));
  return { actor, done, reached, ...parts };
}

function part<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((...settle) => {
    [resolve, reject] = settle;
  });
  return { promise, resolve, reject };
}

describe("a verification", () => {
  test("claims, finds how far it is, compares, and lets go once", async () => {
    const { claim, restore, work, reached, done } = started();
    claim.resolve();
    await reached("restoring");
    restore.resolve();
    await reached("active");
    work.resolve("done");
    await reached("done");
    expect(done).toEqual(["dispose"]);
  });

  test("that is told to halt waits until what it compares has come to its end", async () => {
    const { actor, claim, restore, work, reached, done } = started();
    claim.resolve();
    restore.resolve();
    await reached("active");
    actor.send({ type: "HALT" });
    actor.send({ type: "HALT" });
    expect(actor.getSnapshot().matches({ active: "halting" })).toBe(true);
    expect(done).toEqual(["halt"]);
    work.resolve("halted");
    await reached("halted");
    expect(done).toEqual(["halt", "dispose"]);
  });

  test("that is told to halt when it is as good as through is through", async () => {
    const { actor, claim, restore, work, reached } = started();
    claim.resolve();
    restore.resolve();
    await reached("active");
    actor.send({ type: "HALT" });
    work.resolve("done");
    await reached("done");
  });

  test("halts at once while another one has it", async () => {
    const { actor, reached, done } = started();
    actor.send({ type: "HALT" });
    await reached("halted");
    expect(done).toEqual(["dispose"]);
  });

  test.each(["claim", "restore", "work"] as const)("says why it failed at its %s", async (at) => {
    const { claim, restore, work, actor, reached, done } = started();
    const error = new Error("no more");
    if (at === "claim") claim.reject(error);
    else claim.resolve();
    if (at === "restore") restore.reject(error);
    else restore.resolve();
    if (at === "work") work.reject(error);
    await reached("failed");
    expect(actor.getSnapshot().context.error).toBe(error);
    expect(done).toEqual(["dispose"]);
  });
});
