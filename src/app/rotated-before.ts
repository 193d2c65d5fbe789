import { HeadwaterError } from "../core/errors.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Files } from "../ports/files.ts";
import { RotatingTarget } from "../runtime/rotating-target.ts";
import { dividedBefore } from "../runtime/sink-history.ts";
import type { SinkTarget } from "../runtime/sink-target.ts";
import { rotationOf, rotationText } from "./rotation.ts";

/**
 * Throws `BadUsage` where a sink is to write one file under a name under which it has written only files that are
 * rotated: all of history would come beside them, and they would lack what comes now. With `files` only where some of them
 * are there: who has moved them away may want one file.
 */
export async function mustRotateAsBefore(
  log: EventLog,
  pipeline: string,
  sink: string,
  target: SinkTarget,
  files?: Files,
): Promise<void> {
  const division = await dividedBefore(log, pipeline, sink, target);
  if (division === undefined) return;
  const path = target.id.slice(target.id.indexOf(":") + 1);
  const rotation = rotationOf(division);
  if (files !== undefined && !(await new RotatingTarget(files, path, rotation).hasContent())) return;
  throw new HeadwaterError(
    "BadUsage",
    `the sink ${sink} has written files of this name that were begun anew after ${division} each`,
    {
      where: path,
      hint: `Add --rotate ${sink}=${rotationText(rotation)}, and they are gone on with. Under another name one file is written, with all of history.`,
    },
  );
}
