import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeViewStore } from "../../../test/contract/view-store.ts";
import { openLmdbViewStore } from "./view-store.ts";

describeViewStore("lmdb", async () => {
  const dir = await mkdtemp(join(tmpdir(), "headwater-views-"));
  let store = await openLmdbViewStore(join(dir, "below", "views"));
  return {
    store,
    reopen: async () => {
      await store.close();
      store = await openLmdbViewStore(join(dir, "below", "views"));
      return store;
    },
    dispose: async () => {
      await store.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
});

it("says what to do about a folder for views that cannot be one", async () => {
  const dir = await mkdtemp(join(tmpdir(), "headwater-views-"));
  try {
    await writeFile(join(dir, "file"), "");
    await expect(openLmdbViewStore(join(dir, "file"))).rejects.toMatchObject({
      code: "OutputFailed",
      where: join(dir, "file"),
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
