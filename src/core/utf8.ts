/** A string of ES2024, which Node has had since 20 and the compiler's library has not. */
interface Text {
  isWellFormed(): boolean;
}

/** Whether `text` has a surrogate without its other half, and so no UTF-8. */
export function hasLoneSurrogate(text: string): boolean {
  return !(text as unknown as Text).isWellFormed();
}

const SURROGATE = /[\uD800-\uDFFF]/;

/**
 * Orders two well-formed strings by their UTF-8 bytes, which is the order of their code points. JavaScript's
 * own order is that of UTF-16 units; the two differ only where surrogates are involved.
 */
export function compareUtf8(a: string, b: string): number {
  if (SURROGATE.test(a) || SURROGATE.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : a > b ? 1 : 0;
}
