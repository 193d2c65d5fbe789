import { realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Files } from "../ports/files.ts";
import type { Surroundings } from "../runtime/compose.ts";
import { FileTarget } from "../runtime/file-target.ts";
import { HttpTarget } from "../runtime/http-target.ts";
import { RotatingTarget } from "../runtime/rotating-target.ts";
import { hasLetGoOfDeliveries, otherDivision, sinkHistory, targetOfName } from "../runtime/sink-history.ts";
import { isFilledAnew, mustReachBack } from "../runtime/sink-reach.ts";
import { mustNotBeForeign, type SinkTarget } from "../runtime/sink-target.ts";
import { StdoutTarget } from "../runtime/sink-targets.ts";
import { mustRotateAsBefore } from "./rotated-before.ts";
import { parseRotation, rotationOf } from "./rotation.ts";
import type { RunRequest } from "./run-types.ts";

/** Standard input, or output. */
export const STDIO = "-";

/** Makes the targets of a run. A mistake in a path or an address is told before anything is accepted for it. */
export async function openTargets(
  surroundings: Surroundings,
  request: RunRequest,
): Promise<Map<string, SinkTarget>> {
  await checkOutputPaths(request);
  await mustNotFeedItself(request);
  const targets = new Map(
    [...request.outputs].map(([sink, output]) => [sink, targetOf(surroundings, request, sink, output)]),
  );
  await mustWriteApart(targets);
  return targets;
}

/** Throws `BadUsage` for two sinks that write one file: each would find it changed by the other. */
export async function mustWriteApart(targets: ReadonlyMap<string, SinkTarget>): Promise<void> {
  const sinkOf = new Map<string, string>();
  for (const [sink, target] of targets) {
    const files = await target.files?.();
    if (files === undefined) continue;
    const other = sinkOf.get(files);
    if (other !== undefined) {
      throw new HeadwaterError("BadUsage", `the sinks ${other} and ${sink} are to write the same file`, {
        where: target.id.replace(/^file:/, ""),
        hint: "Give each sink a file of its own.",
      });
    }
    sinkOf.set(files, sink);
  }
}

/** Throws `BadUsage` where a sink writes a file that is for something else, which would replace it: `what`. */
export async function mustNotWrite(
  targets: ReadonlyMap<string, SinkTarget>,
  path: string | undefined,
  what: string,
): Promise<void> {
  if (path === undefined) return;
  for (const [sink, target] of targets) {
    if (!(await target.writes?.(resolve(path)))) continue;
    throw new HeadwaterError("BadUsage", `${what} and the sink ${sink} are to write the same file`, {
      where: path,
      hint: "Give each a file of its own.",
    });
  }
}

function targetOf(
  { files, http, clock }: Surroundings,
  request: Pick<RunRequest, "rotations">,
  sink: string,
  output: string,
): SinkTarget {
  if (output === STDIO) return new StdoutTarget(files);
  if (isAddress(output)) {
    return new HttpTarget({ http, clock, sink, url: output, headers: {}, timeoutMs: LIMITS.postTimeoutMs });
  }
  return fileTarget(files, output, request.rotations?.get(sink) ?? request.rotations?.get(""));
}

/** JSON lines into one file, or into several if it is rotated. Throws `BadUsage` for a rotation that is none. */
export function fileTarget(files: Files, path: string, rotate?: string): SinkTarget {
  const absolute = resolve(path);
  if (rotate === undefined) return new FileTarget(files, absolute);
  return new RotatingTarget(files, absolute, parseRotation(rotate));
}

/** What writes the files that the id of a target names in events; `undefined` for one that writes none. */
export function targetOfId(files: Files, id: string): SinkTarget | undefined {
  const named = targetOfName(id);
  if (named?.to !== "file") return undefined;
  const { output, division } = named;
  return division === undefined
    ? new FileTarget(files, output)
    : new RotatingTarget(files, output, rotationOf(division));
}

/** Whether an output is a receiver, and no file. */
export function isAddress(output: string): boolean {
  return /^https?:\/\//i.test(output);
}

/** Whether something that should be a file is an address, of whatever kind. */
export function looksLikeAddress(path: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(path);
}

/** Throws `BadUsage` for what is no address of a receiver. */
export function mustBeAddress(url: string): void {
  if (isAddress(url) && URL.canParse(url)) return;
  throw new HeadwaterError("BadUsage", "not an address that can be POSTed to", {
    where: url.replace(/\/\/[^/]*@/, "//"),
    hint: "Write it like http://host:8080/path.",
  });
}

