import { HeadwaterError } from "../core/errors.ts";
import type { Rate } from "../runtime/pace.ts";
import type { ForkRequest } from "./what-if-types.ts";

/** What the compiler sees to where there is one. Throws `BadUsage`. */
export function checkFork({
  rate,
  outputs,
  rotations,
}: Pick<ForkRequest, "rate" | "outputs" | "rotations">): void {
  checkRate(rate);
  checkMap(outputs, "outputs", "the file, or the address, for each sink");
  checkMap(rotations, "rotations", "the size or time for each sink");
}

/** Throws `BadUsage` for a rate that is none: a program may be written without types. */
export function checkRate(rate: Rate | undefined): void {
  if (rate === undefined) return;
  const asked: Readonly<Record<string, unknown>> = typeof rate === "object" && rate !== null ? rate : {};
  const { recordsPerSecond, timesRealTime, ...others } = asked;
  const values = [recordsPerSecond, timesRealTime].filter((value) => value !== undefined);
  const [value] = values;
  const isOne = values.length === 1 && Object.keys(others).length === 0;
  if (isOne && typeof value === "number" && value > 0 && Number.isFinite(value)) return;
  throw new HeadwaterError("BadUsage", "the rate is none", {
    where: "rate",
    hint: "Give { recordsPerSecond } or { timesRealTime }, a number above 0; leave it out for as fast as it goes.",
  });
}

/** Throws `BadUsage` for what is to be a Map, and is none. */
export function checkMap(map: ReadonlyMap<string, string> | undefined, name: string, of: string): void {
  if (map === undefined || (map instanceof Map && [...map].flat().every(isText))) return;
  throw new HeadwaterError("BadUsage", `${name} is no Map of texts`, {
    where: name,
    hint: `Give a Map with ${of}.`,
  });
}

function isText(text: unknown): boolean {
  return typeof text === "string";
}
