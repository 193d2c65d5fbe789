import { type Command, Option } from "commander";
import type { RunRequest } from "../app/run-types.ts";
import { LIMITS } from "../core/limits.ts";
import { badUsage } from "./errors.ts";
import { timeMs, wholeNumber } from "./options.ts";

/** Where the nodes of a run are, for each command that runs a pipeline. */
export interface ExecutorOptions {
  readonly nodes?: number;
  readonly executor: "inline" | "threads";
  readonly hangAfter?: number;
  readonly threadMemory?: number;
}

const MS_PER_SECOND = 1_000;

/** Adds the options that {@link executorOf} reads. */
export function addExecutorOptions(command: Command): Command {
  return command
    .option(
      "--nodes <n>",
      "nodes that share the partitions, no more than these (default: 1; with threads, one for each core)",
      wholeNumber(1, LIMITS.partitionsMost),
    )
    .addOption(
      new Option("--executor <kind>", "where nodes run: all in one thread, or each in its own")
        .choices(["inline", "threads"])
        .default("inline"),
    )
    .option(
      "--hang-after <time>",
      `threads: one that is at a record for so long without a word is replaced (default: ${LIMITS.hangAfterMs / MS_PER_SECOND}s; a number alone: milliseconds)`,
      timeMs(1, LIMITS.hangAfterMsLeast, LIMITS.hangAfterMsMost),
    )
    .option(
      "--thread-memory <MiB>",
      `threads: the most that one may use (default: ${LIMITS.threadMemoryMb})`,
      wholeNumber(LIMITS.threadMemoryMbLeast, LIMITS.threadMemoryMbMost),
    );
}

/** What they say of a run. Throws `BadUsage` for what is said of threads where there are none. */
export function executorOf(
  own: ExecutorOptions,
): Pick<RunRequest, "nodes" | "executor" | "hangAfterMs" | "threadMemoryMb"> {
  for (const [option, value] of [
    ["--hang-after", own.hangAfter],
    ["--thread-memory", own.threadMemory],
  ] as const) {
    if (value === undefined || own.executor === "threads") continue;
    throw badUsage("this option is for threads", option, "Add --executor threads, or leave it out.");
  }
  return {
    ...(own.nodes === undefined ? {} : { nodes: own.nodes }),
    executor: own.executor,
    ...(own.hangAfter === undefined ? {} : { hangAfterMs: own.hangAfter }),
    ...(own.threadMemory === undefined ? {} : { threadMemoryMb: own.threadMemory }),
  };
}
