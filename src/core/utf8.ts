/** A string of ES2024, which Node has had since 20 and the compiler's library has not. */
interface Text {
  isWellFormed(): boolean;
}

/** Whether `text` has a surrogate without its other half, and so no UTF-8. */
export function hasLoneSurrogate(text: string): boolean {
  return !(text as unknown as Text).isWellFormed();
}

/**
 * Orders two well-formed strings by their UTF-8 bytes, which is the order of their code points. JavaScript's
 * own order is that of UTF-16 units, which differs in one thing: surrogates, which stand for code points above
 * U+FFFF, come before U+E000 to U+FFFF.
 */
export function compareUtf8(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let index = 0; index < shorter; index++) {
    const x = a.charCodeAt(index);
    const y = b.charCodeAt(index);
    if (x !== y) return inCodePointOrder(x) - inCodePointOrder(y);
  }
  return a.length - b.length;
}

/** Moves the surrogates above all other UTF-16 units. */
function inCodePointOrder(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
