import { crc32 } from "node:zlib";
import { type ViewStore, viewDamaged } from "../ports/view-store.ts";

/** Of the checksum that is stored behind each value. */
const CHECKSUM_BYTES = 4;

/**
 * `store`, each value of which is held to a checksum of it and its key: a bit that was turned, or a value that stands
 * under another key, is found (`ViewDamaged`). That a key is there at all is for who wrote it to know.
 */
export function checkedViews(store: ViewStore): ViewStore {
  const checked = (key: Uint8Array, stored: Uint8Array): Uint8Array => {
    const end = stored.length - CHECKSUM_BYTES;
    const view = new DataView(stored.buffer, stored.byteOffset, stored.byteLength);
    if (end < 0 || view.getUint32(end) !== checksumOf(key, stored.subarray(0, end)))
      throw viewDamaged(`key ${Buffer.from(key).toString("hex")}`);
    return stored.subarray(0, end);
  };
  return {
    get: (key) => {
      const stored = store.get(key);
      return stored && checked(key, stored);
    },
    *range(prefix) {
      for (const { key, value } of store.range(prefix)) yield { key, value: checked(key, value) };
    },
    commit: (guard, entries) =>
      store.commit(
        { key: guard.key, value: guard.value && summed(guard.key, guard.value) },
        entries.map(({ key, value }) => ({ key, value: value && summed(key, value) })),
      ),
    clear: () => store.clear(),
    discard: () => store.discard(),
    close: () => store.close(),
  };
}

function summed(key: Uint8Array, value: Uint8Array): Uint8Array {
  const stored = new Uint8Array(value.length + CHECKSUM_BYTES);
  stored.set(value);
  new DataView(stored.buffer).setUint32(value.length, checksumOf(key, value));
  return stored;
}

/** The key is last: of no bytes, zlib answers 0, whatever came before them. */
function checksumOf(key: Uint8Array, value: Uint8Array): number {
  return crc32(key, crc32(value));
}
