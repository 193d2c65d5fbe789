import { HeadwaterError } from "../core/errors.ts";

const OF_STAGES = ["onError", "parameters", "capture", "sample"] as const;

/** The options that each part of a pipeline has. */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  pipeline: ["partitions", "batchRecords", "tickMs", "retention"],
  source: ["schema", "key", "eventTime", "id", "watermark", "capture", "sample"],
  reduce: ["init", "step", "emit", ...OF_STAGES],
  window: ["aggregate", "emit", "lateness", "early", ...OF_STAGES],
  join: ["within", "lateness", ...OF_STAGES],
  tableJoin: ["lateness", ...OF_STAGES],
};

/** What a kind is called where that is not its name. */
const NAMES: Readonly<Record<string, string>> = { tableJoin: "join with a table" };

/**
 * Throws `BadPipeline` for an option that the part of a pipeline does not have: one that is misspelt would be passed over
 * where nobody checks types.
 */
export function mustBeKnownOptions(options: object, kind: string, name: string): void {
  const known = OPTIONS[kind] ?? OF_STAGES;
  const unknown = Object.keys(options).find((option) => !known.includes(option));
  if (unknown === undefined) return;
  const where = kind === "source" || kind === "pipeline" ? `${kind} ${name}` : `stage ${name}`;
  throw new HeadwaterError(
    "BadPipeline",
    `a ${NAMES[kind] ?? kind} has no option ${JSON.stringify(unknown)}`,
    {
      where,
      hint: `It has ${known.join(", ")}.`,
    },
  );
}
