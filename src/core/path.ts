const ONE_BYTE_MOST = 0xf7;

/**
 * A path is kept as text of characters 0–255, one a byte, so that `<` compares paths as bytes. See "Addresses"
 * in docs/format.md.
 */
export type Path = string;

export const ROOT_PATH: Path = "";

/** The path element of result `index` of a flatMap. */
export function indexElement(index: number): string {
  if (index <= ONE_BYTE_MOST) return String.fromCharCode(index);
  const bytes: number[] = [];
  for (let rest = index; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return String.fromCharCode(ONE_BYTE_MOST + bytes.length, ...bytes);
}

/** The path element of the branch that begins with stage `name`. */
export function branchElement(name: string): string {
  return `${name}\0`;
}
