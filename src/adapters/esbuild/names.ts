import type { Bundle } from "../../ports/bundler.ts";

const IDENTIFIER = /[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/gu;
/** What a name that the text refers to begins with once it is replaced. */
const MARK = "__headwater_outside_";
/** What is given to a function by what is around it, or by its caller, without a name; and code in texts. */
const AROUND = /^(?:this|arguments|super|eval|target|meta)$/;
/** esbuild writes other characters than ASCII so, in names, too. */
const ESCAPE = /\\u/;
const OWN_NAME = /^(?:async\s+)?function\s*\*?\s*([\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*)/u;

/** See `NameFinder`. Whatever looks like a name is to be replaced by another, which is done only where the text does not declare it. */
export async function namesOutside(text: string): Promise<ReadonlySet<string> | undefined> {
  const { transform } = await import("esbuild");
  const all: readonly string[] = text.match(IDENTIFIER) ?? [];
  const names = [...new Set(all)];
  if (ESCAPE.test(text) || names.some((name) => name.startsWith(MARK) || AROUND.test(name))) return undefined;
  const own = OWN_NAME.exec(text)?.[1];
  // A method is written without the word function.
  for (const whole of [`export default (${text});`, `export default ({ ${text} });`]) {
    try {
      const { code, warnings } = await transform(whole, { ...markOf(names), target: "node20" });
      // What is assigned to is not replaced.
      const assigned = warnings.some(({ id }) => id === "assign-to-define");
      if (assigned) return undefined;
      const found = code.match(IDENTIFIER)?.filter((name) => name.startsWith(MARK)) ?? [];
      const outside = new Set(found.map((name) => name.slice(MARK.length)));
      // A function can have more than its code.
      if (own !== undefined && all.indexOf(own) !== all.lastIndexOf(own)) outside.add(own);
      return outside;
    } catch {
      // The other way to write it.
    }
  }
  return undefined;
}

const MEMBERS = "(?:\\.[\\w$]+|\\[[^\\]]*\\])";
const ASSIGNS = "\\s*(?:[-+*/%&^|?]|\\*\\*|&&|\\|\\||\\?\\?|<<|>>>?)?=(?![=>])";
const CHANGES = "\\b(?:define(?:Property|Properties)|assign|setPrototypeOf|set)\\(\\s*";
/** A global, or something that it has, is made another. */
const CHANGED = [`${MARK}(\\w+)${MEMBERS}*${ASSIGNS}`, `${CHANGES}${MARK}(\\w+)`].map(
  (pattern) => new RegExp(pattern, "g"),
);
/** What all values of a kind have is made another, or given to who may do so; or globals, by a name that is computed. */
const CHANGED_FOR_ALL = [
  `${MARK}\\w+\\.prototype${MEMBERS}+${ASSIGNS}`,
  `${CHANGES}${MARK}\\w+\\.prototype`,
  `(?:[^=!]=|\\(|return)\\s*${MARK}\\w+\\.prototype\\s*[;,)}\\n]`,
  `\\.(?:__proto__|constructor\\.prototype)${MEMBERS}+${ASSIGNS}`,
  `\\[\\s*"(?:__proto__|prototype)"\\s*\\]`,
  `\\bglobal(?:This)?\\s*\\[`,
  `(?:[^=!]=|[(,:[]|return)\\s*global(?:This)?\\s*[;,)\\]}\\n]`,
].map((pattern) => new RegExp(pattern));
/** How esbuild writes `globalThis.name ??= value` for older engines. */
const LOWERED = /\((_\w+) = globalThis\)\.(\w+) (?:\?\?|\|\|) \(\1\.\2 = /g;
const CHANGED_BY_NAME = new RegExp(`\\bglobal(?:This)?\\.(\\w+)${MEMBERS}*${ASSIGNS}`, "g");
/** Whose kinds values may be of. */
const KINDS = "Array BigInt Boolean Function Map Number Object RegExp Set String Symbol".split(" ");

/** See `NameFinder`. What cannot be told counts as another. */
export async function othersIn(bundle: Bundle, names: ReadonlySet<string>): Promise<ReadonlySet<string>> {
  const { transform } = await import("esbuild");
  const text = new TextDecoder().decode(bundle.code);
  if (text.includes(MARK)) return names;
  try {
    const marked = await transform(text, { ...markOf([...names, ...KINDS]), target: "node20" });
    const { warnings } = marked;
    const code = marked.code.replace(LOWERED, "(globalThis.$2 = ");
    if (warnings.some(({ id }) => id === "assign-to-define")) return names;
    if (CHANGED_FOR_ALL.some((pattern) => pattern.test(code))) return names;
    // What is left as it was is declared somewhere, or only looks like a name; not what stands behind a dot.
    const others = new Set<string>();
    for (const { 0: name, index } of code.matchAll(IDENTIFIER)) {
      if (names.has(name) && code[index - 1] !== ".") others.add(name);
    }
    for (const pattern of [...CHANGED, CHANGED_BY_NAME]) {
      for (const [, name = ""] of code.matchAll(pattern)) others.add(name);
    }
    return others;
  } catch {
    return names;
  }
}

/** How esbuild is told to mark what is not declared. */
function markOf(names: readonly string[]) {
  const define: Record<string, string> = {};
  for (const name of names) if (!RESERVED.has(name)) define[name] = `${MARK}${name}`;
  return { define, logLevel: "silent" } as const;
}

/** Words that are no names in strict code. */
const RESERVED: ReadonlySet<string> = new Set(
  (
    "await break case catch class const continue debugger default delete do else enum export extends false finally for " +
    "function if implements import in instanceof interface let new null package private protected public return static " +
    "super switch this throw true try typeof var void while with yield arguments"
  ).split(" "),
);
