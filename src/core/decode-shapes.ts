import { decodeCanonical } from "./canonical-decoder.ts";
import type { Value } from "./value.ts";
export class RecordDecoder {
  decode(bytes: Uint8Array, start = 0, end = bytes.length): Value {
    return decodeCanonical(bytes.subarray(start, end));
  }
}
