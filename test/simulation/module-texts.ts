// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are texts of functions
import fc from "fast-check";

/**
 * Texts of modules that make a pipeline of stages whose functions refer to what is around them in whatever way a text can,
 * or only seem to. Names in capitals and `h0` are at once of the module and, in some functions, of something inside.
 */

/** What a module's text is made of. Two that differ in one field are a module and a change of it. */
export interface ModuleWords {
  readonly constants: readonly [number, number, number];
  /** Of the helper, the class, the table, and the module that is imported. */
  readonly helper: number;
  readonly method: number;
  readonly entry: number;
  readonly imported: number;
  /** Indices into {@link FUNCTIONS}. */
  readonly stages: readonly number[];
  /** Of {@link PATCHES}; the first is none. */
  readonly patch: number;
  readonly unrelated: boolean;
  readonly comment: boolean;
  /** The module's names are others. */
  readonly renamed: boolean;
  /** The imported module has a name of its own that this one has, too: one of them is renamed in a bundle. */
  readonly collides: boolean;
}

/** A function, and whether it surely refers to nothing outside of itself but globals that nobody has changed. */
export const FUNCTIONS: readonly (readonly [text: string, closed: boolean])[] = [
  ["(r) => ({ ...r, v: r.v * 2 })", true],
  ["(r) => { const K0 = 5; return r.v + K0; }", true],
  ["({ v: K0, ...rest }) => ({ v: K0, rest })", true],
  ["(r) => { let n = 0; for (const K0 of r.list) n += K0; return n; }", true],
  ["(r) => { const h1 = (x) => x + 1; return h1(r.v); }", true],
  ["(r) => { function h0(x) { return x - 1; } return h0(r.v); }", false],
  ["(r) => { try { throw r.v; } catch (K0) { return K0; } }", true],
  ["(r) => { const f = (K1) => (K0) => K0 + K1; return f(1)(r.v); }", true],
  ["(r) => Number(r.s.length) + parseInt(String(r.v), 10)", true],
  ["(r) => JSON.stringify([...new Set(r.list)])", true],
  ["(r) => r.v.toFixed(1) + r.list.at(0) + r.s.trim()", true],
  ["(r) => r.v + K0", false],
  ["(r, _ctx, x = K1) => r.v + x", false],
  ["({ v, w = h0(1) }) => v + w", false],
  ["(r) => h0(r.v)", false],
  ["(r) => h1(r.v)", false],
  ["(r) => lib0(r.v)", false],
  ["(r) => ns.lib0(r.v) + ns['libFactor']", false],
  ["libStage", false],
  ["(r) => new C0(r.v).value()", false],
  ["(r) => C0.scale(r.v)", false],
  ["(r) => { class Local extends C0 {} return new Local(r.v).value(); }", false],
  ["(r) => { counter++; return r.v + counter; }", false],
  ["(r) => { rate = r.v + K1; return rate; }", false],
  ["(r) => r.v * rate", false],
  ["(r) => `K0 ${r.v} K1`", false],
  ["(r) => `${K0} ${r.s}`", false],
  ["(r) => r.s.replace(/a/g, (h0) => h0 + K1)", false],
  ["(r) => { { let K1 = r.v; K1++; } return typeof K1 === 'number' ? K1 : 0; }", false],
  ["(r) => ({ K0: r.v, h0() { return 1; } }).K0", false],
  ["(r) => ({ K0 }).K0 + r.v", false],
  ["(r) => { const { K0 = K1 } = r; return K0; }", false],
  ["(r) => r.list.map((K0, h0) => K0 * h0 + K1)", false],
  ["(r) => ((h0) => h0(r.v))((x) => x + K0)", false],
  ["(r) => { switch (r.v) { case K0: return 1; default: return 2; } }", false],
  ["(r) => r.nested?.K0 ?? K2", false],
  ["(r) => tag`a${r.v}`", false],
  ["function named(r) { return r.v + (named.extra ?? 0); }", false],
  ["Object.assign((r) => r.v, { extra: K0 })", false],
  ["withExtra", false],
  ["tables.pick", false],
  ["tables.own", false],
  ["make(K0)", false],
  ["bound", false],
  ["new Function('r', `return r.v + ${K0}`)", false],
  ["async (r) => (await h0(r.v)) + 1", false],
  ["(r) => Math.max(r.v, 3)", false],
  ["(r) => [3, r.v].extra?.() ?? new Map([[r.v, 1]]).size", false],
  ["(r) => globalThis.K9 ?? r.v", false],
  ["(r) => { var K0 = K0 ?? r.v; return K0; }", false],
  ["(r) => { if (r.v > 1) { var K2 = 1; } return K2 ?? 0; }", false],
  ["(r) => { const x = K1; { const K1 = 2; return x + K1 + r.v; } }", false],
  ["(K0) => { const v = K0.v; return ((K1 = h0(v)) => K1)(); }", false],
  ["(r) => { label: for (const h1 of [1]) { if (h1) break label; } return h1(r.v); }", false],
  ["(r) => { const o = { get K0() { return K1; } }; return o.K0 + r.v; }", false],
  ["(r) => { const { [key]: picked } = r; return picked; }", false],
];

