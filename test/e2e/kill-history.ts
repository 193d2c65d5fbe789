import { existsSync, readFileSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { EventStoreDbLog } from "../../src/adapters/eventstoredb/log.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { Command, type Ended, projectFile, type Workplace } from "./command.ts";
import { between } from "./workload.ts";

/** A pipeline, and what it is run on. */
export interface Subject {
  readonly pipeline: string;
  /** Source → file. */
  readonly inputs: Readonly<Record<string, string>>;
  /** Sinks that write a file `<sink>.jsonl`; the others only count. */
  readonly outputs: readonly string[];
  readonly batch: number;
}

/** When a run is killed. */
export type Blow =
  /** When it comes to the point for the `times`-th time; it kills itself. */
  | { readonly kind: "point"; readonly point: string; readonly times: number }
  /** From outside, when it has added this many events to the log, and then this many milliseconds later. */
  | { readonly kind: "moment"; readonly events: number; readonly ms: number };

/** The points that the runtime has names for, see `probe` there: how often a run surely comes to them. */
const POINTS_MOST = {
  ...pointsOf("door", ["before", "between", "after"], 40),
  ...pointsOf("steps", ["before", "between", "after"], 60),
  ...pointsOf("snapshot", ["before", "between", "after"], 1),
  ...pointsOf("door-claim", ["before", "after"], 1),
  ...pointsOf("claim", ["before", "after"], 6),
  ...pointsOf("sink-claim", ["before", "after"], 2),
  ...pointsOf("flush", ["before", "after"], 2),
  ...pointsOf("delivered", ["before", "after"], 2),
};

export const POINTS: readonly string[] = Object.keys(POINTS_MOST);

function pointsOf(act: string, moments: readonly string[], most: number): Record<string, number> {
  return Object.fromEntries(moments.map((moment) => [`${act}:${moment}`, most]));
}

/** Each point when it is first come to, and once more, later on where there is a later. */
export function atEveryPoint(random: () => number): Blow[] {
  return Object.entries(POINTS_MOST).flatMap(([point, most]) =>
    [1, between(random, Math.min(2, most), most)].map((times) => ({ kind: "point", point, times }) as const),
  );
}

export function atRandomMoments(random: () => number, count: number): Blow[] {
  return Array.from({ length: count }, () => ({
    kind: "moment",
    events: between(random, 1, 90),
    ms: random() < 0.5 ? 0 : between(random, 1, 60),
  }));
}

export function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const left = [...list];
  return Array.from(list, () => left.splice(between(random, 0, left.length - 1), 1)).flat();
}

/** A folder with a subject's inputs, its log and its outputs, and the runs of it. */
export class History {
  readonly folder: string;
  readonly #subject: Subject;
  readonly #nodes: number;
  readonly #server: string | undefined;

  private constructor(folder: string, subject: Subject, nodes: number, server: string | undefined) {
    this.folder = folder;
    this.#subject = subject;
    this.#nodes = nodes;
    this.#server = server;
  }

  /** @param server a connection string, if the log is not to be in the folder */
  static async begin(place: Workplace, subject: Subject, nodes: number, server?: string): Promise<History> {
    const folder = await place.folder();
    for (const file of Object.values(subject.inputs)) await copyFile(file, join(folder, basename(file)));
    return new History(folder, subject, nodes, server);
  }

  /** Its folder, or its connection string. */
  get log(): string {
    return this.#server ?? join(this.folder, ".headwater");
  }

  get args(): string[] {
    const { pipeline, inputs, outputs, batch } = this.#subject;
    return [
      "run",
      projectFile(`test/e2e/fixtures/${pipeline}.ts`),
      ...Object.entries(inputs).flatMap(([source, file]) => ["--input", `${source}=${basename(file)}`]),
      ...outputs.flatMap((sink) => ["--output", `${sink}=${sink}.jsonl`]),
      ...["--batch", String(batch), "--nodes", String(this.#nodes), "--json"],
      ...(this.#server === undefined ? [] : ["--log", this.#server]),
    ];
  }

  output(sink: string): Buffer {
    const path = join(this.folder, `${sink}.jsonl`);
    return existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  }

  /** Runs the subject on; answers how it ended. */
  async run(blow?: Blow): Promise<Ended> {
    const env: Record<string, string> = {};
    if (blow?.kind === "point") env["HEADWATER_FAIL_AT"] = `${blow.point}:${blow.times}`;
    if (blow?.kind !== "moment") return await new Command(this.args, { cwd: this.folder, env }).ended;
    const before = await this.events();
    const command = new Command(this.args, { cwd: this.folder, env });
    await this.untilEvents(before + blow.events, command);
    await Promise.race([pause(blow.ms), command.ended]);
    command.kill("SIGKILL");
    return await command.ended;
  }

  /** Resolves when the log holds `count` events, or the command has ended. */
  async untilEvents(count: number, command: Command): Promise<void> {
    await until(async () => command.exited || (await this.events()) > 0);
    if (command.exited) return;
    const log = await this.#openLog();
    try {
      await until(async () => command.exited || (await eventsIn(log)) >= count);
    } finally {
      await log.close();
    }
  }

  #openLog(): Promise<EventLog> {
    return openLog(this.#server ?? `lmdb:${this.log}`, { readOnly: true });
  }

  /** How many events the log holds; 0 while it is not there. */
  async events(): Promise<number> {
    if (this.#server === undefined && !existsSync(join(this.log, "data.mdb"))) return 0;
    try {
      const log = await this.#openLog();
      const events = await eventsIn(log);
      await log.close();
      return events;
    } catch {
      // It is being made at this moment, or was killed while it was.
      return 0;
    }
  }
}

/** How many events a log holds: LMDB numbers them, EventStoreDB has to be asked for all. */
async function eventsIn(log: EventLog): Promise<number> {
  if (!(log instanceof EventStoreDbLog)) return Number((await log.size()).position.commit);
  let events = 0;
  for await (const _ of log.readAll()) events++;
  return events;
}

/** Lets `most` things be done at the same time; two processes are enough for two cores. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  async do<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

/** Polls until `holds`. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(5);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
