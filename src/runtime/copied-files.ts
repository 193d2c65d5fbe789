import { sameProgress } from "./other-inputs.ts";
import type { WatchedFile } from "./watched-file.ts";

export interface CopiedFile {
  readonly copy: WatchedFile;
  readonly of: WatchedFile;
}

/**
 * The files that are known by what another file had, and that file is there, too: they are copies. A file that is
 * known alone by what another name had was moved, and goes on with that. All of them are located.
 */
export function copiedFiles(watched: readonly WatchedFile[]): readonly CopiedFile[] {
  const copies: CopiedFile[] = [];
  for (const copy of watched) {
    const { progress } = copy;
    if (progress === undefined || progress.bytes === 0 || progress.name === copy.path) continue;
    const same = watched.filter((other) => other.progress && sameProgress(other.progress, progress));
    const of = same.find(({ path }) => path === progress.name) ?? same[0];
    if (of !== undefined && of !== copy) copies.push({ copy, of });
  }
  return copies;
}
