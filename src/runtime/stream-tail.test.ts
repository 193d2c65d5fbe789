import { expect, test } from "vitest";
import { emptyLog, fill } from "../../test/small-log.ts";
import { StreamTail } from "./stream-tail.ts";

const STREAM = "supervisor_a";

test("a stream whose last event was let go of is damaged, and not begun anew", async () => {
  const log = emptyLog();
  await fill(log, 3, { streams: [STREAM] });
  await log.setMetadata(STREAM, { truncateBefore: 2 });
  expect((await StreamTail.open(log, STREAM)).revision).toBe(2);
  await log.setMetadata(STREAM, { truncateBefore: 3 });
  await expect(StreamTail.open(log, STREAM)).rejects.toMatchObject({
    code: "LogDamaged",
    where: `${STREAM}@2`,
  });
  await log.scavenge();
  await expect(StreamTail.open(log, STREAM)).rejects.toMatchObject({ code: "LogDamaged" });
  expect((await StreamTail.open(log, "supervisor_b")).revision).toBe(-1);
});
