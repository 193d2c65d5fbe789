import { FORBIDDEN_KEY } from "./canonical-encoder.ts";
import { type Shape, ShapeSite } from "./shape-site.ts";
import { hasLoneSurrogate } from "./utf8.ts";

/** Compiled shapes, at most; above that all are dropped and earn their place again. */
const SHAPES_MOST = 512;
/** Key lists that are being counted, at most. */
const CANDIDATES_MOST = 4_096;
/** A shape is compiled (some 0.1 ms) when it has been looked up this often; doubled whenever all are dropped. */
const SIGHTINGS = 3;
const SHAPE_KEYS_MOST = 128;
/** Characters of a shape's keys together, as JSON. */
const SHAPE_CHARS_MOST = 4_096;

/**
 * Makes what is compiled for a shape; `sample` is a map of it, `sites[i]` is for the i-th key of the canonical
 * order. Undefined where code may not be generated.
 */
export type ShapeCompiler<S extends Shape> = (
  keys: readonly string[],
  sample: object,
  sites: readonly ShapeSite<S>[],
) => S | undefined;

/** The shapes of a thread, compiled when they come again; bounded, whatever comes. */
export class ShapeCache<S extends Shape> {
  readonly #compiler: ShapeCompiler<S>;
  readonly #shapes = new Map<string, { readonly shape: S; readonly sites: readonly ShapeSite<S>[] }>();
  readonly #candidates = new Map<string, number>();
  #sightings = SIGHTINGS;
  #compiles = true;

  constructor(compiler: ShapeCompiler<S>) {
    this.#compiler = compiler;
  }

  /** The shape with these keys, if it is compiled by now and `site` looks for one; it is then remembered there. */
  find(keys: readonly string[], sample: object, site: ShapeSite<S>): S | undefined {
    if (keys.length > SHAPE_KEYS_MOST || !this.#compiles || !site.looks()) return undefined;
    const name = JSON.stringify(keys);
    if (name.length > SHAPE_CHARS_MOST) return undefined;
    const shape = this.#shapes.get(name)?.shape ?? this.#compile(name, keys, sample);
    if (shape !== undefined) site.remember(shape);
    return shape;
  }

  #compile(name: string, keys: readonly string[], sample: object): S | undefined {
    const seen = (this.#candidates.get(name) ?? 0) + 1;
    if (seen < this.#sightings) {
      if (this.#candidates.size >= CANDIDATES_MOST) this.#candidates.clear();
      this.#candidates.set(name, seen);
      return undefined;
    }
    // Such maps are refused, and the general way says why.
    if (keys.some((key) => key === FORBIDDEN_KEY || hasLoneSurrogate(key))) return undefined;
    if (this.#shapes.size >= SHAPES_MOST) this.#drop();
    const sites = keys.map(() => new ShapeSite<S>());
    const shape = this.#compiler(keys, sample, sites);
    if (shape === undefined) {
      this.#compiles = false;
      return undefined;
    }
    this.#candidates.delete(name);
    this.#shapes.set(name, { shape, sites });
    return shape;
  }

  /** Dropped shapes may live on at sites outside of this cache; they must not keep each other alive. */
  #drop(): void {
    for (const { sites } of this.#shapes.values()) for (const site of sites) site.forget();
    this.#shapes.clear();
    this.#sightings *= 2;
  }
}

/** Code for a shape, from a function's parameters and source; undefined where Node may not generate code. */
export function generate(
  parameters: readonly string[],
  source: string,
): ((...given: unknown[]) => unknown) | undefined {
  try {
    return new Function(...parameters, source) as (...given: unknown[]) => unknown;
  } catch (error) {
    if (error instanceof EvalError) return undefined;
    throw error;
  }
}
