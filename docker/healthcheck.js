/**
 * Whether a pipeline is being worked on: exits with 0 if a process has said so in the log within the last seconds.
 * It may be another one than this container's: a stand-by is well as long as it can reach the log, and there is
 * somebody to stand by for.
 *
 *   HEADWATER_LOG=… node docker/healthcheck.js PIPELINE
 */
import { openLog } from "../dist/src/runtime/compose.js";

/** A process says each second that it lives, and is taken over from after three to four. */
const FRESH_MS = 15_000;

const [pipeline = ""] = process.argv.slice(2);
try {
  const log = await openLog(process.env["HEADWATER_LOG"] ?? "lmdb:.headwater", { readOnly: true });
  let age = Number.POSITIVE_INFINITY;
  for await (const { created } of log.read(`supervisor_${pipeline}`, { direction: "backwards", limit: 1 })) {
    age = Date.now() - created;
  }
  await log.close();
  if (age > FRESH_MS) throw new Error(`nobody has worked on ${pipeline} for ${Math.round(age / 1_000)} s`);
  console.log(`${pipeline} is being worked on`);
  process.exit(0);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
