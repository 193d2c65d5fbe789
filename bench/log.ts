/**
 * How fast the embedded logs append, read and hand over events. Every round runs all of them, one after the
 * other, so that they see the same machine; the best of three rounds is shown.
 *
 *   npx esbuild bench/log.ts --bundle --platform=node --format=esm --packages=external --outfile=node_modules/.cache/bench/log.mjs
 *   node node_modules/.cache/bench/log.mjs [folder]
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "lmdb";
import { openLmdbLog } from "../src/adapters/lmdb/log.ts";
import { MemoryLog } from "../src/adapters/memory/log.ts";
import { START } from "../src/core/position.ts";
import type { Clock } from "../src/ports/clock.ts";
import type { EventLog, NewEvent } from "../src/ports/event-log.ts";

const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (callback, ms) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "headwater-bench-"));
const ROUNDS = 3;
const WRITERS = 64;

/** Somewhere to append to: a log, or lmdb itself. */
interface Target {
  readonly name: string;
  append(writer: number, data: Uint8Array): Promise<unknown>;
  readonly log?: EventLog;
  close(): Promise<void>;
}

function overLog(name: string, log: EventLog): Target {
  const next = new Map<number, number>();
  return {
    name,
    log,
    append(writer, data) {
      const revision = next.get(writer) ?? 0;
      next.set(writer, revision + 1);
      return log.append(`steps_bench.map.${writer}`, revision === 0 ? "no-stream" : revision - 1, [
        event(data),
      ]);
    },
    close: () => log.close(),
  };
}

function event(data: Uint8Array): NewEvent {
  return { id: randomUUID(), type: "StepsRecorded", data, metadata: METADATA };
}

const METADATA = Buffer.from(JSON.stringify({ previous: "0".repeat(64), digest: "0".repeat(64) }));

/** What lmdb does by itself: one key and one value a transaction, with the same durability. */
function bareLmdb(dir: string): Target {
  const root = open({
    path: dir,
    overlappingSync: false,
    eventTurnBatching: false,
    noSubdir: false,
    mapSize: 2 ** 40,
  });
  const table = root.openDB("events", { encoding: "binary", keyEncoding: "binary" });
  const key = Buffer.alloc(8);
  let position = 0;
  return {
    name: "bare lmdb",
    append: (_, data) =>
      root.transaction(() => {
        key.writeUInt32BE(++position, 4);
        table.putSync(key, data);
      }),
    close: () => root.close(),
  };
}

async function rate(count: number, run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return (count / (performance.now() - start)) * 1000;
}

async function oneAtATime(target: Target, data: Uint8Array, count: number): Promise<number> {
  return rate(count, async () => {
    for (let i = 0; i < count; i++) await target.append(0, data);
  });
}

async function inFlight(target: Target, data: Uint8Array, count: number, writers: number): Promise<number> {
  return rate(count, () =>
    Promise.all(
      Array.from({ length: writers }, async (_, writer) => {
        for (let i = writer; i < count; i += writers) await target.append(writer, data);
      }),
    ),
  );
}

async function reads(log: EventLog): Promise<{ readonly all: number; readonly single: number }> {
  let count = 0;
  const start = performance.now();
  for await (const _ of log.readAll()) count += 1;
  const all = (count / (performance.now() - start)) * 1000;
  const singles = 2_000;
  const last = (await log.streamInfo("steps_bench.map.0"))?.lastRevision ?? 0;
  const single = await rate(singles, async () => {
    for (let i = 0; i < singles; i++) {
      for await (const _ of log.read("steps_bench.map.0", { from: i % (last + 1), limit: 1 })) break;
    }
  });
  return { all, single };
}

/** Events a subscriber gets per second: what is there, and then while four writers append. */
async function subscriptions(target: Target, log: EventLog, data: Uint8Array, count: number) {
  const { position } = await log.size();
  const past = await followed(log, START, () => {}, position === START ? 0 : await countAll(log));
  const live = await followed(log, position, () => void inFlight(target, data, count, 4), count);
  return { past, live };
}

async function followed(
  log: EventLog,
  after: typeof START,
  begin: () => void,
  count: number,
): Promise<number> {
  let seen = 0;
  return rate(count, async () => {
    begin();
    if (count === 0) return;
    for await (const message of log.subscribeAll({ everything: true }, after)) {
      if (message.kind === "events") seen += message.events.length;
      if (seen >= count) break;
    }
  });
}

async function countAll(log: EventLog): Promise<number> {
  let count = 0;
  for await (const _ of log.readAll()) count += 1;
  return count;
}

async function main(): Promise<void> {
  const best = new Map<string, number>();
  const note = (name: string, value: number) => best.set(name, Math.max(value, best.get(name) ?? 0));
  for (let round = 0; round < ROUNDS; round++) {
    for (const size of [200, 65_536]) {
      const data = new Uint8Array(size).fill(7);
      const [few, many] = size === 200 ? [1_000, 20_000] : [500, 3_000];
      const makers: readonly ((dir: string) => Promise<Target>)[] = [
        async (dir) => overLog("lmdb", await openLmdbLog({ dir, clock, ids: { uuid: randomUUID } })),
        async (dir) => bareLmdb(dir),
        async () => overLog("memory", MemoryLog.create({ id: randomUUID(), clock })),
      ];
      for (const [i, make] of makers.entries()) {
        const target = await make(join(folder, `${round}-${size}-${i}`));
        const name = (what: string) => `${size} B  ${what.padEnd(28)} ${target.name}`;
        note(name("appends, one at a time"), await oneAtATime(target, data, few));
        note(name(`appends, ${WRITERS} in flight`), await inFlight(target, data, many, WRITERS));
        note(name("appends, 6 in flight"), await inFlight(target, data, few * 4, 6));
        if (target.log !== undefined) {
          const { all, single } = await reads(target.log);
          note(name("events read, all"), all);
          note(name("events read, one a call"), single);
          const { past, live } = await subscriptions(target, target.log, data, few * 2);
          note(name("events subscribed, past"), past);
          note(name("events subscribed, live"), live);
        }
        await target.close();
        rmSync(join(folder, `${round}-${size}-${i}`), { recursive: true, force: true });
      }
    }
  }
  for (const [name, value] of [...best].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const megabytes = (value * Number.parseInt(name, 10)) / 1e6;
    console.log(
      `${name.padEnd(56)} ${Math.round(value).toString().padStart(9)}/s ${megabytes.toFixed(1).padStart(8)} MB/s`,
    );
  }
}

await main().finally(() => rmSync(folder, { recursive: true, force: true }));
