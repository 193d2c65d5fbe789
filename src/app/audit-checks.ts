import { resolve } from "node:path";
import type { Audit, Tally } from "../../projections/audit.ts";
import { chainAudit } from "../../projections/audit-chain.ts";
import { checkpointAudit } from "../../projections/audit-checkpoint.ts";
import { conservationAudit } from "../../projections/audit-conservation.ts";
import { continuityAudit } from "../../projections/audit-continuity.ts";
import { payloadAudit } from "../../projections/audit-payload.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { Bundler } from "../ports/bundler.ts";

/** In the order of the report. */
export const AUDITS: readonly Audit[] = [
  erased(chainAudit),
  erased(checkpointAudit),
  erased(continuityAudit),
  erased(payloadAudit),
  erased(conservationAudit),
];

/** An audit as the driver sees it: each is only ever given its own state. */
function erased<State extends Tally>(audit: Audit<State>): Audit {
  return { ...audit, apply: (state, item) => audit.apply(state as State, item) };
}

/**
 * Checks of the user's own: the default exports of modules. Throws `BadPipeline` for a module that cannot be loaded,
 * and `BadUsage` for one that exports something else, or a check with a name that there is already.
 */
export async function loadChecks(bundler: Bundler, paths: readonly string[]): Promise<Audit[]> {
  const names = new Set(AUDITS.map(({ name }) => name));
  const checks: Audit[] = [];
  for (const path of paths) {
    const check = mustBeAudit(bundler.load(await bundler.bundle(resolve(path))), path);
    if (names.has(check.name)) {
      throw new HeadwaterError("BadUsage", `there is a check with this name already: ${check.name}`, {
        where: path,
        hint: "Give the check a name of its own.",
      });
    }
    names.add(check.name);
    checks.push(check);
  }
  return checks;
}

function mustBeAudit(exported: unknown, path: string): Audit {
  const { name, version, init, apply } = (exported ?? {}) as Partial<Audit>;
  const isAudit =
    typeof name === "string" &&
    /^[a-z0-9-]+$/.test(name) &&
    typeof version === "number" &&
    typeof init === "function" &&
    typeof apply === "function";
  if (isAudit) return exported as Audit;
  throw new HeadwaterError("BadUsage", "the module's default export is not a check", {
    where: path,
    hint: "Export { name, version, init, apply }, with a name of [a-z0-9-]: projections/README.md has an example.",
  });
}
