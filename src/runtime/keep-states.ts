import { isStateKept } from "./completed.ts";
import type { HostContext } from "./host-context.ts";
import { PartitionWorker } from "./partition-worker.ts";
import { partitionUnit, stepsStreamOf } from "./routes.ts";

/**
 * Leaves a snapshot of every partition whose state is in none up to its last input. A deployment that was stopped by
 * a failure needs this before another follows it: else the successor would run the inputs since the last snapshot
 * with its own code, and go on from totals that were never recorded. `context` has to be that of the deployment that
 * ends.
 */
export async function keepStates(context: HostContext, assignment: number): Promise<void> {
  const { plan, log } = context;
  for (const segment of plan.segments.filter(({ stateful }) => stateful)) {
    for (let partition = 0; partition < plan.definition.partitions; partition++) {
      const stream = stepsStreamOf(plan, segment, partition);
      if (await isStateKept(log, stream)) continue;
      const worker = new PartitionWorker(context, {
        unit: partitionUnit(segment, partition),
        node: "node-1",
        assignment,
      });
      try {
        await worker.claim();
        await worker.restore();
        // Told to stop before it begins, it does nothing but leave its snapshot.
        await worker.work(AbortSignal.abort());
      } finally {
        worker.dispose();
      }
    }
  }
}
