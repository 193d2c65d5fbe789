import { encodeCanonical } from "../core/canonical.ts";
import { sha256 } from "../core/digest.ts";
import type { Path } from "../core/path.ts";
import { formatUuid } from "../core/uuid.ts";

/** A record's place in history: it tells the record from all others at a stage. */
export interface RecordPlace {
  /** Address of the record that it descends from, or of the firing. */
  readonly root: string;
  readonly path: Path;
}

/** The key of an effect: see "effects_" in docs/format.md. */
export function effectKey(
  pipeline: string,
  { root, path }: RecordPlace,
  stage: string,
  name: string,
): string {
  const digest = sha256(encodeCanonical([pipeline, root, Buffer.from(path, "latin1"), stage, name]));
  return formatUuid(digest, 8);
}
