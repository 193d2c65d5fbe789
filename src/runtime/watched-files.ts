import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../ports/clock.ts";
import type { Files, InputFormat } from "../ports/files.ts";
import type { LocatedNotice } from "./located-input.ts";
import { OpenFiles } from "./open-files.ts";
import { type Size, sameSize, WatchedFile } from "./watched-file.ts";

/** Something about a file that a person should hear of. */
export type FileNotice =
  /** The name stands for another file now. The one before is read to its end, and watched for a while. */
  | { readonly event: "rotated"; readonly file: string }
  /** What was read of it is not there any more: it is read from its beginning. */
  | { readonly event: "truncated"; readonly file: string }
  /** The file that the name stood for in the last run has this name now, and is read on first. */
  | { readonly event: "found-rotated"; readonly file: string }
  /** It had the name that is followed between two looks, and has been rotated since: it is read before what has it now. */
  | { readonly event: "rotated-between"; readonly file: string }
  | LocatedNotice
  /** A folder in which there is nothing to read. */
  | { readonly event: "empty-folder"; readonly file: string; readonly follow: boolean }
  /** A file of a folder that cannot be read. One that is followed is tried again when it has changed. */
  | { readonly event: "left-out"; readonly file: string; readonly reason: string; readonly follow: boolean }
  /** There is nothing under the name that is to be followed. */
  | { readonly event: "awaited"; readonly file: string }
  /** Something is there under the name that is followed, and cannot be read. */
  | { readonly event: "unreadable"; readonly file: string; readonly reason: string }
  /** A folder that is followed has so many files that there will soon be too many; those that are too many are not read. */
  | { readonly event: "many-files"; readonly file: string; readonly files: number; readonly most: number };

export interface FilesIntakeOptions {
  readonly files: Files;
  readonly clock: Clock;
  /** A folder, or a file that is followed. */
  readonly path: string;
  readonly format: InputFormat | undefined;
  /** Take in again what was taken before. */
  readonly again: boolean;
  /** Wait for what is added when the end of all files is reached. */
  readonly follow: boolean;
  onFile(notice: FileNotice): void;
}

/** The files of a folder, or those that a name stood for: which there are, and where. */
export class WatchedFiles {
  readonly #options: FilesIntakeOptions;
  #folder: boolean;
  #watched: WatchedFile[] = [];
  /** What the folder said of its files when it was looked at last, by identity. */
  #sizes: ReadonlyMap<string, Size> = new Map();
  /** What was left out because it could not be read, by identity, as it was then. */
  readonly #leftOut = new Map<string, Size | undefined>();
  readonly #told = new Set<string>();
  readonly #open = new OpenFiles();
  #toldMany = false;

  constructor(options: FilesIntakeOptions, folder: boolean) {
    this.#options = options;
    this.#folder = folder;
  }

  /** Whether they are those of a folder. What was not there when it was looked for may become one. */
  get folder(): boolean {
    return this.#folder;
  }

  /** In the order in which they are read. */
  get all(): readonly WatchedFile[] {
    return this.#watched;
  }

  /** What the folder says of one; `undefined`: nothing, or it is not in it any more. */
  sizeOf({ identity, unnamedSince }: WatchedFile): Size | undefined {
    return unnamedSince === undefined ? this.#sizes.get(identity) : undefined;
  }

  /** They come ahead of the others, and no name that is looked at stands for them. */
  putFirst(files: readonly WatchedFile[]): void {
    this.#watched.unshift(...files);
  }

  /** They come ahead of `file`, and no name that is looked at stands for them. */
  putBefore(file: WatchedFile, files: readonly WatchedFile[]): void {
    this.#watched.splice(this.#watched.indexOf(file), 0, ...files);
  }

  remove(file: WatchedFile): void {
    this.#watched = this.#watched.filter((other) => other !== file);
    this.#open.forget(file);
  }

