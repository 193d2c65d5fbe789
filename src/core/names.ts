import { HeadwaterError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

const NAME = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

/** What a name names, for messages. */
export type NameKind = "pipeline" | "source" | "stage" | "sink" | "replay";

/**
 * Checks a name that becomes part of stream names and addresses: `[a-z0-9-]`, at most `LIMITS.nameChars`
 * characters, no hyphen at either end. Throws `BadName`.
 */
export function checkName(kind: NameKind, name: unknown): asserts name is string {
  if (typeof name === "string" && name.length <= LIMITS.nameChars && NAME.test(name)) return;
  throw new HeadwaterError("BadName", `not a name that a ${kind} can have: ${JSON.stringify(name)}`, {
    hint: `Use 1 to ${LIMITS.nameChars} lower-case letters, digits and inner hyphens, such as "wikipedia-edits".`,
  });
}
