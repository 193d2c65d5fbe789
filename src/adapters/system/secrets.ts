import { randomBytes } from "node:crypto";
import type { Secrets } from "../../ports/secrets.ts";

/** The operating system's randomness. */
export function createSecrets(): Secrets {
  return { bytes: (count) => randomBytes(count) };
}
