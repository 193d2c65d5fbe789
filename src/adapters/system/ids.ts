import { randomUUID } from "node:crypto";
import type { Ids } from "../../ports/ids.ts";

/** Random UUIDs from the operating system's randomness. */
export function createIds(): Ids {
  return { uuid: () => randomUUID() };
}
