import { decodeEvent } from "../core/event-codec.ts";
import type { DeployedOutput } from "../core/events.ts";
import { forkOf, pipelineStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";

/** Where a sink of a log delivers to. */
export interface LogOutput {
  /** `PIPELINE/SINK`. */
  readonly sink: string;
  /** The target's id, as events have it; or where a fork was to write to, which may not have begun yet. */
  readonly to: string | DeployedOutput;
}

const SINKS = "sink_";

/**
 * Where each sink of a log has delivered to last, whoever's it is, and where the sinks of forks are to write to. Reads a
 * few events of each sink, and one of each fork.
 */
export async function* outputsOfLog(log: EventLog): AsyncGenerator<LogOutput> {
  for await (const { stream } of log.streams({ prefixes: [SINKS] })) {
    const to = await lastTarget(log, stream);
    if (to !== undefined) yield { sink: stream.slice(SINKS.length).replace(".", "/"), to };
  }
  const prefix = pipelineStream("");
  for await (const { stream } of log.streams({ prefixes: [prefix] })) {
    const name = stream.slice(prefix.length);
    if (forkOf(name) === undefined) continue;
    for (const output of await outputsOfFork(log, stream))
      yield { sink: `${name}/${output.sink}`, to: output };
  }
}

async function lastTarget(log: EventLog, stream: string): Promise<string | undefined> {
  for await (const recorded of log.read(stream, { direction: "backwards" })) {
    const { data } = decodeEvent(recorded);
    if ("target" in data && typeof data.target === "string") return data.target;
  }
  return undefined;
}

async function outputsOfFork(log: EventLog, stream: string): Promise<readonly DeployedOutput[]> {
  for await (const recorded of log.read(stream)) {
    const { type, data } = decodeEvent(recorded);
    return type === "PipelineDeployed" ? (data.fork?.outputs ?? []) : [];
  }
  return [];
}