/** Throws `BadUsage` for a path at which no JSON lines can be written. */
export async function checkOutputPath(path: string): Promise<void> {
  if (looksLikeAddress(path)) {
    throw new HeadwaterError("BadUsage", "records cannot be sent to an address of this kind", {
      where: path.replace(/\/\/[^/]*@/, "//"),
      hint: "Name a file, an address that begins with http:// or https://, or - for standard output.",
    });
  }
  if (/\.(gz|csv)$/.test(path)) {
    throw new HeadwaterError("BadUsage", "outputs are JSON lines, not compressed", {
      where: path,
      hint: "Name a file that ends in .jsonl.",
    });
  }
  const folder = dirname(resolve(path));
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
    throw new HeadwaterError("BadUsage", "there is no such folder for the output", {
      where: folder,
      hint: "Make it, or name another one.",
    });
  }
  if ((await stat(path).catch(() => undefined))?.isDirectory()) {
    throw new HeadwaterError("BadUsage", "the output is a folder", {
      where: path,
      hint: "Name a file in it.",
    });
  }
}

/** A mistake in a path, an address or a rotation is told before anything is accepted for it. */
export async function checkOutputPaths(request: Pick<RunRequest, "outputs" | "rotations">): Promise<void> {
  for (const sink of request.rotations?.keys() ?? []) {
    const output = request.outputs.get(sink);
    if (sink === "" || (output !== undefined && output !== STDIO && !isAddress(output))) continue;
    throw new HeadwaterError("BadUsage", `only a file is rotated, and ${JSON.stringify(sink)} writes none`, {
      where: "--rotate",
      hint: `Name one with --output ${sink}=FILE.`,
    });
  }
  for (const rotation of request.rotations?.values() ?? []) parseRotation(rotation);
  mustRotateSome(request);
  for (const path of request.outputs.values()) {
    if (isAddress(path)) mustBeAddress(path);
    else if (path !== STDIO) await checkOutputPath(path);
  }
}

/** What a sink writes into a folder that is read would be taken in, and written again, without end. */
async function mustNotFeedItself({ inputs, outputs }: RunRequest): Promise<void> {
  for (const [source, input] of inputs) {
    if (input === STDIO || !(await stat(input).catch(() => undefined))?.isDirectory()) continue;
    const folder = await realpath(input);
    for (const [sink, output] of outputs) {
      if (output === STDIO || isAddress(output)) continue;
      if ((await realpath(dirname(resolve(output)))) !== folder) continue;
      throw new HeadwaterError(
        "BadUsage",
        `the sink ${sink} is to write into the folder that ${source} reads`,
        {
          where: output,
          hint: "Name another folder: what it writes there would be taken in again.",
        },
      );
    }
  }
}

/** A rotation of all files means something only where there is one that has none of its own. */
function mustRotateSome({ outputs, rotations }: Pick<RunRequest, "outputs" | "rotations">): void {
  if (rotations?.has("") !== true) return;
  const isFile = (output: string) => output !== STDIO && !isAddress(output);
  if ([...outputs].some(([sink, output]) => isFile(output) && !rotations.has(sink))) return;
  throw new HeadwaterError("BadUsage", "there is no output file to be rotated", {
    where: "--rotate",
    hint: "Name one with --output SINK=FILE, or leave the option out.",
  });
}

/**
 * Refuses outputs with foreign content, those that were changed, and those that are to be filled with what is not kept any
 * more, before anything is done.
 */
export async function checkOutputs(
  { clock, files }: Pick<Surroundings, "clock" | "files">,
  log: EventLog,
  plan: Plan,
  targets: ReadonlyMap<string, SinkTarget>,
): Promise<void> {
  const pipeline = plan.fork?.name ?? plan.definition.name;
  for (const [sink, target] of targets) {
    const history = await sinkHistory(log, pipeline, sink, target);
    await mustRotateAsBefore(log, pipeline, sink, target, files);
    if (history === undefined) {
      const otherDivision = await otherRotation(log, pipeline, sink, target);
      const letGo = await hasLetGoOfDeliveries(log, pipeline, sink);
      await mustNotBeForeign(target, { otherDivision, letGo });
    } else if (await target.hasContent()) await target.mustHold(history.place, history.last);
    if (await isFilledAnew(target, history)) await mustReachBack(log, clock, plan, sink);
  }
}

/** Throws `BadUsage` where a file is named without `--rotate` that the log knows as one that is rotated. */
export async function mustRotateAll(
  files: Files,
  log: EventLog,
  pipeline: string,
  { outputs, rotations }: Pick<RunRequest, "outputs" | "rotations">,
): Promise<void> {
  for (const [sink, output] of outputs) {
    if (output === STDIO || isAddress(output) || rotations?.has(sink) || rotations?.has("")) continue;
    await mustRotateAsBefore(log, pipeline, sink, fileTarget(files, output));
  }
}

/** How the files of a target are divided, if they were written with another `--rotate`. */
async function otherRotation(
  log: EventLog,
  pipeline: string,
  sink: string,
  target: SinkTarget,
): Promise<string | undefined> {
  if (!(await target.hasContent())) return undefined;
  return otherDivision(log, pipeline, sink, target);
}
