import { encodeCanonical } from "../core/canonical.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { backoffMs } from "../engine/backoff.ts";
import {
  type EffectFailure,
  type EffectOutcome,
  type EffectRequest,
  WHOLE_RESULT,
} from "../engine/outside.ts";
import { cutReason, isError, messageOf, read } from "../engine/thrown.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { EffectGates } from "./effect-gates.ts";

export interface CallSurroundings {
  readonly clock: Clock;
  readonly gates: EffectGates;
  /** Aborted when nobody waits for the call any more. */
  readonly signal: AbortSignal;
  /** Is told what keeps a call from being made, or why it is made again; `undefined`: it is made for the first time. */
  onDelay?(delay: CallDelay | undefined): void;
}

export type CallDelay =
  /** It has failed, and is called again at `dueAt`, by the monotonic clock. */
  | { readonly kind: "again"; readonly dueAt: number; readonly because: string }
  /** As many as may be, `most`, are under way. */
  | { readonly kind: "queued"; readonly most: number };

/** What came of calls. */
export type CallResult = Pick<EffectOutcome, "kind" | "bytes" | "calls"> & { readonly millis: number };

/** Outcomes of effects that were recorded elsewhere. */
export interface RecordedOutcomes {
  /** `undefined`: it is to be called. Rejects with `EffectMissing` where that must not be. */
  outcomeOf(request: EffectRequest): Promise<CallResult | undefined>;
}

type Answer =
  | { readonly kind: "answered"; readonly value: unknown }
  | { readonly kind: "threw"; readonly error: unknown }
  | { readonly kind: "timedOut" };

/**
 * Calls an effect, again after a failure as its plan says, and answers what came of it: never what the call throws.
 * Rejects with `Stopped` when the signal aborts; a call that is under way then is told so, and not waited for.
 */
export async function callEffect(
  request: EffectRequest,
  { clock, gates, signal, onDelay }: CallSurroundings,
): Promise<CallResult> {
  const { plan, stage, name, key, callsBefore } = request;
  const gate = `${stage}\0${name}`;
  let begun: number | undefined;
  let delay: CallDelay | undefined;
  for (let calls = 1; ; calls++) {
    onDelay?.({ kind: "queued", most: plan.concurrency });
    if (!(await gates.enter(gate, plan.concurrency, signal))) throw stopped();
    onDelay?.(delay);
    begun ??= clock.monotonic();
    let answer: Answer;
    try {
      answer = await callOnce(request, callsBefore + calls, clock, signal);
    } finally {
      gates.leave(gate);
    }
    const millis = Math.max(0, Math.round(clock.monotonic() - begun));
    if (answer.kind === "answered") return { ...resultOf(answer.value), calls, millis };
    if (plan.retry === undefined || calls > plan.retry.times) {
      return { ...failureOf(answer, plan.timeoutMs), calls, millis };
    }
    const waitMs = backoffMs(plan.retry, calls, key);
    delay = { kind: "again", dueAt: clock.monotonic() + waitMs, because: reasonOf(answer, plan.timeoutMs) };
    onDelay?.(delay);
    await sleep(clock, waitMs, signal);
    if (signal.aborted) throw stopped();
  }
}

/** One call. Whatever the function does after the time is up, or after the end, changes nothing. */
function callOnce(
  { fn, key, plan, name }: EffectRequest,
  attempt: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Answer> {
  if (signal.aborted) return Promise.reject(stopped());
  return new Promise<Answer>((resolve, reject) => {
    const controller = new AbortController();
    const end = () => {
      cancel();
      signal.removeEventListener("abort", onStopped);
    };
    const settle = (answer: Answer) => {
      end();
      resolve(answer);
    };
    const onStopped = () => {
      end();
      const reason = stopped();
      reject(reason);
      controller.abort(reason);
    };
    const cancel = clock.setTimeout(() => {
      settle({ kind: "timedOut" });
      controller.abort(
        new HeadwaterError("EffectTimedOut", `the effect ${name} had no answer within ${plan.timeoutMs} ms`),
      );
    }, plan.timeoutMs);
    signal.addEventListener("abort", onStopped, { once: true });
    const call = async () => fn({ key, signal: controller.signal, attempt });
    call().then(
      (value) => settle({ kind: "answered", value }),
      (error: unknown) => settle({ kind: "threw", error }),
    );
  });
}

/** A call that came to an end is not made again because its result cannot be kept: it has had its effect. */
function resultOf(value: unknown): Pick<EffectOutcome, "kind" | "bytes"> {
  if (value === undefined) return { kind: "nothing", bytes: new Uint8Array(0) };
  try {
    return { kind: "value", bytes: encodeCanonical(value) };
  } catch (error) {
    // What reading it throws is anything: it may be a proxy.
    const own = isHeadwaterError(error) ? error : undefined;
    const { message, where: path = WHOLE_RESULT, hint } = own ?? { message: messageOf(error) };
    const whole = cutReason(`its result cannot be kept: ${message}${hint === undefined ? "" : `. ${hint}`}`);
    return { kind: "failed", bytes: encodeFailure({ message: whole, path }) };
  }
}

function failureOf(
  answer: Exclude<Answer, { kind: "answered" }>,
  timeoutMs: number,
): Pick<EffectOutcome, "kind" | "bytes"> {
  if (answer.kind === "timedOut") {
    return { kind: "timedOut", bytes: encodeFailure({ message: `within ${timeoutMs} ms` }) };
  }
  const { error } = answer;
  const name = isError(error) ? read(error, "name") : undefined;
  const code = read(error, "code");
  return {
    kind: "failed",
    bytes: encodeFailure({
      message: messageOf(error),
      ...(typeof name === "string" && { name: cutReason(name) }),
      ...(typeof code === "string" && { code: cutReason(code) }),
      ...(typeof code === "number" && { code }),
    }),
  };
}

function reasonOf(answer: Exclude<Answer, { kind: "answered" }>, timeoutMs: number): string {
  return cutReason(answer.kind === "timedOut" ? `no answer within ${timeoutMs} ms` : messageOf(answer.error));
}

function encodeFailure(failure: EffectFailure): Uint8Array {
  return encodeCanonical({ ...failure, message: cutReason(failure.message) });
}

function stopped(): HeadwaterError {
  return new HeadwaterError("Stopped", "let go of while an effect was under way");
}
