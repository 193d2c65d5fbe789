import { type ErrorCode, HeadwaterError } from "./errors.ts";

const INPUT_HINTS: Readonly<Record<string, string>> = {
  ENOENT: "Check the path; it is taken relative to the current folder.",
  EACCES: "Give yourself permission to read it.",
  EPERM: "Give yourself permission to read it.",
  EISDIR: "Name a file in it.",
  EMFILE: "Close other programs, or raise the limit of open files (ulimit -n).",
};

const OUTPUT_HINTS: Readonly<Record<string, string>> = {
  ENOENT: "Make its folder first; folders are not made for you.",
  ENOTDIR: "A part of the path is a file, not a folder.",
  EACCES: "Give yourself permission to write there, or name another place.",
  EPERM: "Give yourself permission to write there, or name another place.",
  EROFS: "That file system is read-only; name another place.",
  EISDIR: "Name a file in it.",
  ENOSPC: "Free some space on that disk and run again; a run goes on where it stopped.",
  EDQUOT: "Your quota on that disk is used up; free some space and run again.",
  EFBIG: "The file is as large as this system lets it be (ulimit -f); name another file, or raise the limit.",
  EPIPE: "The program that read it has ended.",
  ESPIPE: "It is not a file that can be written at positions; use - for standard output.",
};

const WHATS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "no permission",
  EPERM: "no permission",
  EROFS: "a read-only file system",
  EISDIR: "it is a folder, not a file",
  ENOSPC: "no space left",
  EDQUOT: "no space left in your quota",
  EPIPE: "nobody reads it any more",
};

/** An error of the file system in the words of people; `what` is what failed. */
export function fileError(
  code: Extract<ErrorCode, "BadInput" | "InputFailed" | "OutputFailed">,
  what: string,
  where: string,
  cause: unknown,
): HeadwaterError {
  const system = systemCode(cause);
  let reason = WHATS[system] ?? (cause instanceof Error ? cause.message : String(cause));
  if (code === "OutputFailed" && system === "ENOENT") reason = "there is no such folder";
  const hint = (code === "OutputFailed" ? OUTPUT_HINTS : INPUT_HINTS)[system];
  return new HeadwaterError(code, `${what}: ${reason}`, {
    where,
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** `ENOENT` and the like; empty for anything else. */
export function systemCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}
