import { isSameValue, type ViewStore } from "../../ports/view-store.ts";

/** A view that is gone with the process. */
export function createMemoryViewStore(): ViewStore {
  const values = new Map<string, Uint8Array>();
  const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
  return {
    get: (key) => values.get(textOf(key)),
    range: (prefix) => {
      const begin = textOf(prefix);
      const keys = [...values.keys()].filter((key) => key.startsWith(begin)).sort();
      return keys.map((key) => ({ key: Buffer.from(key, "latin1"), value: values.get(key) as Uint8Array }));
    },
    commit: async (guard, entries) => {
      if (!isSameValue(values.get(textOf(guard.key)), guard.value)) return false;
      for (const { key, value } of entries) {
        if (value === undefined) values.delete(textOf(key));
        else values.set(textOf(key), value);
      }
      return true;
    },
    clear: async () => values.clear(),
    discard: async () => values.clear(),
    close: async () => {},
  };
}
