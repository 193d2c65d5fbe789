import { lockHolder } from "../../src/adapters/lmdb/lock-holder.ts";
import type { Command } from "./command.ts";

/** Whether a process that was stopped holds the lock of the writers of the LMDB log in `folder`. */
export function holdsLock(command: Command, folder: string): boolean {
  return lockHolder(folder, false)?.pid === command.pid;
}

/** Stops a process where it does not hold that lock: it keeps nobody from going on. */
export async function freezeWithoutLock(command: Command, folder: string): Promise<void> {
  for (;;) {
    await command.freeze();
    if (!holdsLock(command, folder)) return;
    command.kill("SIGCONT");
  }
}

/** Stops a process in the middle of a commit. `more` gives it something to commit. */
export async function freezeWithLock(command: Command, folder: string, more: () => void): Promise<void> {
  for (;;) {
    await command.freeze();
    if (holdsLock(command, folder)) return;
    command.kill("SIGCONT");
    more();
  }
}