/** What a module makes another of everything that there is. */
export const PATCHES: readonly string[] = [
  "",
  "const Number = () => K0;",
  "function parseInt() { return K1; }",
  "JSON.stringify = () => K2;",
  "Number.prototype.toFixed = function () { return String(K0); };",
  "Array.prototype.extra = function () { return K1; };",
  "globalThis.parseInt = () => K2;",
  "globalThis['K9'] = K0;",
  "Object.defineProperty(String.prototype, 'trim', { configurable: true, writable: true, value: () => K1 });",
  "const proto = Array.prototype; proto.at = () => K2;",
  "Object.assign(JSON, { stringify: () => K0 });",
  "[].constructor.prototype.at = () => K1;",
  "Reflect.set(String.prototype, 'trim', () => K2);",
  "for (const it of [Array]) it.prototype.at = () => K0;",
  "Object.getPrototypeOf([]).at = () => K0;",
  "[].__proto__.at = () => K1;",
  "const { prototype } = Array; prototype.at = () => K1;",
  "Set = class extends Set { constructor() { super([K0]); } };",
];

/** The text of the module, and of the one that it imports as `./lib.ts`. */
export function textsOf(words: ModuleWords): { readonly module: string; readonly lib: string } {
  const { constants, helper, method, entry, imported, stages, patch } = words;
  const lines = [
    "// @ts-nocheck",
    'import { pipeline } from "headwater";',
    'import { lib0, libFactor, libStage } from "./lib.ts";',
    'import * as ns from "./lib.ts";',
    ...constants.map((value, at) => `const K${at} = ${value};`),
    "let counter = 0; let rate = 1; rate = K1;",
    "const key = K0 > 1 ? 'v' : 's';",
    `const h0 = (x) => x * 2 + ${helper};`,
    "function h1(x) { return h0(x) - K2; }",
    `class C0 { constructor(x) { this.x = x; } value() { return this.x + ${method}; } static scale(x) { return x * K1; } }`,
    `const tables = { pick(r) { return r.v + ${entry}; }, own(r) { return r.v + 1; } };`,
    "const make = (k) => (r) => r.v * k;",
    "const bound = function (k, r) { return k * r.v; }.bind(null, K1);",
    "const tag = ([text], v) => text + v + K2;",
    "function withExtra(r) { return r.v + withExtra.extra; }",
    "withExtra.extra = K0;",
    PATCHES[patch] ?? "",
    ...(words.unrelated ? ["export function unrelated(r) { return h0(r.v) + K0; }"] : []),
    ...(words.comment ? ["/* What is said here, K0 and h0(), changes nothing. */"] : []),
    'const p = pipeline("p");',
    'let stream = p.source("in");',
    ...stages.map((at, n) => `stream = stream.map("s${n}", ${FUNCTIONS[at]?.[0]});`),
    'stream.sink("out");',
    "export default p;",
  ];
  const lib = [
    "// @ts-nocheck",
    `export const libFactor = ${imported};`,
    ...(words.collides ? ["const h0 = (x) => x + 100; const K0 = 7; export const used = h0(K0);"] : []),
    `export function lib0(x) { return x * libFactor${words.collides ? " + h0(K0)" : ""}; }`,
    "export const libStage = (r) => r.v + libFactor;",
    "",
  ];
  const renamed = (text: string) =>
    words.renamed ? text.replaceAll(/\b(K\d|h\d|C0|make)\b/g, "$1Other") : text;
  return { module: `${renamed(lines.join("\n"))}\n`, lib: lib.join("\n") };
}

const small = fc.nat(3);

export const moduleWords: fc.Arbitrary<ModuleWords> = fc.record({
  constants: fc.tuple(small, small, small),
  helper: small,
  method: small,
  entry: small,
  imported: small,
  stages: fc.array(fc.nat(FUNCTIONS.length - 1), { minLength: 8, maxLength: 16 }),
  patch: fc.oneof(fc.constant(0), fc.nat(PATCHES.length - 1)),
  unrelated: fc.boolean(),
  comment: fc.boolean(),
  renamed: fc.boolean(),
  collides: fc.boolean(),
});

const PARTS: readonly (keyof ModuleWords)[] = [
  ...(["constants", "helper", "method", "entry", "imported", "stages", "patch"] as const),
  ...(["unrelated", "comment", "renamed", "collides"] as const),
];

/** One part of a module that is another in the other. */
export const moduleChange: fc.Arbitrary<{ readonly part: keyof ModuleWords; readonly by: number }> =
  fc.record({
    part: fc.constantFrom(...PARTS),
    by: fc.nat(1_000),
  });

export function changedModule(
  words: ModuleWords,
  { part, by }: { readonly part: keyof ModuleWords; readonly by: number },
): ModuleWords {
  const value = words[part];
  if (typeof value === "boolean") return { ...words, [part]: !value };
  if (part === "patch") return { ...words, patch: by % PATCHES.length };
  if (typeof value === "number") return { ...words, [part]: value + 1 + (by % 3) };
  const at = by % value.length;
  const most = part === "stages" ? FUNCTIONS.length : Number.POSITIVE_INFINITY;
  return { ...words, [part]: value.map((one, n) => (n === at ? (one + 1 + (by % 5)) % most : one)) };
}
