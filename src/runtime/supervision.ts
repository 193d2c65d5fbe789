import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { Assignment, EventTypes } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { supervisorStream } from "../core/streams.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Processes } from "../ports/processes.ts";
import { type Draft, StreamTail } from "./stream-tail.ts";

export interface SupervisionOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly processes: Processes;
  readonly pipeline: string;
  /** Random UUID of this start. */
  readonly process: string;
  /** Says that another process is waited for. Absent: one that is at work is not, and `claim` throws `OwnershipLost`. */
  onStandBy?(message: string): void;
}

/** How often a stand-by looks at the stream, in milliseconds. */
const LOOK_MS = 50;
/** An append that the log did not take is made again this much later, in milliseconds. */
const REPEAT_MS = 100;

type MarkType = "SupervisorClaimed" | "SupervisorReleased" | "Heartbeat" | "UnitsAssigned";

/**
 * The right to supervise a pipeline, held by one process at a time. It is held as long as nobody else has
 * appended to the supervisor's stream: each append expects the exact end.
 */
export class Supervision {
  readonly #options: SupervisionOptions;
  readonly #stop = new AbortController();
  #tail: StreamTail;
  #epoch: number;
  #version: number;
  /** Appends to the stream one after the other. */
  #queue: Promise<void> = Promise.resolve();

  private constructor(options: SupervisionOptions, tail: StreamTail, epoch: number, version: number) {
    this.#options = options;
    this.#tail = tail;
    this.#epoch = epoch;
    this.#version = version;
  }

  /**
   * Claims the supervision. While another process has it, waits until that one releases it, is seen to be dead, or
   * has been silent for three heartbeats and some jitter by this process's own clock, while this one looked. Throws
   * `Stopped` when `signal` aborts, and `OwnershipLost` if nobody is to be waited for.
   */
  static async claim(options: SupervisionOptions, signal: AbortSignal): Promise<Supervision> {
    const { log, clock, pipeline } = options;
    const stream = supervisorStream(pipeline);
    let seen = -1;
    let silentMs = 0;
    let lookedAt = clock.monotonic();
    let told = false;
    for (;;) {
      if (signal.aborted)
        throw new HeadwaterError(
          "Stopped",
          told ? "stopped while standing by for the pipeline" : "stopped before the pipeline was begun",
          { where: pipeline },
        );
      const tail = await StreamTail.open(log, stream);
      const now = clock.monotonic();
      // A log that was slow to answer, or a stop of this process itself, says nothing about the other one.
      const spoke = seen >= 0 && tail.revision !== seen;
      silentMs = tail.revision === seen ? silentMs + Math.min(now - lookedAt, LIMITS.heartbeatMs) : 0;
      seen = tail.revision;
      lookedAt = now;
      const mark = markOf(tail);
      if (mark === undefined || mayClaim(options, mark, silentMs)) {
        const supervision = new Supervision(options, tail, (mark?.epoch ?? 0) + 1, mark?.version ?? 0);
        try {
          await supervision.#append("SupervisorClaimed", {});
          return supervision;
        } catch (error) {
          // Somebody else was quicker: look again.
          if (!isHeadwaterError(error, "OwnershipLost")) throw error;
          continue;
        }
      }
      if (options.onStandBy === undefined && (spoke || options.processes.isAlive(mark) === true)) {
        throw new HeadwaterError("OwnershipLost", "another process runs the pipeline", { where: stream });
      }
      if (!told) {
        told = true;
        options.onStandBy?.(
          `process ${mark.pid} on ${mark.host} runs this pipeline; waiting to take over (Ctrl-C leaves it to that one)`,
        );
      }
      await sleep(clock, LOOK_MS, signal);
    }
  }

  /** Version of the latest assignment. */
  get version(): number {
    return this.#version;
  }

