import { expect, test } from "vitest";
import { emptyLog } from "../../test/small-log.ts";
import { createSystemClock } from "../adapters/system/clock.ts";
import { decodeCanonical } from "../core/canonical.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { decodeEffects } from "../engine/effect-columns.ts";
import type { EffectRequest } from "../engine/outside.ts";
import { effectPlan } from "../pipeline/effects.ts";

import { EffectGates } from "./effect-gates.ts";
import { LiveEffects } from "./live-effects.ts";
import { LongWaits } from "./long-waits.ts";

const STEPS = "steps_p.out.0000";

function owner(log: ReturnType<typeof emptyLog>, epoch: number): LiveEffects {
  const { signal } = new AbortController();
  const clock = createSystemClock();
  return new LiveEffects({
    ...{ log, clock, steps: STEPS, epoch, node: "node-1", deployment: new Uint8Array(32) },
    ...{ flushMs: 1, from: epoch === 1 ? undefined : 0, next: 0, signal, probe: undefined },
    mustStillOwn: async () => {},
    gates: new EffectGates(),
    waits: new LongWaits({ clock, signal, onLong: () => {}, onOver: () => {} }),
  });
}

const ask = (turn: number, fn: EffectRequest["fn"]): EffectRequest => ({
  ...{
    n: 0,
    k: 0,
    ordinal: 0,
    stage: "s",
    name: "e",
    key: "00000000-0000-8000-8000-000000000000",
    turn,
    callsBefore: 0,
    at: { root: "source_p.s@0", path: "" },
  },
  ...{ plan: effectPlan({}, "here"), fn },
});

test("what a former owner was given at a later try is given at the first one, and kept as given at that", async () => {
  const log = emptyLog();
  const first = owner(log, 1);
  const failed = await first.effect(
    ask(0, () => {
      throw new Error("not yet");
    }),
  );
  expect(failed.kind).toBe("failed");
  expect((await first.effect(ask(1, () => 5))).kind).toBe("value");

  const second = owner(log, 2);
  const taken = await second.effect(
    ask(0, () => {
      throw new Error("called again");
    }),
  );
  expect(taken).toMatchObject({ kind: "value", served: true, calls: 0 });
  // Whoever runs the input again later asks for the first try, and finds the row that came last.
  const rows: (readonly [turn: number, kind: string, value: unknown])[] = [];
  for await (const event of log.readAll()) {
    const { type, data } = decodeEvent(event);
    if (type !== "EffectsRecorded") continue;
    for (const { turn, kind, bytes } of decodeEffects(data))
      rows.push([turn, kind, kind === "value" ? decodeCanonical(bytes) : undefined]);
  }
  expect(rows).toEqual([
    [0, "failed", undefined],
    [1, "value", 5],
    [0, "value", 5],
  ]);
});
