import { expect, it } from "vitest";
import { Turnstile } from "./turnstile.ts";

it("lets many in together, and one alone in its turn", async () => {
  const turnstile = new Turnstile();
  const seen: string[] = [];
  const enter = async (name: string, alone: boolean) => {
    const leave = await turnstile.enter(alone);
    seen.push(name);
    return leave;
  };
  const [a, b] = await Promise.all([enter("a", false), enter("b", false)]);
  const alone = enter("alone", true);
  const late = enter("late", false);
  const last = enter("last", false);
  await Promise.resolve();
  expect(seen).toEqual(["a", "b"]);
  a();
  b();
  const leave = await alone;
  await Promise.resolve();
  expect(seen).toEqual(["a", "b", "alone"]);
  leave();
  await Promise.all([late, last]);
  expect(seen).toEqual(["a", "b", "alone", "late", "last"]);
});
