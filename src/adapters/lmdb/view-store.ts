import type { RootDatabase } from "lmdb";
import { HeadwaterError } from "../../core/errors.ts";
import type { ViewStore } from "../../ports/view-store.ts";
import { openRoot, type Table } from "./environment.ts";
import { exitGuard } from "./exit-guard.ts";
import { makeFolder } from "./folder.ts";

/**
 * A view in an LMDB environment of its own in the folder `dir`, which is made if it is not there. Throws `OutputFailed`
 * where that cannot be.
 */
export async function openLmdbViewStore(dir: string): Promise<ViewStore> {
  let root: RootDatabase<Uint8Array, Uint8Array>;
  try {
    await makeFolder(dir);
    root = openRoot({ dir, readOnly: false });
  } catch (cause) {
    throw new HeadwaterError("OutputFailed", "the folder for views of the log cannot be used", {
      where: dir,
      hint: "Name another one with --views. It holds nothing that the log does not: it may be deleted.",
      cause,
    });
  }
  const table = root as unknown as Table;
  const same = (a: Uint8Array | undefined, b: Uint8Array | undefined) =>
    a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
  return {
    get: (key) => table.getBinary(key),
    *range(prefix) {
      for (const { value } of table.getRange({ start: prefix, end: afterAll(prefix) })) yield value;
    },
    commit: async (guard, entries) => {
      exitGuard.enter();
      try {
        return await root.transaction(() => {
          if (!same(table.getBinary(guard.key), guard.value)) return false;
          for (const { key, value } of entries) {
            if (value === undefined) table.removeSync(key);
            else table.putSync(key, value);
          }
          return true;
        });
      } finally {
        exitGuard.leave();
      }
    },
    clear: () => root.clearAsync(),
    close: () => root.close(),
  };
}

/** The first key after all that begin with `prefix`, one of whose bytes is below 255. */
function afterAll(prefix: Uint8Array): Uint8Array {
  const last = prefix.findLastIndex((byte) => byte < 255);
  const end = prefix.slice(0, last + 1);
  end[last] = (end[last] as number) + 1;
  return end;
}
