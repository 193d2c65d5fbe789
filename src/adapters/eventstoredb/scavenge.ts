import operationsPb from "@eventstore/db-client/generated/operations_pb.js";
import { sleep } from "../../ports/clock.ts";
import { closedError } from "../../ports/event-log-rules.ts";
import { BOUNDS } from "./bounds.ts";
import type { Connection } from "./connection.ts";
import { toHeadwaterError } from "./failures.ts";
import type { Reads } from "./reads.ts";
import { unaryCall } from "./unary.ts";

/** What the server writes when a scavenge is over, in the scavenge's own stream. */
const COMPLETED = "$scavengeCompleted";

/**
 * Has the server scavenge, or joins the scavenge that runs, and waits until it is over. Answers how many bytes it
 * saved; a server only scavenges the chunks of its file that are full.
 */
export async function scavengeServer(connection: Connection, reads: Reads): Promise<number> {
  const options = new operationsPb.StartScavengeReq.Options();
  options.setThreadCount(1);
  options.setStartFromChunk(0);
  const request = new operationsPb.StartScavengeReq();
  request.setOptions(options);
  try {
    const started = await connection.attempt(async (node) => {
      const operations = await node.client.operations();
      return unaryCall<InstanceType<typeof operationsPb.ScavengeResp>>(
        connection,
        node,
        (metadata, options, done) => operations.startScavenge(request, metadata, options, done),
      );
    });
    for (let waitMs: number = BOUNDS.backOffMs; ; waitMs = Math.min(waitMs * 2, BOUNDS.backOffMostMs)) {
      const saved = await savedBy(reads, started.getScavengeId());
      if (saved !== undefined) return saved;
      await sleep(connection.clock, waitMs, connection.closing);
      if (connection.closing.aborted) throw closedError();
    }
  } catch (error) {
    throw toHeadwaterError(error, connection.where);
  }
}

async function savedBy(reads: Reads, id: string): Promise<number | undefined> {
  const last = await reads.lastOfServerStream(`$scavenges-${id}`);
  if (last?.type !== COMPLETED) return undefined;
  const { spaceSaved } = JSON.parse(Buffer.from(last.data).toString()) as { readonly spaceSaved?: unknown };
  return typeof spaceSaved === "number" ? Math.max(0, spaceSaved) : 0;
}
