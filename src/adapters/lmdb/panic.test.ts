/** LMDB after a commit that could not write its meta page. */
import { randomUUID } from "node:crypto";
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { event } from "../../../test/contract/event-log/harness.ts";
import { failNextMetaPage } from "../../../test/fixtures/failing-meta-page.ts";
import { LIMITS } from "../../core/limits.ts";
import { createSystemClock } from "../system/clock.ts";
import { openLmdbLog } from "./log.ts";

let dir: string;
beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), "headwater-panic-")));
  // LMDB says itself what it could not write.
  vi.spyOn(console, "error").mockImplementation(() => {});
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(dir, { recursive: true, force: true });
});

/** Keeps this thread from its timers for longer than the feed waits between two looks. */
function stall(): void {
  const until = performance.now() + LIMITS.pollMs + 1;
  while (performance.now() < until);
}

it("goes on for whoever follows it, also where the feed looks before the writer knows", async () => {
  const log = await openLmdbLog({ dir, clock: createSystemClock(), ids: { uuid: randomUUID } });
  const seen: number[] = [];
  const stop = new AbortController();
  const following = (async () => {
    for await (const message of log.subscribe("s", 0, { signal: stop.signal })) {
      if (message.kind === "events") seen.push(...message.events.map(({ revision }) => revision));
    }
  })();
  await log.append("s", "any", [event()]);
  failNextMetaPage(dir);
  let failed = false;
  const append = log.append("s", 0, [event()]).catch(() => {
    failed = true;
  });
  for (let turn = 0; turn < 100 && !failed; turn++) {
    stall();
    await setImmediate();
  }
  await append;
  expect(failed).toBe(true);
  await log.append("s", 0, [event()]);
  await vi.waitUntil(() => seen.includes(1));
  expect(seen).toEqual([0, 1]);
  stop.abort();
  await following;
  await log.close();
});
