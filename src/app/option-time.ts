import { isHeadwaterError } from "../core/errors.ts";
import { type Duration, durationMs } from "../pipeline/duration.ts";

/**
 * A length of time as an option has it, in milliseconds: a number and its unit, such as `500ms`, `5s` or `2m`, or a
 * whole number alone, which counts units of `plainMs`. `undefined` for anything else.
 */
export function optionMs(text: string, plainMs: number): number | undefined {
  if (/^\d{1,15}$/.test(text)) return Number(text) * plainMs;
  try {
    return durationMs(text as Duration, "the option", "option");
  } catch (error) {
    if (isHeadwaterError(error, "BadPipeline")) return undefined;
    throw error;
  }
}
