import { hashKey } from "../core/partition.ts";

const HASHES = 2 ** 32;

/** Whether a sample of this rate has the records of a root, by its address: see "Capture" in docs/format.md. */
export function isSampled(root: string, rate: number): boolean {
  return hashKey(root) < rate * HASHES;
}
