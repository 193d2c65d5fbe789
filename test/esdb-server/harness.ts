import { afterEach } from "vitest";
import { type EventStoreDbLog, openEventStoreDbLog } from "../../src/adapters/eventstoredb/log.ts";
import { parseTarget } from "../../src/adapters/eventstoredb/target.ts";
import { createIds } from "../../src/adapters/system/ids.ts";
import type { CancelTimer, Clock } from "../../src/ports/clock.ts";
import { TestServer, type TestServerOptions } from "./server.ts";

/** A clock on which everything that takes long takes a part of it. */
export class HurryingClock implements Clock {
  readonly #times: number;

  constructor(times: number) {
    this.#times = times;
  }

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now() * this.#times;
  }

  setTimeout(callback: () => void, ms: number): CancelTimer {
    const timer = setTimeout(callback, ms / this.#times);
    return () => clearTimeout(timer);
  }
}

export interface OpenOptions {
  readonly clock?: Clock;
  readonly readOnly?: boolean;
  readonly create?: boolean;
}

/** Test servers and logs, which are closed after the test that made them. */
export function esdbTests() {
  const toStop: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const stop of toStop.splice(0).reverse()) await stop();
  });
  const hurrying = new HurryingClock(20);
  return {
    hurrying,
    startServer: async (options: Partial<TestServerOptions> = {}): Promise<TestServer> => {
      const server = await TestServer.start({ clock: hurrying, ...options });
      toStop.push(() => server.stop());
      return server;
    },
    open: async (url: string, options: OpenOptions = {}): Promise<EventStoreDbLog> => {
      const { clock = hurrying, readOnly = false, create = !readOnly } = options;
      const log = await openEventStoreDbLog({
        target: parseTarget(url),
        clock,
        ids: createIds(),
        readOnly,
        create,
      });
      toStop.push(() => log.close());
      return log;
    },
  };
}

/** Resolves as soon as `condition` holds. */
export async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}
