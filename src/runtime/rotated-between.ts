import { basename, dirname } from "node:path";
import { isHeadwaterError } from "../core/errors.ts";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { FoundFile } from "../ports/files.ts";
import { halfCopied } from "./half-copies.ts";
import { sameSize, WatchedFile } from "./watched-file.ts";
import type { FilesIntakeOptions, WatchedFiles } from "./watched-files.ts";

/** What a name has behind it when a file was rotated: a number or a time, and perhaps that it was compressed. */
const ROTATED = /^[.-]\d[-\d.:_TZ]*(?:\.gz)?$/i;
/** A number that counts rotations, and no date. */
const NUMBERED = /^[.-](\d{1,5})(?:\.gz)?$/i;

/**
 * The files beside one that is followed, into which it may have been rotated: where that happens more than once between
 * two looks, there are some that had its name, and were never seen under it.
 */
export class FilesBeside {
  readonly #options: FilesIntakeOptions;
  readonly #watched: WatchedFiles;
  /** As they were when they were looked at last, by identity. */
  #noted: ReadonlyMap<string, FoundFile> = new Map();

  constructor(options: FilesIntakeOptions, watched: WatchedFiles) {
    this.#options = options;
    this.#watched = watched;
  }

  /** What is there now is not new later. */
  async note(): Promise<void> {
    await this.#look();
  }

  /**
   * What the name stood for after the file that is watched, and before the one that it stands for now: what has come
   * or was changed since this was asked last, and is no copy. Located, the oldest first.
   */
  async rotated(known: readonly InputProgress[]): Promise<readonly WatchedFile[]> {
    const between: WatchedFile[] = [];
    for (let times = 0; times < LIMITS.rotatedFiles; times++) {
      const seen = new Set([...this.#watched.all, ...between].map(({ identity }) => identity));
      const moved: string[] = [];
      for (const found of await this.#look()) {
        if (seen.has(found.identity)) continue;
        const watched = await this.#open(found, known);
        if (watched === "moved") moved.push(found.identity);
        else if (watched !== undefined) between.push(watched);
      }
      if (moved.length === 0) break;
      // They are rotated on at this moment: they count as not seen.
      this.#noted = new Map([...this.#noted].filter(([identity]) => !moved.includes(identity)));
    }
    return between;
  }

  /** Those that came or were changed since it looked last, the oldest first. */
  async #look(): Promise<readonly FoundFile[]> {
    const { files, path } = this.#options;
    const name = basename(path);
    const before = this.#noted;
    const beside = ((await files.filesIn(dirname(path))) ?? []).filter((file) => {
      const other = basename(file.path);
      return other.startsWith(name) && ROTATED.test(other.slice(name.length));
    });
    this.#noted = new Map(beside.map((file) => [file.identity, file]));
    const isNew = (file: FoundFile) => {
      const noted = before.get(file.identity);
      // What is deleted may leave its identity to another one.
      return noted === undefined || !sameSize(noted, file);
    };
    return beside
      .filter(isNew)
      .sort((a, b) => byAge(a, b, name.length))
      .slice(-LIMITS.rotatedFiles);
  }

  /** *moved*: the path stands for another file by now. `undefined`: there is nothing to be read. */
  async #open(
    { path, identity }: FoundFile,
    known: readonly InputProgress[],
  ): Promise<WatchedFile | "moved" | undefined> {
    const { files, clock, format, onFile } = this.#options;
    try {
      const watched = await WatchedFile.open(path, (at) => files.openGrowing(at, format), clock);
      if (watched.identity === identity) {
        const { bytes } = await watched.locate(known, false);
        watched.unnamedSince = clock.monotonic();
        if (bytes > 0) return watched;
        if (await this.#isOwn(watched)) {
          onFile({ event: "rotated-between", file: path });
          return watched;
        }
      }
      await watched.close();
      return watched.identity === identity ? undefined : "moved";
    } catch (error) {
      // It is gone again, or has no content of the kind.
      if (!isHeadwaterError(error, "BadInput") && !isHeadwaterError(error, "InputFailed")) throw error;
      return (await files.identify(path)) === identity ? undefined : "moved";
    }
  }

  /** Whether it is no copy that somebody is making of what was taken. */
  async #isOwn(watched: WatchedFile): Promise<boolean> {
    const taken = this.#watched.all.filter((other) => other.taken > 0);
    const used = (file: WatchedFile) => this.#watched.used(file);
    return (await halfCopied(watched, taken, Number.POSITIVE_INFINITY, used)) === "own";
  }
}

/** The older one first: of two numbers the higher; else what was written first, and of the same moment the lower time. */
function byAge(a: FoundFile, b: FoundFile, nameLength: number): number {
  const [numberA, numberB] = [a, b].map(({ path }) => {
    const [, number] = NUMBERED.exec(basename(path).slice(nameLength)) ?? [];
    return number === undefined ? undefined : Number(number);
  });
  if (numberA !== undefined && numberB !== undefined) return numberB - numberA;
  return a.writtenMs - b.writtenMs || (a.path < b.path ? -1 : 1);
}
