import type { FileHandle } from "node:fs/promises";

/** The roots of LMDB's two trees of its own: of the free pages, and of the tables. */
export interface Roots {
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly roots: readonly bigint[];
}

const NO_PAGE = 2n ** 64n - 1n;
const HEADER_BYTES = 24;
const BRANCH = 0x01;
const LEAF = 0x02;
const LEAF_OF_KEYS = 0x20;
const ON_PAGES_OF_ITS_OWN = 0x01;
const TABLE = 0x02;
/** Where a table's record has its root. */
const TABLE_ROOT_AT = 40;

/**
 * Whether all pages that a data file's trees refer to are in its first `size` bytes. It reads every page but
 * those of large values. LMDB may leave the last pages of a file unwritten if they are free, so that a file
 * which is shorter than its meta page says need not be damaged.
 */
export async function allPagesThere(file: FileHandle, { pageBytes, lastPage, roots }: Roots, size: number) {
  const pages = BigInt(Math.floor(size / pageBytes));
  const left = roots.filter((root) => root !== NO_PAGE);
  const page = Buffer.alloc(pageBytes);
  for (let visited = 0; ; visited += 1) {
    const number = left.pop();
    if (number === undefined) return true;
    if (number >= pages || visited > lastPage) return false;
    const { bytesRead } = await file.read(page, 0, pageBytes, Number(number) * pageBytes);
    if (bytesRead < pageBytes || page.readBigUInt64LE(0) !== number) return false;
    const referred = references(page);
    if (referred === undefined) return false;
    for (const { first, count, isTree } of referred) {
      if (first + count > pages) return false;
      if (isTree) left.push(first);
    }
  }
}

interface Reference {
  readonly first: bigint;
  readonly count: bigint;
  readonly isTree: boolean;
}

/** What a page refers to; `undefined` if it is not a page of a tree. */
function references(page: Buffer): readonly Reference[] | undefined {
  const flags = page.readUInt16LE(18);
  if ((flags & (BRANCH | LEAF)) === 0) return undefined;
  if ((flags & LEAF_OF_KEYS) !== 0) return [];
  const found: Reference[] = [];
  const nodes = page.readUInt16LE(20) >> 1;
  for (let i = 0; i < nodes; i += 1) {
    if (HEADER_BYTES + 2 * i + 2 > page.length) return undefined;
    const at = HEADER_BYTES + page.readUInt16LE(HEADER_BYTES + 2 * i);
    if (at + 8 > page.length) return undefined;
    const kind = page.readUInt16LE(at + 4);
    if ((flags & BRANCH) !== 0) {
      const first = BigInt(page.readUInt32LE(at)) | (BigInt(kind) << 32n);
      found.push({ first, count: 1n, isTree: true });
      continue;
    }
    const data = at + 8 + page.readUInt16LE(at + 6);
    const bytes = (kind & ON_PAGES_OF_ITS_OWN) !== 0 ? 24 : (kind & TABLE) !== 0 ? TABLE_ROOT_AT + 8 : 0;
    if (data + bytes > page.length) return undefined;
    if ((kind & ON_PAGES_OF_ITS_OWN) !== 0) {
      const [first, count] = [page.readBigUInt64LE(data), page.readBigUInt64LE(data + 16)];
      found.push({ first, count, isTree: false });
    } else if ((kind & TABLE) !== 0) {
      const first = page.readBigUInt64LE(data + TABLE_ROOT_AT);
      if (first !== NO_PAGE) found.push({ first, count: 1n, isTree: true });
    }
  }
  return found;
}
