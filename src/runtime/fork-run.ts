import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { DeployedFork, PipelineDeployed } from "../core/events.ts";
import { forkOf } from "../core/streams.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { Bundle } from "../ports/bundler.ts";
import { currentDeployment, deploy, describeDeployment, isDeployed } from "./deployment.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { beginFork } from "./fork-start.ts";
import { Homes } from "./homes.ts";
import type { Pace } from "./pace.ts";
import { operate } from "./pipeline-run.ts";
import type { ProgressBoard } from "./progress-board.ts";
import { PutBackPlaces } from "./put-back-places.ts";
import { RecordedEffects } from "./recorded-effects.ts";
import { idInUse } from "./replay-id.ts";
import { unitsOf } from "./routes.ts";
import type { RunEnvironment, RunOptions } from "./run-options.ts";
import type { SinkTarget } from "./sink-target.ts";
import { Supervision } from "./supervision.ts";

/** What is run over recorded history, and how. */
export interface ForkOptions
  extends Pick<
    RunOptions,
    "signal" | "batchRecords" | "tickMs" | "provenance" | "onRestarted" | "onQuarantined"
  > {
  /** With a `fork`. */
  readonly plan: Plan;
  readonly bundle: Bundle | undefined;
  readonly fork: DeployedFork;
  /** The first ordinal that it takes. */
  readonly from: number;
  /** Of the pipeline whose history it is. */
  readonly history: Pick<DeploymentHistory, "pipeline" | "at" | "withIdentity" | "planOf">;
  /** It must not be there yet; if absent, what is there is gone on with. */
  readonly isNew?: boolean;
  /** See `ForkStart`. */
  readonly withoutState?: boolean;
  /** For the sinks that are to hand something out; no other does. */
  readonly targets: ReadonlyMap<string, SinkTarget>;
  readonly board: ProgressBoard;
  /** As fast as it goes, if absent. */
  readonly pace?: Pace;
}

/**
 * Runs a plan over the recorded history of its pipeline, from the state that there was where it begins, into the
 * streams of a fork: by the workers that run a pipeline, so that what befalls them does not show in what comes out.
 * What the fork has already is gone on with. Resolves when everything is through; throws `Stopped` when `signal` aborts
 * before, `BadUsage` if it must be new and is not, `EffectMissing` where a result is wanted that was not recorded and may not be called, `StageFailed`, and
 * `IncompatibleDeployment` where the fork was begun by other code.
 */
export async function runFork(environment: RunEnvironment, options: ForkOptions): Promise<PipelineDeployed> {
  const { log, clock, ids, processes } = environment;
  const { plan, history, fork, board, signal, targets } = options;
  const name = forkNameOf(plan);
  const process = ids.uuid();
  const supervision = await Supervision.claim(
    { log, clock, processes, pipeline: name, process, onStandBy: () => {} },
    signal,
  );
  const lost = new AbortController();
  supervision.beat((error) => lost.abort(error));
  let deployed: PipelineDeployed;
  try {
    deployed = await deployFork(environment, options, name, supervision);
    const { partitions } = unitsOf(plan);
    // All of it is as it was recorded, and nobody wants it written.
    if (partitions.length === 0 && targets.size === 0) {
      await supervision.release();
      return deployed;
    }
    const { withoutState = false } = options;
    await beginFork({ log, clock, history, plan, deployed, process, signal, withoutState });
    board.reportDoor("history", fork.to);
    board.noMoreInput();
    const putBack = new PutBackPlaces({ log, history, homes: new Homes(log, history) });
    await operate(environment, {
      ...options,
      intakes: new Map(),
      nodes: 1,
      follow: false,
      keepOpen: true,
      leaveRetries: true,
      snapshotEveryMs: undefined,
      process,
      deployed,
      supervision,
      lost: lost.signal,
      recordedEffects: (_segment, partition) =>
        new RecordedEffects({ log, history, partition, putBack, newEffects: fork.newEffects }),
      onDeployed: () => {},
      onRejected: () => {},
      onResumed: () => {},
      onTimeAhead: () => {},
      onStandBy: () => {},
      onBegunAgain: () => {},
    });
  } catch (error) {
    // The program lives on, and may go on with it.
    if (!isHeadwaterError(error, "OwnershipLost")) await supervision.release().catch(() => {});
    throw error;
  } finally {
    supervision.abandon();
  }
  await supervision.release();
  if (board.through >= fork.to) return deployed;
  throw new HeadwaterError("Stopped", "stopped before the replay was through", { where: name });
}

async function deployFork(
  { log, clock, runtime }: RunEnvironment,
  { plan, bundle, provenance, fork, from, isNew }: ForkOptions,
  name: string,
  supervision: Supervision,
): Promise<PipelineDeployed> {
  const candidate = { plan, bundle, provenance, runtime, fork };
  const content = describeDeployment(candidate);
  const current = await currentDeployment(log, name);
  if (current === undefined) {
    return deploy(log, clock, name, candidate, content, undefined, from, () => supervision.confirm());
  }
  // Somebody else has begun it since this one looked.
  if (isNew) throw idInUse(forkOf(name)?.id ?? "", fork.pipeline);
  if (isDeployed(content, current, name)) return current;
  throw new HeadwaterError("IncompatibleDeployment", "the fork was begun with other code or parameters", {
    where: name,
    hint: "Go on with what it was begun with, or give another id.",
  });
}

function forkNameOf({ fork, definition }: Plan): string {
  if (fork !== undefined) return fork.name;
  throw new HeadwaterError("Internal", "a plan without a fork is run as one", { where: definition.name });
}
