import { sha256 } from "../core/digest.ts";
import type { RetryPlan } from "../pipeline/retries.ts";

/**
 * How long to wait before a retry, in milliseconds; `retry` counts from 1. Between half of what the plan says and all
 * of it, decided by `place`: records that failed together do not come again together, and nothing is random.
 */
export function backoffMs(plan: RetryPlan, retry: number, place: string): number {
  const whole = Math.min(plan.mostMs, plan.backoffMs * plan.factor ** (retry - 1));
  const digest = sha256(Buffer.from(`${place}#${retry}`));
  const share = new DataView(digest.buffer, digest.byteOffset).getUint32(0) / 2 ** 32;
  return Math.ceil(whole * (1 - share / 2));
}
