import { describeViewStore } from "../../../test/contract/view-store.ts";
import { createMemoryViewStore } from "./view-store.ts";

describeViewStore("memory", async () => {
  const store = createMemoryViewStore();
  return { store, dispose: () => store.close() };
});
