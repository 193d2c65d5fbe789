import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { mustBeWithin } from "./executor.ts";
import type { StartOptions } from "./start-types.ts";

/**
 * What a program gives to `start` may come from JavaScript: it is checked, and refused with `BadUsage` by the name of the
 * option.
 */

/** A text is iterable, too, but has no records. */
export function isIterable(input: unknown): input is Iterable<unknown> | AsyncIterable<unknown> {
  return (
    typeof input === "object" && input !== null && (Symbol.iterator in input || Symbol.asyncIterator in input)
  );
}

/** An option whose entries are by name; `{}` if it is absent. */
export function given<T>(
  option: Readonly<Record<string, T>> | undefined,
  name: string,
): Readonly<Record<string, T>> {
  if (option === undefined) return {};
  if (typeof option === "object" && option !== null && !Array.isArray(option)) return option;
  throw badOption(name, option, "an object with an entry for each name");
}

export function badOption(where: string, value: unknown, wanted: string): HeadwaterError {
  const is = value === null || value === undefined ? String(value) : `of type ${typeof value}`;
  return new HeadwaterError("BadUsage", `the option has to be ${wanted}, and is ${is}`, { where });
}

const OPTIONS: Readonly<Record<keyof StartOptions, true>> = {
  log: true,
  module: true,
  inputs: true,
  sinks: true,
  parameters: true,
  nodes: true,
  executor: true,
  hangAfterMs: true,
  threadMemoryMb: true,
  batchRecords: true,
  tickMs: true,
  provenance: true,
  keepOpen: true,
  drainTimeout: true,
  checkpoints: true,
  onNotice: true,
};

/** Who writes no types may give anything. */
export function mustBePipeline(pipeline: unknown): void {
  if (typeof pipeline === "object" && pipeline !== null && "definition" in pipeline) return;
  const is = pipeline === null ? "null" : typeof pipeline;
  throw new HeadwaterError("BadUsage", `start is given ${is} in the place of a pipeline`, {
    where: "pipeline",
    hint: 'Give it what pipeline("name") has made, and then the options: start(p, { log: "lmdb:.headwater" }).',
  });
}

/** Options that nothing else checks. */
export function mustBeOptions(options: StartOptions): void {
  if (typeof options !== "object" || options === null) {
    throw badOption("options", options, 'an object, such as { log: "lmdb:.headwater" }');
  }
  const { log, batchRecords, tickMs, provenance } = options;
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(OPTIONS, name));
  if (unknown !== undefined) {
    throw new HeadwaterError("BadUsage", `start has no option ${JSON.stringify(unknown)}`, {
      where: unknown,
      hint: `It has ${Object.keys(OPTIONS).join(", ")}.`,
    });
  }
  if (typeof log !== "string") throw badOption("log", log, "the log's name, such as lmdb:.headwater");
  if (batchRecords !== undefined) mustBeWithin("batchRecords", batchRecords, 1, LIMITS.batchRecordsMost);
  if (tickMs !== undefined) mustBeWithin("tickMs", tickMs, 1, LIMITS.tickMsMost);
  if (provenance === undefined || provenance === "full" || provenance === "off") return;
  throw new HeadwaterError("BadUsage", `there is no provenance ${JSON.stringify(provenance)}`, {
    where: "provenance",
    hint: 'It is "full", or "off".',
  });
}

/** A module by its path, or by its file URL such as `import.meta.url`. */
export function pathOf(module: unknown): string {
  if (module instanceof URL || (typeof module === "string" && module.startsWith("file:"))) {
    return fileURLToPath(module);
  }
  if (typeof module === "string") return resolve(module);
  throw badOption("module", module, "the path of the pipeline's module, such as import.meta.filename");
}

/** A sink's binding that is no function. */
export function mustBind(where: string, binding: unknown): void {
  const bound = Object(binding) as Readonly<Record<string, unknown>>;
  const is = (part: string, type: string, ...others: readonly string[]) =>
    typeof bound[part] === type && Object.keys(bound).every((name) => [part, ...others].includes(name));
  if (is("batch", "function") || is("file", "string", "rotate")) return;
  if (is("url", "string", "headers", "timeout")) return;
  const wanted =
    "a function, { batch: function }, { file: path, rotate } or { url: address, headers, timeout }";
  throw badOption(where, binding, wanted);
}
