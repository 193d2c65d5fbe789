import { stat } from "node:fs/promises";
import type { Readable, Writable } from "node:stream";
import type { Files } from "../../ports/files.ts";
import { fileError, systemCode } from "./faults.ts";
import { type KnownPlaces, openFile, openStream } from "./input.ts";
import { openOutputFile } from "./output.ts";

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
    openInput: async (path) =>
      path === "-" ? openStream(options.stdin ?? process.stdin) : openFile(path, known),
    openOutput: openOutputFile,
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
      return new Promise((resolve, reject) => {
        stdout.write(bytes, (error) => {
          if (error) reject(fileError("OutputFailed", "cannot write the output", "standard output", error));
          else resolve();
        });
      });
    },
  };
}
