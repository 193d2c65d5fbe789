import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { basename, join } from "node:path";

/** The process that holds the lock of LMDB's writers. */
export interface LockHolder {
  readonly pid: number;
  /** It was stopped (SIGSTOP, Ctrl-Z), and keeps the lock until it goes on or ends. */
  readonly stopped: boolean;
}

const LOCK_FILE = "lock.mdb";
/** Where the writers' mutex is in LMDB's lock file, and where a glibc mutex has its owner and its kind. */
const MUTEX_AT = 64;
const MUTEX_BYTES = 24;
const OWNER_AT = 8;
const KIND_AT = 16;
/** Shared between processes, and robust: what LMDB makes its mutexes. Any other value is another layout. */
const KIND = 0x90;

/**
 * Who holds the writers' lock of the log in `dir`; `undefined` if nobody does, or it cannot be told: beside Linux,
 * without glibc, of a process in another container. `mapped` says that this process has the log open: its lock file
 * must then not be opened once more, because closing it would drop the process's locks on it; it is read where it
 * is mapped into memory.
 */
export function lockHolder(dir: string, mapped: boolean): LockHolder | undefined {
  try {
    const path = join(dir, LOCK_FILE);
    const mutex = mapped ? readMapped(path) : readPart(path, MUTEX_AT);
    if (mutex === undefined || mutex.readUInt32LE(KIND_AT) !== KIND) return undefined;
    const thread = mutex.readUInt32LE(OWNER_AT);
    if (thread === 0) return undefined;
    const status = readFileSync(`/proc/${thread}/status`, "utf8");
    const pid = Number(/^Tgid:\s+(\d+)$/m.exec(status)?.[1]);
    if (!mapsOf(pid).includes(`/${basename(dir)}/${LOCK_FILE}\n`)) return undefined;
    return { pid, stopped: /^State:\s+[Tt]/m.test(readFileSync(`/proc/${pid}/status`, "utf8")) };
  } catch {
    return undefined;
  }
}

function mapsOf(pid: number | "self"): string {
  return readFileSync(`/proc/${pid}/maps`, "utf8");
}

function readMapped(path: string): Buffer | undefined {
  const line = mapsOf("self")
    .split("\n")
    .find((mapping) => mapping.endsWith(` ${path}`));
  const start = line?.slice(0, line.indexOf("-"));
  return start === undefined ? undefined : readPart("/proc/self/mem", Number.parseInt(start, 16) + MUTEX_AT);
}

function readPart(path: string, position: number): Buffer {
  const part = Buffer.alloc(MUTEX_BYTES);
  const file = openSync(path, "r");
  try {
    readSync(file, part, 0, MUTEX_BYTES, position);
    return part;
  } finally {
    closeSync(file);
  }
}
