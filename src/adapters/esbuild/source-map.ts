import { SourceMap, type SourceMapPayload } from "node:module";
import type { Bundle } from "../../ports/bundler.ts";

/** Under which name the code of a bundle stands in stacks. */
export function nameInStacks({ module }: Bundle): string {
  return `headwater:${module}`;
}

/**
 * Leaves out the lines of `text` that match, and moves `map` along. There is none any more if one of those lines was
 * made of something: that is not how comments are.
 */
export function withoutLines(
  text: string,
  map: string | undefined,
  matching: RegExp,
): { readonly text: string; readonly map: string | undefined } {
  const lines = text.split("\n");
  const last = lines.length - 1;
  const stays = lines.map((line, at) => at === last || !matching.test(line));
  const kept = lines.filter((_, at) => stays[at]).join("\n");
  if (map === undefined) return { text: kept, map };
  const payload = JSON.parse(map) as SourceMapPayload;
  const mappings = payload.mappings.split(";");
  if (mappings.some((segments, at) => segments !== "" && stays[at] === false)) {
    return { text: kept, map: undefined };
  }
  const moved = mappings.filter((_, at) => stays[at] !== false).join(";");
  return { text: kept, map: JSON.stringify({ ...payload, mappings: moved }) };
}

/** See `Bundler.places`. */
export function placesOf(bundle: Bundle): (stack: string) => string {
  const { map } = bundle;
  if (map === undefined) return (stack) => stack;
  const name = nameInStacks(bundle).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const place = new RegExp(`${name}:(\\d+):(\\d+)`, "g");
  let known: SourceMap | undefined;
  return (stack) =>
    stack.replace(place, (bundled, line: string, column: string) => {
      known ??= new SourceMap(JSON.parse(map) as SourceMapPayload);
      const entry = known.findEntry(Number(line) - 1, Number(column) - 1);
      if (!("originalSource" in entry)) return bundled;
      return `${entry.originalSource}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
    });
}
