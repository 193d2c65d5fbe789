/** The canonical record: its values, the reference encoder, and the strict decoder. See docs/format.md. */
export { decodeCanonical } from "./canonical-decoder.ts";
export { encodeCanonical } from "./canonical-encoder.ts";
export type { Value } from "./value.ts";
