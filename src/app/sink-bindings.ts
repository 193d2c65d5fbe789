import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { durationMs } from "../pipeline/duration.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { Surroundings } from "../runtime/compose.ts";
import { HttpTarget } from "../runtime/http-target.ts";
import type { SinkTarget } from "../runtime/sink-target.ts";
import { BatchCallbackTarget, CallbackTarget } from "../runtime/sink-targets.ts";
import { fileTarget, mustBeAddress, mustWriteApart } from "./run-outputs.ts";
import { given, mustBind } from "./start-options.ts";
import type { BatchDelivery, Delivery, SinkBinding } from "./start-types.ts";

/** Makes the targets that a program binds to a pipeline's sinks. Throws `UnknownSink`, and as {@link boundTarget}. */
export async function boundTargets(
  { definition }: Plan,
  sinks: Readonly<Record<string, SinkBinding>> | undefined,
  surroundings: Surroundings,
): Promise<Map<string, SinkTarget>> {
  const targets = new Map<string, SinkTarget>();
  for (const [name, binding] of Object.entries(given(sinks, "sinks"))) {
    if (!definition.sinks.some((sink) => sink.name === name)) {
      throw new HeadwaterError("UnknownSink", `the pipeline has no sink ${JSON.stringify(name)}`, {
        where: `pipeline ${definition.name}`,
      });
    }
    targets.set(name, boundTarget(name, binding, surroundings));
  }
  await mustWriteApart(targets);
  return targets;
}

/** What a binding stands for. Throws `BadUsage` for what is none. */
export function boundTarget(
  name: string,
  binding: SinkBinding,
  { files, http, clock }: Surroundings,
): SinkTarget {
  if (typeof binding === "function") {
    const deliver = binding as (record: unknown, delivery: Delivery) => void | Promise<void>;
    return new CallbackTarget(name, ({ value, key, ordinal }) => deliver(value, { key, ordinal }));
  }
  mustBind(`sinks.${name}`, binding);
  if ("batch" in binding) {
    const deliver = binding.batch as (
      records: readonly unknown[],
      delivery: BatchDelivery,
    ) => void | Promise<void>;
    return new BatchCallbackTarget(name, (records, key) =>
      deliver(
        records.map(({ value }) => value),
        { key, records: records.map((record) => ({ key: record.key, ordinal: record.ordinal })) },
      ),
    );
  }
  if ("file" in binding) return fileTarget(files, binding.file, binding.rotate);
  mustBeAddress(binding.url);
  const { url, headers = {}, timeout } = binding;
  const timeoutMs = timeout === undefined ? LIMITS.postTimeoutMs : durationMs(timeout, "the timeout", url, 1);
  return new HttpTarget({ http, clock, sink: name, url, headers, timeoutMs });
}
