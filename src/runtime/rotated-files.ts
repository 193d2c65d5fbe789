import { basename, dirname } from "node:path";
import { isHeadwaterError } from "../core/errors.ts";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../ports/clock.ts";
import type { Files } from "../ports/files.ts";
import { WatchedFile } from "./watched-file.ts";

/**
 * What a file became while nobody followed it: the newest file beside it, such as `access.log.1` or
 * `access.log-2026.gz`, that begins with something that is known to be taken, and those that were rotated after that
 * one, oldest first. Empty if there is none. They are located: reading them gives what is left of them.
 */
export async function rotatedFiles(
  { files, clock }: { readonly files: Files; readonly clock: Clock },
  { path, format }: Pick<WatchedFile, "path" | "format">,
  known: readonly InputProgress[],
  not: ReadonlySet<string>,
): Promise<readonly WatchedFile[]> {
  if (known.every(({ bytes }) => bytes === 0)) return [];
  const listed = (await files.filesIn(dirname(path))) ?? [];
  const name = basename(path);
  const newest = listed
    .filter((file) => basename(file.path).startsWith(name) && !not.has(file.identity))
    .sort((a, b) => b.writtenMs - a.writtenMs)
    .slice(0, LIMITS.rotatedFiles);
  const found: WatchedFile[] = [];
  for (const { path: candidate } of newest) {
    const open = (at: string) => files.openGrowing(at, format);
    const watched = await WatchedFile.open(candidate, open, clock).catch((error: unknown) => {
      if (isHeadwaterError(error, "BadInput")) return undefined;
      throw error;
    });
    if (watched === undefined) continue;
    found.unshift(watched);
    watched.unnamedSince = clock.monotonic();
    const progress = await watched.locate(known, false);
    if (progress.bytes > 0) return found;
  }
  for (const watched of found) await watched.close();
  return [];
}