  /** Says once a second that this process lives. `lost` is called when another has taken over. */
  beat(lost: (error: unknown) => void): void {
    const { clock } = this.#options;
    const next = async () => {
      for (;;) {
        await sleep(clock, LIMITS.heartbeatMs, this.#stop.signal);
        if (this.#stop.signal.aborted) return;
        await this.#append("Heartbeat", {});
      }
    };
    next().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) lost(error);
    });
  }

  async assign(version: number, units: readonly Assignment[]): Promise<void> {
    this.#version = version;
    await this.#append("UnitsAssigned", { units });
  }

  /** Throws `OwnershipLost` if another process has taken over, as one finds out that was asleep. */
  async confirm(): Promise<void> {
    await this.#append("Heartbeat", {});
  }

  /** Gives the supervision up. */
  async release(): Promise<void> {
    this.#stop.abort();
    await this.#append("SupervisorReleased", {});
  }

  /** Stops to beat without a word, as a process does that dies. */
  abandon(): void {
    this.#stop.abort();
  }

  #append(type: MarkType, more: { readonly units?: readonly Assignment[] }): Promise<void> {
    const append = async () => {
      const { log, clock, process, processes, pipeline } = this.#options;
      const event = {
        v: 1,
        wall: clock.now(),
        epoch: this.#epoch,
        process,
        host: processes.host,
        pid: processes.pid,
        instance: processes.instance,
        version: this.#version,
        ...more,
      } as EventTypes[MarkType];
      const sealed = this.#tail.seal([{ type, event } as Draft]);
      const { stream, expected, events } = sealed.append;
      const begun = clock.monotonic();
      for (;;) {
        try {
          await log.append(stream, expected, events);
          this.#tail.advance(sealed);
          return;
        } catch (cause) {
          if (isHeadwaterError(cause, "WrongExpectedRevision")) {
            throw new HeadwaterError("OwnershipLost", "another process has taken over the pipeline", {
              where: supervisorStream(pipeline),
              cause,
            });
          }
          // After this time stand-bys take it for dead, and are right to.
          const patient = clock.monotonic() - begun < LIMITS.heartbeatMs * LIMITS.heartbeatsMissed;
          if (!isHeadwaterError(cause, "LogUnavailable") || !patient) throw cause;
        }
        // The very same append: what is not known to have been made may have been made.
        await sleep(clock, REPEAT_MS);
      }
    };
    const done = this.#queue.then(append);
    this.#queue = done.catch(() => {});
    return done;
  }
}

/**
 * The process that supervises a pipeline, other than this one; `undefined` if none does. Of one on another host that
 * shows only in its heartbeats: they are waited for.
 */
export async function processAtWork({
  log,
  clock,
  processes,
  pipeline,
}: Pick<SupervisionOptions, "log" | "clock" | "processes" | "pipeline">): Promise<
  { readonly host: string; readonly pid: number } | undefined
> {
  const stream = supervisorStream(pipeline);
  const begun = clock.monotonic();
  let revision: number | undefined;
  for (;;) {
    const tail = await StreamTail.open(log, stream);
    const mark = markOf(tail);
    if (mark === undefined || mark.released) return undefined;
    const { host, pid } = mark;
    const alive = processes.isAlive(mark);
    if (alive === true || tail.revision !== (revision ?? tail.revision)) return { host, pid };
    const silent = clock.monotonic() - begun > LIMITS.heartbeatMs * LIMITS.heartbeatsMissed;
    if (alive === false || silent) return undefined;
    revision = tail.revision;
    await sleep(clock, LOOK_MS);
  }
}

/** How long a process on another host counts as being at work after its last word, by the wall clock, in milliseconds. */
const SILENT_MS = 60_000;

/**
 * Whether a replay runs a pipeline's history into a fork of it, as the last words of the forks' supervisors say: it
 * reads what may be anywhere in that.
 */
export async function forkAtWork({
  log,
  clock,
  processes,
  pipeline,
}: Pick<SupervisionOptions, "log" | "clock" | "processes" | "pipeline">): Promise<boolean> {
  for await (const { stream } of log.streams({ prefixes: ["supervisor_"] })) {
    if (!stream.startsWith(`${supervisorStream(pipeline)}~`)) continue;
    const { last } = await StreamTail.open(log, stream);
    if (last === undefined || last.type === "SupervisorReleased" || !("instance" in last.data)) continue;
    const alive = processes.isAlive(last.data);
    if (alive ?? clock.now() - last.data.wall < SILENT_MS) return true;
  }
  return false;
}

type Mark = Pick<EventTypes["Heartbeat"], "epoch" | "process" | "host" | "pid" | "instance" | "version"> & {
  readonly released: boolean;
};

function markOf(tail: StreamTail): Mark | undefined {
  const { last } = tail;
  if (last === undefined) return undefined;
  switch (last.type) {
    case "SupervisorClaimed":
    case "SupervisorReleased":
    case "Heartbeat":
    case "UnitsAssigned":
      return { ...last.data, released: last.type === "SupervisorReleased" };
    default:
      throw new HeadwaterError("LogDamaged", `a supervisor's stream ends in ${last.type}`, {
        where: tail.stream,
      });
  }
}

function mayClaim(options: SupervisionOptions, mark: Mark, silentMs: number): boolean {
  if (mark.released) return true;
  if (options.processes.isAlive(mark) === false) return true;
  return silentMs > LIMITS.heartbeatMs * LIMITS.heartbeatsMissed + jitterMs(options.process);
}

/** From 0 to `standByJitterMs`, of a process's own: its id is random. */
function jitterMs(process: string): number {
  return (Number.parseInt(process.slice(0, 4), 16) / 0x10000) * LIMITS.standByJitterMs;
}
