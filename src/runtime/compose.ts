import { join } from "node:path";
import { createBundler } from "../adapters/esbuild/bundler.ts";
import { isTarget, parseTarget } from "../adapters/eventstoredb/target.ts";
import { createFiles } from "../adapters/files/files.ts";
import { createSmallFiles } from "../adapters/files/small-files.ts";
import { createHttpClient } from "../adapters/http/client.ts";
import { openLmdbLog } from "../adapters/lmdb/log.ts";
import { openLmdbViewStore } from "../adapters/lmdb/view-store.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { createMemoryViewStore } from "../adapters/memory/view-store.ts";
import { createChildren } from "../adapters/system/children.ts";
import { createSystemClock } from "../adapters/system/clock.ts";
import { createCommands } from "../adapters/system/commands.ts";
import { createIds } from "../adapters/system/ids.ts";
import { lowerPriority } from "../adapters/system/priority.ts";
import { createProcesses } from "../adapters/system/processes.ts";
import { createSecrets } from "../adapters/system/secrets.ts";
import { createThreads } from "../adapters/threads/threads.ts";
import { createWatchdog } from "../adapters/threads/watchdog.ts";
import { HeadwaterError } from "../core/errors.ts";
import { withoutCredentials } from "../core/log-spec.ts";
import { moduleLibrary } from "../pipeline/module-library.ts";
import type { Bundler, NameFinder } from "../ports/bundler.ts";
import type { Children } from "../ports/children.ts";
import type { Clock } from "../ports/clock.ts";
import type { Commands } from "../ports/commands.ts";
import type { EventLog, LogNotice } from "../ports/event-log.ts";
import type { Files } from "../ports/files.ts";
import type { HttpClient } from "../ports/http.ts";
import type { Ids } from "../ports/ids.ts";
import type { Processes } from "../ports/processes.ts";
import type { Secrets } from "../ports/secrets.ts";
import type { SmallFiles } from "../ports/small-files.ts";
import type { Threads } from "../ports/threads.ts";
import type { ViewStore } from "../ports/view-store.ts";
import type { Watchdog } from "../ports/watchdog.ts";

export { lowerPriority };

export interface OpenLogOptions {
  /** Only reads and subscriptions; the log has to exist. */
  readonly readOnly?: boolean;
  /** Makes the log if it is not there; the default unless it is opened only to read. */
  readonly create?: boolean;
  /** What it writes is in no hurry: whoever else writes to the log comes first, where a store can tell. */
  readonly courteous?: boolean;
  /** Told when the log keeps everyone waiting, and why. */
  readonly onNotice?: (notice: LogNotice) => void;
  /** The id of a log that is made now; random if absent. */
  readonly id?: string;
}

/**
 * Opens the log that `spec` names: `lmdb:<dir>`, `esdb://…` or `esdb+discover://…` (see {@link parseTarget}), or
 * `memory:` (one that ends with the process). User and password of an EventStoreDB may be left to the environment
 * variables HEADWATER_ESDB_USER and HEADWATER_ESDB_PASSWORD. Throws `BadUsage` for anything else, and what the store
 * throws.
 */
export async function openLog(spec: string, options: OpenLogOptions = {}): Promise<EventLog> {
  const clock = createSystemClock();
  const ids = options.id === undefined ? createIds() : idsBeginningWith(options.id);
  const scheme = spec.slice(0, spec.indexOf(":") + 1);
  const rest = spec.slice(scheme.length);
  if (scheme === "memory:" && rest === "") return MemoryLog.create({ id: ids.uuid(), clock });
  if (scheme === "lmdb:" && rest !== "") {
    const readOnly = options.readOnly ?? false;
    const { create = !readOnly, courteous = false, onNotice } = options;
    return openLmdbLog({ dir: rest, clock, ids, readOnly, create, courteous, ...(onNotice && { onNotice }) });
  }
  if (isTarget(spec)) {
    const target = parseTarget(spec, process.env);
    const readOnly = options.readOnly ?? false;
    // Loaded only when it is used: it is larger than everything else together.
    const { openEventStoreDbLog } = await import("../adapters/eventstoredb/log.ts");
    return openEventStoreDbLog({ target, clock, ids, readOnly, create: options.create ?? !readOnly });
  }
  throw new HeadwaterError("BadUsage", `not a log: ${JSON.stringify(withoutCredentials(spec))}`, {
    where: "--log",
    hint: "Use lmdb:<folder>, such as lmdb:.headwater, esdb://host:2113 for an EventStoreDB, or memory: for one that is gone afterwards.",
  });
}

