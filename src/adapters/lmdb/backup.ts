import { open } from "node:fs/promises";
import { dataFile } from "./data-file.ts";
import { fault } from "./faults.ts";
import { makeFolder } from "./folder.ts";
import type { Store } from "./store.ts";

/**
 * Copies a snapshot of the log, without its free pages, into the folder `target`, which must not have a log. What
 * is let go meanwhile cannot be used again until the copy is made.
 */
export async function backUp(store: Store, target: string): Promise<void> {
  try {
    await makeFolder(target);
    await store.environment.root.backup(target, true);
    // The file, and then the folder that names it.
    for (const path of [dataFile(target), target]) {
      const file = await open(path, "r");
      await file.sync().finally(() => file.close());
    }
  } catch (thrown) {
    throw fault(thrown, target);
  }
}
