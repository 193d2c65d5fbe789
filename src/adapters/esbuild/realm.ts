import { compileFunction, createContext, runInContext } from "node:vm";
import type { Bundle } from "../../ports/bundler.ts";

/** What loading a bundle makes another of globals: of some by name, or of what all values of a kind have. */
export interface GlobalChanges {
  readonly names: ReadonlySet<string>;
  readonly forAll: boolean;
}

/** Answers, of a realm's own globals, which are others than at the call before, and whether values are; run inside of it. */
const WATCH = `(() => {
  const own = (of) => Reflect.ownKeys(of).map((key) => [key, Object.getOwnPropertyDescriptor(of, key)]);
  const isObject = (value) => (typeof value === "object" && value !== null) || typeof value === "function";
  const { getPrototypeOf, getOwnPropertyDescriptor, is } = Object;
  const known = new Map();
  for (const name of Reflect.ownKeys(globalThis)) known.set(name, getOwnPropertyDescriptor(globalThis, name));
  const shared = new Set([
    getPrototypeOf([][Symbol.iterator]()), getPrototypeOf(getPrototypeOf([][Symbol.iterator]())),
    getPrototypeOf(new Map()[Symbol.iterator]()), getPrototypeOf(new Set()[Symbol.iterator]()),
    getPrototypeOf(""[Symbol.iterator]()), getPrototypeOf("".matchAll(/a/g)), getPrototypeOf(Uint8Array),
    getPrototypeOf(Uint8Array).prototype, getPrototypeOf(function* () {}), getPrototypeOf(async () => {}),
    getPrototypeOf(async function* () {}), getPrototypeOf(function* () {}).prototype,
  ]);
  const statics = new Map();
  for (const [name, { value }] of known) {
    if (!isObject(value) || value === globalThis) continue;
    statics.set(name, [value, own(value), getPrototypeOf(value)]);
    if (isObject(value.prototype)) shared.add(value.prototype);
  }
  const kept = [...shared].map((of) => [of, own(of), getPrototypeOf(of)]);
  const same = (a, b) => a !== undefined && b !== undefined &&
    is(a.value, b.value) && a.get === b.get && a.set === b.set;
  const isSame = ([of, before, parent]) => {
    const now = own(of);
    return getPrototypeOf(of) === parent && now.length === before.length &&
      before.every(([key, one]) => same(one, getOwnPropertyDescriptor(of, key)));
  };
  return () => {
    const names = [];
    for (const [name, one] of known) {
      const as = statics.get(name);
      if (!same(one, getOwnPropertyDescriptor(globalThis, name)) || (as !== undefined && !isSame(as))) names.push(String(name));
    }
    return { names, forAll: !kept.every(isSame) };
  };
})()`;

/** A library's object that takes whatever it is asked, and answers with itself. */
function takesAll(): unknown {
  const answer: unknown = new Proxy(() => {}, {
    get: (_, name) => {
      // Nobody waits for it.
      if (name === "then") return undefined;
      if (name === Symbol.toPrimitive) return () => 0;
      if (name === Symbol.iterator) return () => Array.from({ length: PARTS }, () => answer).values();
      return answer;
    },
    apply: () => answer,
    construct: () => answer as object,
  });
  return answer;
}

/** As many as whoever takes such an object apart may ask for. */
const PARTS = 64;

/**
 * What a bundle makes another of globals while it is loaded: in a realm of its own, where nobody else has done so before,
 * and with a `library` that takes whatever it is given, as objects of another realm are not what the real one takes.
 * `undefined` if that cannot be told, as it cannot be loaded so.
 */
export function changesAtLoad(
  { code }: Bundle,
  library: string,
  importer: (name: string) => unknown,
): GlobalChanges | undefined {
  try {
    const context = createContext({});
    const look = runInContext(WATCH, context) as () => { readonly names: string[]; readonly forAll: boolean };
    const inside = runInContext("globalThis", context) as object;
    // What Node adds to the language.
    for (const name of Object.getOwnPropertyNames(globalThis)) {
      if (name in inside) continue;
      const value: unknown = Reflect.get(globalThis, name);
      Object.defineProperty(inside, name, { configurable: true, writable: true, value });
    }
    const module: { exports: Record<string, unknown> } = { exports: {} };
    const text = new TextDecoder().decode(code);
    const run = compileFunction(text, ["require", "module", "exports"], { parsingContext: context });
    run((name: string) => (name === library ? takesAll() : importer(name)), module, module.exports);
    const { names, forAll } = look();
    return { names: new Set([...names]), forAll };
  } catch {
    return undefined;
  }
}
