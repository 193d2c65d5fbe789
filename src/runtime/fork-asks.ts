import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { ReplayAsk } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { pipelineStream } from "../core/streams.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Processes } from "../ports/processes.ts";
import { lastEvent, StreamTail } from "./stream-tail.ts";
import { askIn } from "./verification.ts";

/** What is wanted of a replay: what was asked last; `undefined` if nothing was. */
export async function askedOf(log: EventLog, fork: string): Promise<ReplayAsk | undefined> {
  const last = await lastEvent(log, pipelineStream(fork));
  return last && askIn(decodeEvent(last));
}

/**
 * Says what is wanted of a fork, if that is not what was asked last. What was stopped is ended for good: nothing can be
 * asked of it any more, and nothing is said.
 */
export async function askOf(
  log: EventLog,
  clock: Clock,
  processes: Processes,
  fork: string,
  ask: ReplayAsk,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const tail = await StreamTail.open(log, pipelineStream(fork));
    const asked = tail.last && askIn(tail.last);
    if (asked === ask || asked === "stop") return;
    const { host, pid } = processes;
    try {
      await tail.append([{ type: "ReplayAsked", event: { v: 1, wall: clock.now(), host, pid, ask } }]);
      return;
    } catch (error) {
      const outrun = isHeadwaterError(error, "WrongExpectedRevision");
      if (!outrun || attempt === LIMITS.retryAttempts) throw error;
    }
  }
}

/**
 * A signal that aborts when a fork is asked to stand still or to end, or `signal` aborts; `end` stops looking. Who asks
 * is another process: the log is looked at from time to time.
 */
export function untilAsked(
  log: EventLog,
  clock: Clock,
  fork: string,
  signal: AbortSignal,
): { readonly signal: AbortSignal; end(): void } {
  const ended = new AbortController();
  const asked = new AbortController();
  const look = async () => {
    while (!ended.signal.aborted) {
      await sleep(clock, LIMITS.replayProgressMs, ended.signal);
      const ask = await askedOf(log, fork).catch(() => undefined);
      if (ask === "pause" || ask === "stop") asked.abort(askedToEnd(ask, fork));
    }
  };
  void look();
  return { signal: AbortSignal.any([signal, asked.signal]), end: () => ended.abort() };
}

function askedToEnd(ask: "pause" | "stop", fork: string): HeadwaterError {
  const hint =
    ask === "pause" ? howToGoOn(fork) : "It is ended for good. Begin another one, with another id.";
  return new HeadwaterError("Stopped", `the replay was asked to ${ask}`, { where: fork, hint });
}

/** What to throw where a replay has ended with `error`: it says who asked for that, and how it is gone on with. */
export async function whyEnded(
  log: EventLog,
  fork: string,
  error: unknown,
  { reason }: AbortSignal,
): Promise<unknown> {
  if (!isHeadwaterError(error, "Stopped")) return error;
  if (isHeadwaterError(reason)) return reason;
  // Before it was begun there is nothing to go on with.
  if ((await log.streamInfo(pipelineStream(fork)).catch(() => undefined)) === undefined) return error;
  const { message, where = fork } = error;
  return new HeadwaterError("Stopped", message, { where, hint: howToGoOn(fork), cause: error });
}

function howToGoOn(fork: string): string {
  const days = LIMITS.replayHoldsMs / (24 * 3_600_000);
  return `Go on with it: headwater replay resume ${fork}. Until then, but ${days} days at most, retention lets go of none of its pipeline's history; headwater replay stop ${fork} ends it.`;
}
