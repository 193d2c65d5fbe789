import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Surroundings } from "../runtime/compose.ts";
import type { ThreadSettings } from "../runtime/node-thread.ts";

/** What a caller may say of where nodes run. */
export interface ExecutorRequest {
  readonly executor?: "inline" | "threads";
  readonly nodes?: number;
  readonly hangAfterMs?: number;
  readonly threadMemoryMb?: number;
}

/** How many nodes there are, and the threads that they run in; none if they run in this one. */
export interface ChosenExecutor {
  readonly nodes: number;
  readonly threads?: ThreadSettings;
}

/**
 * Completes what a caller said. There are no more nodes than partitions: they would have nothing to do. Throws `BadUsage` for numbers out of their bounds, or an executor that is none.
 */
export function chooseExecutor(
  { executor = "inline", nodes, ...request }: ExecutorRequest,
  { threads }: Pick<Surroundings, "threads">,
  partitions: number,
): ChosenExecutor {
  if (nodes !== undefined && !(Number.isSafeInteger(nodes) && nodes >= 1)) {
    throw new HeadwaterError("BadUsage", `not a number of nodes, from 1 on: ${nodes}`, { where: "nodes" });
  }
  if (executor === "inline") {
    mustBeAboutNone(request);
    return { nodes: Math.min(nodes ?? 1, partitions) };
  }
  if (executor !== "threads") {
    throw new HeadwaterError("BadUsage", `there is no executor ${JSON.stringify(executor)}`, {
      where: "executor",
      hint: 'Nodes run "inline", or in "threads".',
    });
  }
  const { hangAfterMs = LIMITS.hangAfterMs, threadMemoryMb: memoryMb = LIMITS.threadMemoryMb } = request;
  mustBeWithin("hangAfterMs", hangAfterMs, LIMITS.hangAfterMsLeast, LIMITS.hangAfterMsMost);
  mustBeWithin("threadMemoryMb", memoryMb, LIMITS.threadMemoryMbLeast, LIMITS.threadMemoryMbMost);
  return {
    nodes: Math.min(nodes ?? threads.parallelism, partitions),
    threads: { hangAfterMs, memoryMb },
  };
}

/** Throws `BadUsage` for what is said of threads where there are none. */
function mustBeAboutNone(request: Pick<ExecutorRequest, "hangAfterMs" | "threadMemoryMb">): void {
  const where = (["hangAfterMs", "threadMemoryMb"] as const).find((name) => request[name] !== undefined);
  if (where === undefined) return;
  throw new HeadwaterError("BadUsage", `${where} is about threads, and nodes run in this one`, {
    where,
    hint: 'Add executor: "threads", or leave it out.',
  });
}

/** Throws `BadUsage` for what is no whole number within its bounds. */
export function mustBeWithin(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw new HeadwaterError("BadUsage", `not a whole number from ${least} to ${most}: ${value}`, {
    where: name,
  });
}
