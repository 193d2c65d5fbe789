import { resolve } from "node:path";
import { type Audit, fail, type Tally } from "../../projections/audit.ts";
import { chainAudit } from "../../projections/audit-chain.ts";
import { checkpointAudit } from "../../projections/audit-checkpoint.ts";
import { conservationAudit } from "../../projections/audit-conservation.ts";
import { continuityAudit } from "../../projections/audit-continuity.ts";
import { payloadAudit } from "../../projections/audit-payload.ts";
import { describeThrown, HeadwaterError } from "../core/errors.ts";
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
 * and `BadUsage` for one that exports something else, or a check with a name that there is already. A check whose `init`
 * or `apply` does not give a state with a tally throws `BadUsage` when it is run.
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
    checks.push(held(check, path));
  }
  return checks;
}

/** A check of the user's own, held to what a check gives: its mistakes are not laid on the log, nor on Headwater. */
function held(check: Audit, path: string): Audit {
  const where = `${check.name}, ${path}`;
  return {
    name: check.name,
    version: check.version,
    init: (about) => {
      let state: Tally;
      try {
        state = check.init(about);
      } catch (error) {
        throw threw(error, "init", where);
      }
      return mustBeTally(state, "init", where);
    },
    apply: (state, item) => {
      let next: Tally;
      try {
        next = check.apply(state, item);
      } catch (error) {
        const message = `the check threw here: ${describeThrown(error)}`;
        if (item.kind !== "event") throw threw(error, "apply", where);
        // What was tampered with may be of any shape.
        fail(state, `${item.stream}@${item.revision}`, "BadData", message);
        return state;
      }
      return mustBeTally(next, "apply", where);
    },
  };
}

function threw(error: unknown, what: string, where: string): HeadwaterError {
  const message = `the check's ${what} threw: ${describeThrown(error)}`;
  return new HeadwaterError("BadUsage", message, {
    where,
    hint: "Mend the check. Nothing is said of the log.",
    cause: error,
  });
}

function mustBeTally(state: Tally, what: string, where: string): Tally {
  const { checked, unverifiable, failed, failures } = (state ?? {}) as Partial<Tally>;
  const counts = [checked, unverifiable, failed].every((count) => typeof count === "number");
  if (counts && Array.isArray(failures)) return state;
  throw new HeadwaterError("BadUsage", `the check's ${what} gives no state with a tally`, {
    where,
    hint: "It has to give, at once and not as a promise, a state with checked, unverifiable and failed (numbers) and failures (an array).",
  });
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