  /** It was opened, or read. */
  async used(file: WatchedFile): Promise<void> {
    if (this.#options.follow) await this.#open.used(file);
    else await file.close();
  }

  /** A file that cannot be read, until it is another one. */
  leaveOut(file: string, identity: string, error: HeadwaterError): void {
    this.#leftOut.set(identity, this.#sizes.get(identity));
    const { follow } = this.#options;
    this.tell(identity, { event: "left-out", file, reason: error.message, follow });
  }

  /** Says once of a file what is not as it may be expected. */
  tell(identity: string, notice: FileNotice): void {
    if (this.#told.has(identity)) return;
    this.#told.add(identity);
    this.#options.onFile(notice);
  }

  /** Notices files that are new, and those that no name stands for any more. `began`: it has looked before. */
  async discover(began: boolean): Promise<void> {
    const { clock, path } = this.#options;
    const found = await this.#found();
    // Between a rename and a new file there is none; the old one stands for it until then.
    if (found === undefined) return;
    for (const watched of this.#watched) {
      const now = found.get(watched.identity);
      found.delete(watched.identity);
      if (now !== undefined) watched.moved(now);
      watched.unnamedSince = now === undefined ? (watched.unnamedSince ?? clock.monotonic()) : undefined;
    }
    const files = this.#watched.length + found.size;
    if (!began) mustNotBeTooMany(path, files);
    if (this.#folder) this.#tellMany(files);
    for (const [identity, file] of found) {
      if (this.#watched.length >= LIMITS.filesPerFolder) break;
      if (this.#isLeftOut(identity)) continue;
      await this.#add(file, identity, began);
    }
    if (this.#folder) this.#watched.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  }

  async #add(file: string, identity: string, began: boolean): Promise<void> {
    const { files, format, clock, onFile } = this.#options;
    try {
      const watched = await WatchedFile.open(file, (at) => files.openGrowing(at, format), clock);
      this.#watched.push(watched);
      await this.used(watched);
      if (!this.#folder && this.#watched.length > 1) onFile({ event: "rotated", file });
    } catch (error) {
      if (!isHeadwaterError(error, "BadInput")) throw error;
      if (this.#folder) this.leaveOut(file, identity, error);
      else if (!began) throw error;
      else this.tell(identity, { event: "unreadable", file, reason: error.message });
    }
  }

  #isLeftOut(identity: string): boolean {
    if (!this.#leftOut.has(identity)) return false;
    const [was, now] = [this.#leftOut.get(identity), this.#sizes.get(identity)];
    return was === undefined || now === undefined || sameSize(was, now);
  }

  #tellMany(files: number): void {
    if (!this.#options.follow || files < LIMITS.filesPerFolderMany) {
      this.#toldMany = false;
    } else if (!this.#toldMany) {
      this.#toldMany = true;
      this.#options.onFile({
        event: "many-files",
        file: this.#options.path,
        files,
        most: LIMITS.filesPerFolder,
      });
    }
  }

  /** Identity → path of what there is now. */
  async #found(): Promise<Map<string, string> | undefined> {
    const { files, path } = this.#options;
    const listed = this.#folder || this.#watched.length === 0 ? await files.filesIn(path) : undefined;
    this.#folder ||= listed !== undefined;
    if (this.#folder) {
      this.#sizes = new Map((listed ?? []).map((file) => [file.identity, file]));
      return new Map((listed ?? []).map((file) => [file.identity, file.path]));
    }
    const identity = await files.identify(path);
    return identity === undefined ? undefined : new Map([[identity, path]]);
  }
}

export function mustNotBeTooMany(path: string, files: number): void {
  if (files <= LIMITS.filesPerFolder) return;
  throw new HeadwaterError(
    "BadInput",
    `the folder has ${files} files, and at most ${LIMITS.filesPerFolder} can be read`,
    { where: path, hint: "Move those that were taken in to another folder." },
  );
}