function idsBeginningWith(first: string): Ids {
  const random = createIds();
  let given = false;
  return {
    uuid: () => {
      if (given) return random.uuid();
      given = true;
      return first;
    },
  };
}

/**
 * Opens what the views of a log are kept in: in the folder `views`, or beside an LMDB log, or in `.headwater.views`. Each
 * log has a folder of its own there. Of a log in memory they are in memory.
 */
export async function openViewStore(spec: string, log: EventLog, views?: string): Promise<ViewStore> {
  if (views === undefined && spec === "memory:") return createMemoryViewStore();
  return openLmdbViewStore(join(views ?? viewsBeside(spec), log.id));
}

function viewsBeside(spec: string): string {
  if (!spec.startsWith("lmdb:")) return ".headwater.views";
  return `${spec.slice("lmdb:".length).replace(/\/+$/, "")}.views`;
}

/** The folders in which a log, and the views of it, have their files. */
export function foldersOf(spec: string): readonly string[] {
  if (spec === "memory:") return [];
  return [...(spec.startsWith("lmdb:") ? [spec.slice("lmdb:".length)] : []), viewsBeside(spec)];
}

/** A store of views that ends with the program. */
export function createMemoryViews(): ViewStore {
  return createMemoryViewStore();
}

/** Everything that a run needs from outside, but for the log. */
export interface Surroundings {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly files: Files;
  readonly http: HttpClient;
  readonly processes: Processes;
  readonly bundler: Bundler & NameFinder;
  readonly threads: Threads;
}

/** The program of a thread, as it was built: beside this module where that was built, too, else (in tests) in `dist`. */
function programOf(name: string): URL {
  const folder = import.meta.url.endsWith(".ts") ? "../../dist/src/runtime" : ".";
  return new URL(`${folder}/${name}.js`, import.meta.url);
}

export function createSurroundings(): Surroundings {
  const clock = createSystemClock();
  return {
    clock,
    ids: createIds(),
    files: createFiles(),
    http: createHttpClient(clock),
    processes: createProcesses(),
    bundler: createBundler(moduleLibrary),
    threads: createThreads(programOf("thread-main")),
  };
}

/** Watches a run of a command: see `RunEnvironment.watchdog`. A program that runs a pipeline has its own standard error. */
export function createRunWatchdog(): Watchdog {
  return createWatchdog(programOf("watchdog-main"));
}

/** What keys, checkpoints and audits need from outside. */
export interface ProofSurroundings {
  readonly bundler: Bundler;
  readonly children: Children;
  readonly commands: Commands;
  readonly clock: Clock;
  readonly files: SmallFiles;
  readonly secrets: Secrets;
}

export function createProofSurroundings(): ProofSurroundings {
  return {
    bundler: createBundler(moduleLibrary),
    children: createChildren(),
    commands: createCommands(),
    clock: createSystemClock(),
    files: createSmallFiles(),
    secrets: createSecrets(),
  };
}

/** What evidence needs from outside, to be made and to be checked. */
export type EvidenceSurroundings = Pick<ProofSurroundings, "bundler" | "files">;

export function createEvidenceSurroundings(): EvidenceSurroundings {
  return createProofSurroundings();
}
