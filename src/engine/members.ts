import { type ColumnReader, ColumnWriter } from "../core/columns.ts";

/** A set of N's, ascending, as runs: `[first, length, first, length, …]`. */
export type Members = number[];

/** Adds an N that is above all that are there. */
export function addMember(members: Members, n: number): void {
  const at = members.length - 2;
  if (at >= 0 && (members[at] as number) + (members[at + 1] as number) === n) {
    members[at + 1] = (members[at + 1] as number) + 1;
  } else {
    members.push(n, 1);
  }
}

/** The N's of both, which have none in common. */
export function mergeMembers(a: Members, b: Members): Members {
  const merged: Members = [];
  let left = 0;
  let right = 0;
  while (left < a.length || right < b.length) {
    const fromA = right >= b.length || (left < a.length && (a[left] as number) < (b[right] as number));
    const [from, at] = fromA ? [a, left] : [b, right];
    const first = from[at] as number;
    const length = from[at + 1] as number;
    if (fromA) left += 2;
    else right += 2;
    const last = merged.length - 2;
    if (last >= 0 && (merged[last] as number) + (merged[last + 1] as number) === first) {
      merged[last + 1] = (merged[last + 1] as number) + length;
    } else {
      merged.push(first, length);
    }
  }
  return merged;
}

/** The set of two N's. */
export function pairOf(a: number, b: number): Members {
  const members: Members = [];
  addMember(members, Math.min(a, b));
  addMember(members, Math.max(a, b));
  return members;
}

/** Number of runs, then for each how many N's lie between it and the run before (or 0), and its length. */
export function writeMembers(out: ColumnWriter, members: Members): void {
  out.uvarint(members.length / 2);
  let end = 0;
  for (let at = 0; at < members.length; at += 2) {
    const first = members[at] as number;
    const length = members[at + 1] as number;
    out.uvarint(first - end);
    out.uvarint(length);
    end = first + length;
  }
}

export function readMembers(input: ColumnReader): Members {
  const members: Members = [];
  let end = 0;
  for (let runs = input.uvarint(); runs > 0; runs--) {
    const first = end + input.uvarint();
    const length = input.uvarint();
    members.push(first, length);
    end = first + length;
  }
  return members;
}

export function encodeMembers(members: Members): Uint8Array {
  const out = new ColumnWriter(8 + members.length * 2);
  writeMembers(out, members);
  return out.finish();
}
