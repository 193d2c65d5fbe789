import type { AuditItem } from "../../projections/audit.ts";
import { toHex } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { comparePositions, type Position } from "../core/position.ts";
import { pipelineStream, sourceStream } from "../core/streams.ts";
import { isStateful } from "../pipeline/definition.ts";
import type { EventLog } from "../ports/event-log.ts";
import { auditItems } from "../runtime/audit-feed.ts";
import { highestThrough } from "../runtime/completed.ts";
import { createMemoryViews, createSurroundings, openLog, type Surroundings } from "../runtime/compose.ts";
import type { DeploymentHistory } from "../runtime/deployment-history.ts";
import { LineageView } from "../runtime/lineage-view.ts";
import { logAsOf, positionBefore } from "../runtime/log-as-of.ts";
import { firstEventAfter } from "../runtime/seek-time.ts";
import { auditLog } from "./audit.ts";
import type { HistoryPoint } from "./history-point.ts";
import { lastUpTo } from "./history-window.ts";
import { lineageBack, lineageForward } from "./lineage.ts";
import type { OpenAtRequest, PipelineView, StatefulStage } from "./open-at-types.ts";
import { historyOf } from "./pipeline-name.ts";
import { readChecked } from "./read-log.ts";
import { checkKey, checkPoint, pipelineNameOf, stateInHistory } from "./state.ts";

/**
 * A view of a pipeline as of a point in its history. Throws `UnknownPipeline`, and `BadUsage` for a point that the log
 * has not come to, that is none, or in event time where there is none.
 */
export async function openAt(request: OpenAtRequest): Promise<PipelineView> {
  // `undefined` would be the end of the log for others, and is a mistake here.
  checkPoint(request.at ?? (null as never));
  const surroundings = createSurroundings();
  const pipeline = await pipelineNameOf(surroundings, request.pipeline);
  const log = await openLog(request.log, { readOnly: true });
  try {
    return await viewOf(surroundings, log, pipeline, request.at);
  } catch (error) {
    await log.close();
    throw error;
  }
}

/** {@link openAt} in a log that is open, of a pipeline that is named; closing the view closes the log. */
export async function viewOf(
  surroundings: Pick<Surroundings, "clock" | "bundler">,
  log: EventLog,
  pipeline: string,
  at: HistoryPoint,
): Promise<PipelineView> {
  const { clock } = surroundings;
  const { history, ordinal, last } = await readChecked(log, async (checked) => {
    const history = await historyOf(surroundings, checked, pipeline);
    const ordinal = await ordinalIn(checked, history, at);
    return { history, ordinal, last: await lastPosition(checked, history, ordinal) };
  });
  const deployed = history.at(ordinal);
  // Later on it would be longer, if nothing later is there yet.
  const then = logAsOf(log, last);
  return {
    pipeline,
    ordinal,
    deployment: toHex(deployed.deployment),
    version: deployed.version,
    parameters: deployed.parameters,
    stages: deployed.stages.filter(isStateful).map(({ name, kind }) => ({ name, kind }) as StatefulStage),

    async state(stage, options = {}) {
      checkKey(options.key);
      return readChecked(log, (checked) =>
        stateInHistory(clock, checked, history, { stage, at: { ordinal }, ...options }),
      );
    },

    async project(projection, { signal } = {}) {
      let state = projection.init({ id: log.id, checkpoints: [], pipeline });
      for await (const item of auditItems(then, signal)) {
        mustBeWhole(item);
        state = projection.apply(state, item);
      }
      if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before the log was folded");
      return state;
    },

    audit: ({ signal } = {}) => auditLog(then, { pipeline, checkpoints: [], ...(signal && { signal }) }),

    async lineage(record, { forward = false, ...options } = {}) {
      const question = { record, ...options };
      return readChecked(then, async (checked) => {
        if (!forward) return lineageBack(surroundings, checked, question);
        const view = await LineageView.open(createMemoryViews(), checked);
        await view.catchUp(options.signal, () => {});
        return lineageForward(surroundings, checked, view, question);
      });
    },

    close: () => log.close(),
  };
}

/** A fold is not told of damage as if it were the end. */
function mustBeWhole(item: AuditItem): void {
  if (item.kind !== "damage" || item.of !== "log") return;
  throw new HeadwaterError("LogDamaged", item.message, { where: item.address });
}

async function ordinalIn(log: EventLog, history: DeploymentHistory, at: HistoryPoint): Promise<number> {
  const end = await highestThrough(log, history.pipeline, history.current);
  const asked = await lastUpTo(log, history, at);
  if (asked === undefined || asked <= end) return Math.max(asked ?? end, THROUGH_NOTHING);
  throw new HeadwaterError("BadUsage", "the log has not come to the point that is asked for", {
    where: `ordinal ${asked}, pipeline ${history.pipeline}`,
    hint: `It has come to ordinal ${end}: ask for that one, or one before.`,
  });
}

/** The position of the last event before something of the pipeline that is later than `ordinal` was accepted or deployed. */
async function lastPosition(log: EventLog, history: DeploymentHistory, ordinal: number): Promise<Position> {
  const { position: end } = await log.size();
  let first: Position | undefined;
  const take = (position: Position | undefined) => {
    if (position === undefined) return;
    if (first === undefined || comparePositions(position, first) < 0) first = position;
  };
  const sources = new Set(history.all.flatMap(({ sources: some }) => some.map(({ name }) => name)));
  for (const source of sources) {
    take((await firstEventAfter(log, sourceStream(history.pipeline, source), ordinal))?.position);
  }
  for await (const recorded of log.read(pipelineStream(history.pipeline))) {
    const { type, data } = decodeEvent(recorded);
    if (type === "PipelineDeployed" && data.version > 1 && data.from > ordinal) take(recorded.position);
  }
  return first === undefined ? end : positionBefore(log, first);
}
