import { readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { HeadwaterError } from "../core/errors.ts";

/** Symbolic links that are followed one after the other, as the system does. */
const LINKS_MOST = 40;

/** Throws `BadUsage` if two sinks are to write one file, under whatever names: each would find it changed by the other. */
export async function mustWriteApart(files: Iterable<readonly [sink: string, path: string]>): Promise<void> {
  const sinkOf = new Map<string, string>();
  for (const [sink, path] of files) {
    const file = await fileAt(path);
    const other = sinkOf.get(file);
    if (other !== undefined) {
      throw new HeadwaterError("BadUsage", `the sinks ${other} and ${sink} are to write the same file`, {
        where: path,
        hint: "Give each sink a file of its own.",
      });
    }
    sinkOf.set(file, sink);
  }
}

/** The same for the same file, whether it is there already or not. */
async function fileAt(path: string): Promise<string> {
  let at = resolve(path);
  for (let links = 0; links < LINKS_MOST; links++) {
    const found = await stat(at, { bigint: true }).catch(() => undefined);
    if (found !== undefined) return `${found.dev}:${found.ino}`;
    const target = await readlink(at).catch(() => undefined);
    const folder = await realpath(dirname(at)).catch(() => dirname(at));
    if (target === undefined) return join(folder, basename(at));
    at = resolve(folder, target);
  }
  return at;
}
