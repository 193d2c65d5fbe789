import { rm } from "node:fs/promises";
import type { RootDatabase } from "lmdb";
import { HeadwaterError } from "../../core/errors.ts";
import { isSameValue, type ViewStore, viewDamaged } from "../../ports/view-store.ts";
import { openRoot, type Table } from "./environment.ts";
import { exitGuard } from "./exit-guard.ts";
import { commitFault } from "./faults.ts";
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
  const reading = <T>(read: () => T): T => {
    try {
      return read();
    } catch (cause) {
      throw viewDamaged(dir, cause);
    }
  };
  const writing = async <T>(bytes: number, write: () => Promise<T>): Promise<T> => {
    exitGuard.enter();
    try {
      return await write();
    } catch (thrown) {
      // Whatever else it is, another view can be made.
      const cause = await commitFault(thrown, dir, bytes);
      if (cause.code !== "LogFull") throw viewDamaged(dir, thrown);
      throw new HeadwaterError("OutputFailed", "there is no space left for the index of the log", {
        where: dir,
        hint: "Make room on its medium, or name another folder with --views.",
        cause,
      });
    } finally {
      exitGuard.leave();
    }
  };
  return {
    get: (key) => reading(() => table.getBinary(key)),
    range: (prefix) => reading(() => [...table.getRange({ start: prefix, end: afterAll(prefix) })]),
    commit: (guard, entries) =>
      writing(
        entries.reduce((sum, { value }) => sum + (value?.length ?? 0), 0),
        () =>
          root.transaction(() => {
            if (!isSameValue(table.getBinary(guard.key), guard.value)) return false;
            for (const { key, value } of entries) {
              if (value === undefined) table.removeSync(key);
              else table.putSync(key, value);
            }
            return true;
          }),
      ),
    clear: () => writing(0, () => root.clearAsync()),
    discard: async () => {
      // What is in it may keep it from being closed well.
      await root.close().catch(() => {});
      await rm(dir, { recursive: true, force: true });
    },
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
