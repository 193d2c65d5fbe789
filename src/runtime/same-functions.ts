import type { Plan } from "../pipeline/plan.ts";
import type { Bundle, NameFinder } from "../ports/bundler.ts";
import type { ReuseQuery } from "./fork-reuse.ts";

/** Globals that are the same for everybody, and do not change. */
const FIXED: ReadonlySet<string> = new Set(
  (
    "Array ArrayBuffer BigInt Boolean DataView Error JSON Map Number Object RangeError RegExp Set String SyntaxError " +
    "Symbol TypeError Uint8Array WeakMap WeakSet decodeURIComponent encodeURIComponent isFinite isNaN parseFloat parseInt " +
    "undefined NaN Infinity"
  ).split(" "),
);
/** What values give otherwise where somebody else lives. */
const OF_PLACE = /toLocale|localeCompare/;

/**
 * Answers of a stage or source whether its functions are what their source text says: they refer to nothing of their
 * module, and to no global that may be another at another time, or that one of the `bundles` makes another. Then the same
 * text is the same function in every one of these; of others the whole module counts.
 */
export function sameFunctions(
  finder: NameFinder,
  bundles: () => Promise<readonly Bundle[]>,
): ReuseQuery["sameFunctions"] {
  const known = new Map<string, boolean>();
  let others: Promise<ReadonlySet<string>> | undefined;
  const othersInAll = async () => {
    const found = await Promise.all((await bundles()).map((bundle) => finder.othersIn(bundle, FIXED)));
    return new Set(found.flatMap((names) => [...names]));
  };
  const isClosed = async (text: string) => {
    let closed = known.get(text);
    if (closed === undefined) {
      const names = OF_PLACE.test(text) ? undefined : await finder.namesOutside(text);
      others ??= othersInAll();
      const made = await others;
      // Where values themselves are given other methods no text says what it does.
      closed = names !== undefined && made.size < FIXED.size;
      for (const name of names ?? []) closed &&= FIXED.has(name) && !made.has(name);
      known.set(text, closed);
    }
    return closed;
  };
  return async ({ definition }: Plan, name: string) => {
    const all = [...definition.sources, ...definition.stages];
    const texts = functionsOf(all.find((one) => one.name === name)).map(String);
    for (const text of texts) if (!(await isClosed(text))) return false;
    return true;
  };
}

/** Every function that a definition has anywhere; a schema's are not among them: it has done its work. */
function functionsOf(value: unknown, seen = new Set<unknown>()): unknown[] {
  if (typeof value === "function") return [value];
  if (typeof value !== "object" || value === null || seen.has(value)) return [];
  seen.add(value);
  return Object.entries(value).flatMap(([field, part]) =>
    field === "schema" || field === "parameters" ? [] : functionsOf(part, seen),
  );
}
