import { MemoryLog } from "../src/adapters/memory/log.ts";
import type { EventLog } from "../src/ports/event-log.ts";
import { StreamTail } from "../src/runtime/stream-tail.ts";
import { seededRandom, upTo } from "./simulation/virtual-world.ts";

/** A clock for what does not depend on it. */
export const STILL = { now: () => 1_767_225_600_000, monotonic: () => 0, setTimeout: () => () => {} };

export function emptyLog(): MemoryLog {
  return MemoryLog.create({ id: "01234567-89ab-4def-8123-456789abcdef", clock: STILL });
}

/** Appends `count` chained events to `streams`, in an order that follows from `seed`. */
export async function fill(
  log: EventLog,
  count: number,
  { seed = 1, streams = ["supervisor_a", "supervisor_b", "supervisor_c"] } = {},
): Promise<void> {
  const random = seededRandom(seed);
  const tails = await Promise.all(streams.map((stream) => StreamTail.open(log, stream)));
  for (let done = 0; done < count; done++) {
    const tail = tails[upTo(random, tails.length - 1)] as StreamTail;
    await tail.append([
      {
        type: "Heartbeat",
        event: {
          v: 1,
          wall: STILL.now() + done,
          epoch: 1,
          process: `${seed}`,
          host: "h",
          pid: done,
          instance: "x".repeat(upTo(random, 40)),
          version: 0,
        },
      },
    ]);
  }
}
