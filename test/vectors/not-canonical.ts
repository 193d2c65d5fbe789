/** A value that no record may have, made anew for each test, and the path that its error names. */
export interface RefusedValue {
  readonly name: string;
  readonly make: () => unknown;
  readonly where: string;
  readonly message: RegExp;
}

class Point {
  x = 1;
}

function withHole(): unknown[] {
  const array: unknown[] = [1, 2, 3];
  delete array[1];
  return array;
}

function nested(levels: number): unknown {
  let value: unknown = [];
  for (let level = 1; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

function cyclic(): unknown {
  const child: { parent?: unknown } = {};
  const parent = { children: [{}, child] };
  child.parent = parent;
  return parent;
}

function row(name: string, make: () => unknown, where: string, message: RegExp): RefusedValue {
  return { name, make, where, message };
}

export const REFUSED_VALUES: readonly RefusedValue[] = [
  row("undefined", () => undefined, "$", /undefined/),
  row("undefined in an array", () => ({ a: [1, undefined] }), "$.a[1]", /undefined/),
  row("a hole", () => ({ a: withHole() }), "$.a[1]", /hole/),
  row("a hole made up for by a property", () => Object.assign(withHole(), { x: 1 }), "$[1]", /hole/),
  row("a hole at the end", () => new Array(1), "$[0]", /hole/),
  row("an array with a property", () => [[], Object.assign([1], { x: 1 })], "$[1]", /beside its elements/),
  row("a Date", () => ({ orders: [0, 1, 2, { when: new Date(0) }] }), "$.orders[3].when", /Date/),
  row("a Map", () => ({ a: new Map() }), "$.a", /Map/),
  row("a Set", () => ({ a: new Set() }), "$.a", /Set/),
  row("a RegExp", () => ({ a: /x/ }), "$.a", /RegExp/),
  row("an Error", () => ({ a: new Error("x") }), "$.a", /Error/),
  row("an object of a class", () => ({ a: new Point() }), "$.a", /class/),
  row("an object with another prototype", () => ({ a: Object.create({ x: 1 }) }), "$.a", /class/),
  row("an array of a class", () => ({ a: new (class Rows extends Array {})() }), "$.a", /class/),
  row("bytes of a class", () => ({ a: new (class Key extends Uint8Array {})(2) }), "$.a", /Uint8Array/),
  row("false bytes", () => ({ a: Object.create(Uint8Array.prototype) }), "$.a", /class/),
  row("a function", () => ({ f: () => 1 }), "$.f", /function/),
  row("a symbol", () => ({ s: Symbol("s") }), "$.s", /symbol/),
  row("a symbol as key", () => ({ a: { [Symbol("s")]: 1 } }), "$.a", /symbol/),
  row("a symbol as key of an array", () => ({ a: Object.assign([], { [Symbol("s")]: 1 }) }), "$.a", /symbol/),
  row(
    "a hidden property",
    () => ({ a: Object.defineProperty({ b: 1 }, "c", { value: 1 }) }),
    "$.a.c",
    /hidden/,
  ),
  row("half a surrogate pair", () => ({ a: "x\ud800" }), "$.a", /surrogate/),
  row("half a surrogate pair in a long text", () => ({ a: `${"x".repeat(100)}\udc00` }), "$.a", /surrogate/),
  row("half a surrogate pair in a key", () => ({ a: { "\ud800": 1 } }), '$.a["\\ud800"]', /surrogate/),
  row("__proto__ as own key", () => JSON.parse('{"a":{"__proto__":1}}'), "$.a.__proto__", /__proto__/),
  row("a cycle", cyclic, "$.children[1].parent", /itself/),
  row("an Int8Array", () => ({ a: new Int8Array(1) }), "$.a", /Int8Array/),
  row("a Uint8ClampedArray", () => ({ a: new Uint8ClampedArray(1) }), "$.a", /Uint8ClampedArray/),
  row("a Float64Array", () => ({ a: new Float64Array(1) }), "$.a", /Float64Array/),
  row("an ArrayBuffer", () => ({ a: new ArrayBuffer(1) }), "$.a", /ArrayBuffer/),
  row("a boxed number", () => ({ a: Object(1) }), "$.a", /Number/),
  row("a boxed text", () => ({ a: Object("x") }), "$.a", /String/),
  row("a promise", () => ({ a: Promise.resolve(1) }), "$.a", /Promise/),
  row("a bigint of 65 bits", () => ({ a: 2n ** 64n }), "$.a", /64 bits/),
  row("a bigint below -2^63", () => ({ a: -(2n ** 63n) - 1n }), "$.a", /64 bits/),
  row("129 containers around each other", () => nested(129), `$${"[0].a".repeat(64)}`, /more than 128/),
  row(
    "an accessor that throws",
    () => ({
      a: {
        get b() {
          throw new Error("not today");
        },
      },
    }),
    "$.a.b",
    /not today/,
  ),
  row(
    "a key that has to be quoted",
    () => ({ "first name": { "": undefined, "it's": Symbol("s") } }),
    `$["first name"]["it's"]`,
    /symbol/,
  ),
];
