import { openLog } from "../../src/runtime/compose.ts";
import { checkChains } from "./log-chain.ts";
import { type LogContent, readContent } from "./log-content.ts";

/** Checks everything that can be checked of the log in `folder`, and answers what it holds of `pipeline`. */
export async function inspectLog(folder: string, pipeline: string): Promise<LogContent> {
  const log = await openLog(`lmdb:${folder}`, { readOnly: true });
  try {
    await checkChains(log);
    return await readContent(log, pipeline);
  } finally {
    await log.close();
  }
}

/** How many events the log in `folder` holds. */
export async function countEvents(folder: string): Promise<number> {
  const log = await openLog(`lmdb:${folder}`, { readOnly: true });
  try {
    return (await log.size()).position.commit;
  } finally {
    await log.close();
  }
}
