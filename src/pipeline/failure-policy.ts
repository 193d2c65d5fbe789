import { HeadwaterError } from "../core/errors.ts";
import { type RetryPlan, type RetrySettings, retryPlan } from "./retries.ts";

/** What becomes of a record at which a stage fails. */
export type FailurePolicy =
  /** The record is quarantined with the reason, the rest goes on. The default. */
  | "skip"
  /** The pipeline stops at the record, and goes on from it at the next start. */
  | "fail";

/**
 * The stage's function is called again after a wait, for what may be otherwise then; meanwhile other records go on,
 * and order stays. After the last try the record is skipped, or the pipeline stops.
 */
export interface RetryPolicy {
  readonly retry: RetrySettings;
  /** `"skip"` if absent. */
  readonly otherwise?: FailurePolicy;
}

/** A stage's policy as its definition has it. */
export interface PlannedPolicy {
  /** What becomes of the record in the end. */
  readonly onError: FailurePolicy;
  /** How it is tried again before; absent if it is not. */
  readonly retry?: RetryPlan;
}

/** The stages whose functions can be tried again: nothing but their answer comes of a call. */
const RETRYABLE: ReadonlySet<string> = new Set(["map", "filter", "flatMap", "route"]);

const POLICIES = 'Give "skip", "fail", or { retry: { times: 3 }, otherwise: "skip" }.';

/** Throws `BadPipeline` for a policy that means nothing, or that a stage of this kind cannot have. */
export function failurePolicy(
  policy: FailurePolicy | RetryPolicy | undefined,
  kind: string,
  stage: string,
): PlannedPolicy {
  const where = `stage ${stage}`;
  if (policy === undefined) return { onError: "skip" };
  if (policy === "skip" || policy === "fail") return { onError: policy };
  const known =
    typeof policy === "object" &&
    policy !== null &&
    policy.retry !== undefined &&
    Object.keys(policy).every((name) => name === "retry" || name === "otherwise") &&
    (policy.otherwise === undefined || policy.otherwise === "skip" || policy.otherwise === "fail");
  if (!known) throw new HeadwaterError("BadPipeline", "onError is no policy", { where, hint: POLICIES });
  if (!RETRYABLE.has(kind)) {
    throw new HeadwaterError("BadPipeline", `a ${kind} cannot be tried again`, {
      where,
      hint: "It depends on its records alone, so that it would fail again. Retry what reaches outside: a map, filter, flatMap or route.",
    });
  }
  return { onError: policy.otherwise ?? "skip", retry: retryPlan(policy.retry, where) };
}
