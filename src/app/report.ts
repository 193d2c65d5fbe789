import { toHex } from "../core/digest.ts";
import { describeThrown } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { formatPosition } from "../core/position.ts";
import type { PipelineDefinition } from "../pipeline/definition.ts";
import { notableParameters } from "../pipeline/parameter-overrides.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog, LogNotice } from "../ports/event-log.ts";
import type { RunEnd, RunOptions } from "../runtime/run-options.ts";
import { waitingRecords } from "../runtime/waiting-records.ts";
import { backpressureOf } from "./backpressure.ts";
import type { RunNotice, RunReport } from "./run-types.ts";

const MS_PER_SECOND = 1_000;

type Notices = Pick<
  RunOptions,
  | "onDeployed"
  | "onRejected"
  | "onQuarantined"
  | "onResumed"
  | "onInputFailed"
  | "onTimeAhead"
  | "onOutputWaits"
  | "onOutputMissing"
  | "onStageWaits"
  | "onDrainTimeout"
  | "onStandBy"
  | "onBegunAgain"
  | "onRestarted"
  | "onNodeLost"
>;

/** What a run tells while it goes on, as notices. */
export function noticesTo(
  definition: PipelineDefinition,
  notify: ((notice: RunNotice) => void) | undefined,
): Notices {
  return {
    onDeployed: ({ version, deployment }, before) =>
      notify?.({
        kind: "deployed",
        pipeline: definition.name,
        version,
        deployment: toHex(deployment),
        parameters: notableParameters(definition, before?.parameters),
      }),
    onRejected: (source, where, error) => notify?.({ kind: "rejected", source, where, error }),
    onQuarantined: (stage, address, message) => notify?.({ kind: "quarantined", stage, address, message }),
    onResumed: (source, input, records) => notify?.({ kind: "resumed", source, input, records }),
    onInputFailed: (source, error) => notify?.({ kind: "input-failed", source, error }),
    onTimeAhead: (source, where, time) => notify?.({ kind: "time-ahead", source, where, time }),
    onOutputWaits: (sink, reason) => notify?.({ kind: "output-waits", sink, reason }),
    onOutputMissing: (sink, missing) => notify?.({ kind: "output-missing", sink, ...missing }),
    onStageWaits: (what, why) =>
      notify?.({
        kind: "stage-waits",
        what,
        ms: LIMITS.waitToldMs,
        ...(why !== undefined && { why }),
      }),
    onDrainTimeout: (drainMs) => notify?.({ kind: "drain-timeout", drainMs }),
    onStandBy: (message) => notify?.({ kind: "standing-by", message }),
    onBegunAgain: ({ code, message, where }) => {
      const what = where === undefined ? message : `${message}: ${where}`;
      const next = code === "OwnershipLost" ? "this one stands by" : "trying again (Ctrl-C ends it)";
      notify?.({ kind: "begun-again", message: `${what}; ${next}` });
    },
    onRestarted: (node, error) => notify?.({ kind: "restarted", node, message: describeThrown(error) }),
    onNodeLost: (node, replacement, { message, where, hint }) =>
      notify?.({ kind: "node-lost", node, replacement, message, where, hint }),
  };
}

/** What a log tells while it is open, as notices. */
export function logNotices(notify: ((notice: RunNotice) => void) | undefined): (notice: LogNotice) => void {
  return (notice) => notify?.({ kind: "log", ...notice });
}

/** By the monotonic clock, in milliseconds. */
export interface RunTime {
  readonly started: number;
  readonly ended: number;
}

/** What there is of a run when it has ended. */
export interface EndedRun extends Pick<RunOptions, "plan" | "targets" | "board" | "nodes"> {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly end: RunEnd;
  readonly time: RunTime;
}

/** What a run did. */
export async function reportOf(run: EndedRun): Promise<RunReport> {
  const { log, plan, board, nodes, time } = run;
  const { deployed, drained } = run.end;
  const { totals } = board;
  const { definition } = plan;
  const seconds = (time.ended - time.started) / MS_PER_SECOND;
  const size = await log.size();
  return {
    pipeline: definition.name,
    deployment: toHex(deployed.deployment),
    records: {
      read: totals.read,
      accepted: totals.accepted,
      duplicate: totals.duplicate,
      rejected: totals.rejected,
      quarantined: totals.quarantined,
      late: totals.late,
      retried: totals.retried,
      pending: drained ? 0 : await waitingRecords({ ...run, deployed }),
    },
    late: Object.fromEntries(board.late),
    steps: totals.steps,
    outputs: Object.fromEntries(definition.sinks.map(({ name }) => [name, board.outputs.get(name) ?? 0])),
    backpressure: backpressureOf(plan, board.pressure.holdUps(time.ended), seconds),
    nodes,
    seconds,
    recordsPerSecond: totals.accepted / seconds,
    log: { position: formatPosition(size.position), bytes: size.bytes },
  };
}
