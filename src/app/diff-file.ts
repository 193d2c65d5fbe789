import { resolve } from "node:path";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Files } from "../ports/files.ts";
import { foldersOf, type Surroundings } from "../runtime/compose.ts";
import { FileTarget } from "../runtime/file-target.ts";
import { type LogOutput, outputsOfLog } from "../runtime/log-outputs.ts";
import type { SinkTarget } from "../runtime/sink-target.ts";
import {
  checkOutputPath,
  fileTarget,
  looksLikeAddress,
  mustNotWrite,
  STDIO,
  targetOfId,
} from "./run-outputs.ts";

/** What gets all differences of a replay of another version, as lines. */
export interface DifferencesOut {
  writeLine(line: string): Promise<void>;
  /** Resolves when all was taken, or is durable where that can be. */
  flush(): Promise<unknown>;
  close(): Promise<void>;
}

/** What the file of a replay's differences must not be. */
export interface DifferencesAmong {
  readonly log: EventLog;
  /** The log's name. */
  readonly spec: string;
  /** What the sinks of the same replay write to. */
  readonly targets: ReadonlyMap<string, SinkTarget>;
}

/**
 * Throws where all differences cannot be written to `path`, before anything is done: `BadUsage` where it is written by
 * the replay itself, or by a sink of the log, or is in the log's own folder; `ForeignOutput` for a file with anything but
 * differences. Only those are ever replaced.
 */
export async function mustTakeDifferences(
  { files }: Pick<Surroundings, "files">,
  path: string,
  { log, spec, targets }: DifferencesAmong,
): Promise<void> {
  if (path === STDIO) {
    mustBeAlone(targets);
    return;
  }
  if (looksLikeAddress(path)) {
    throw new HeadwaterError("BadUsage", "differences are written to a file, not to an address", {
      where: path.replace(/\/\/[^/]*@/, "//"),
      hint: "Name a file, or - for standard output.",
    });
  }
  await checkOutputPath(path);
  await mustNotWrite(targets, path, "the differences");
  await mustNotBeInLog(files, path, spec);
  for await (const output of outputsOfLog(log)) {
    if (!(await fileOf(files, output)?.writes?.(resolve(path)))) continue;
    throw new HeadwaterError("BadUsage", `the sink ${output.sink} of this log delivers to the file`, {
      where: path,
      hint: "It is not overwritten: name a file for the differences alone.",
    });
  }
  await mustHoldDifferences(files, path);
}

/** Opens a file in the place of older differences, or standard output. Throws `ForeignOutput`, as before. */
export async function openDifferences(
  { files }: Pick<Surroundings, "files">,
  path: string,
): Promise<DifferencesOut> {
  if (path === STDIO) return new StdoutDifferences(files);
  const target = new FileTarget(files, resolve(path));
  // It may be another one than when it was looked at: a replay can take long.
  await target.open({ bytes: 0 }, undefined, () => mustHoldDifferences(files, path));
  return target;
}

class StdoutDifferences implements DifferencesOut {
  readonly #files: Files;
  #lines: string[] = [];
  #chars = 0;

  constructor(files: Files) {
    this.#files = files;
  }

  async writeLine(line: string): Promise<void> {
    this.#lines.push(line);
    this.#chars += line.length;
    if (this.#chars >= LIMITS.chunkBytes) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#lines.length === 0) return;
    const text = this.#lines.join("");
    this.#lines = [];
    this.#chars = 0;
    await this.#files.writeStdout(Buffer.from(text, "utf8"));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function mustBeAlone(targets: ReadonlyMap<string, SinkTarget>): void {
  for (const [sink, { id }] of targets) {
    if (id !== "stdout:") continue;
    throw new HeadwaterError(
      "BadUsage",
      `the differences and the sink ${sink} are to write to standard output`,
      { where: STDIO, hint: "Use a file for one of them." },
    );
  }
}

async function mustNotBeInLog(files: Files, path: string, spec: string): Promise<void> {
  const at = await files.fileAt(path);
  const within = await files.fileAt(resolve(path, ".."));
  for (const named of foldersOf(spec)) {
    const folder = await files.fileAt(named);
    const isIn = [at, within].some((place) => place === folder || place.startsWith(`${folder}/`));
    if (!isIn) continue;
    throw new HeadwaterError("BadUsage", "the file is in the folder of the log", {
      where: path,
      hint: "Name another folder: what is in this one is the log's alone.",
    });
  }
}

/** What writes the files of a sink; `undefined`: it writes none. */
function fileOf(files: Files, { to }: LogOutput): SinkTarget | undefined {
  if (typeof to === "string") return targetOfId(files, to);
  return to.to === "file" && to.at !== undefined ? fileTarget(files, to.at, to.rotate) : undefined;
}

/** Bytes that tell whether a file holds differences: more than the longest name of a sink takes. */
const BEGINNING_BYTES = 1024;

/** Throws `ForeignOutput` for a file with content, of which the first line is no difference, whole or cut off. */
async function mustHoldDifferences(files: Files, path: string): Promise<void> {
  if (!(await files.hasContent(path))) return;
  const file = await files.openOutput(path);
  let beginning: string;
  try {
    beginning = Buffer.from(await file.read(0, BEGINNING_BYTES)).toString("utf8");
  } finally {
    await file.close();
  }
  if (beginning === "" || beginsAsDifference(beginning)) return;
  throw new HeadwaterError("ForeignOutput", "the file holds something else than differences", {
    where: path,
    hint: "It is not overwritten: name another place.",
  });
}

/**
 * Whether a text begins as a difference does, `{"sink":"…","kind":"…","ordinal":…`, or is the beginning of that, where a
 * disk was full. No output of a sink does: the fields of a record are in the order of their names.
 */
export function beginsAsDifference(text: string): boolean {
  const [, sink] = /^\{"sink":"([a-z0-9-]*)/.exec(text) ?? [];
  return ["changed", "added", "gone"].some((kind) => {
    const head = `{"sink":"${sink ?? ""}","kind":"${kind}","ordinal":`;
    return text.startsWith(head) || head.startsWith(text);
  });
}
