import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileError, systemCode } from "../../core/file-error.ts";
import type { Files, FoundFile } from "../../ports/files.ts";
import { fileAt } from "./file-at.ts";
import { openGrowingFile } from "./growing.ts";
import { identityOf, type KnownPlaces, openFile, openStream } from "./input.ts";
import { deleteOutputFile, nameOutputFile, openOutputFile } from "./output.ts";
import { writeWhole } from "./whole-write.ts";

/** The process's own streams unless others are given. */
export interface FilesOptions {
  readonly stdin?: Readable;
  readonly stdout?: Writable;
}

/** The file system and the standard streams of this process. */
export function createFiles(options: FilesOptions = {}): Files {
  const known: KnownPlaces = new Map();
  let listening = false;
  return {
    openInput: async (path, format) =>
      path === "-" ? openStream(options.stdin ?? process.stdin, format) : openFile(path, known, format),
    openGrowing: openGrowingFile,
    isThere: (path) =>
      stat(path).then(
        () => true,
        (error: unknown) => systemCode(error) !== "ENOENT",
      ),
    fileAt,
    identify: async (path) => {
      const found = await stat(path).catch(() => undefined);
      return found?.isFile() ? identityOf(found) : undefined;
    },
    filesIn,
    openOutput: openOutputFile,
    nameOutput: nameOutputFile,
    deleteOutput: deleteOutputFile,
    hasContent: async (path) => {
      try {
        const found = await stat(path);
        if (found.isDirectory()) throw Object.assign(new Error("a folder"), { code: "EISDIR" });
        return found.size > 0;
      } catch (error) {
        if (["ENOENT", "ENOTDIR"].includes(systemCode(error))) return false;
        throw fileError("OutputFailed", "cannot look at the output", path, error);
      }
    },
    writeStdout: (bytes) => {
      const stdout = options.stdout ?? process.stdout;
      // The write's own callback tells of a failure; the event would end the process.
      if (!listening) stdout.on("error", () => {});
      listening = true;
      return writeWhole(stdout, bytes).catch((error: unknown) => {
        throw fileError("OutputFailed", "cannot write the output", "standard output", error);
      });
    },
  };
}

/** Files of a folder that are looked at at the same time. */
const LOOKS_AT_ONCE = 64;

async function filesIn(path: string): Promise<readonly FoundFile[] | undefined> {
  if (!(await stat(path).catch(() => undefined))?.isDirectory()) return undefined;
  const found: FoundFile[] = [];
  try {
    const names = (await readdir(path)).filter((name) => !name.startsWith(".")).sort();
    for (let first = 0; first < names.length; first += LOOKS_AT_ONCE) {
      const some = names.slice(first, first + LOOKS_AT_ONCE).map((name) => join(path, name));
      // What is gone again by now is not there.
      const infos = await Promise.all(some.map((file) => stat(file).catch(() => undefined)));
      for (const [at, info] of infos.entries()) {
        if (!info?.isFile()) continue;
        const file = some[at] as string;
        found.push({ path: file, identity: identityOf(info), writtenMs: info.mtimeMs, bytes: info.size });
      }
    }
  } catch (error) {
    throw fileError("BadInput", "cannot read the folder", path, error);
  }
  return found;
}
