/**
 * The shape of a map is its keys in their order. Records of a stream have few shapes, so that code compiled for
 * a shape is used again and again.
 */
export interface Shape {
  readonly keys: readonly string[];
}

/** Shapes that a place remembers beside the last one. */
const SITE_SHAPES_MOST = 7;
/** After so many maps in a row whose shape was not known at a place, it looks only for one in so many. */
const MISSES_MOST = 64;
const LOOKED_FOR = 16;

/** A place in a record (the root, a property of a shape, the elements of an array) and the shapes last seen there. */
export class ShapeSite<S extends Shape> {
  last: S | undefined;
  others: readonly S[] = [];
  #misses = 0;

  /** The shape of an object with these keys, when it was seen here. */
  recall(keys: readonly string[]): S | undefined {
    const { last } = this;
    if (last !== undefined && sameKeys(keys, last.keys)) return this.#known(last);
    for (const shape of this.others) if (sameKeys(keys, shape.keys)) return this.#known(shape);
    return undefined;
  }

  /**
   * Whether to look for a shape that is not known here; to be asked each time. Maps whose keys are data have
   * too many shapes, and looking for them costs more than doing without.
   */
  looks(): boolean {
    this.#misses++;
    return this.#misses < MISSES_MOST || this.#misses % LOOKED_FOR === 0;
  }

  /** Puts a shape first; the one that was seen longest ago makes room for it. */
  remember(shape: S): void {
    if (this.last === shape) return;
    const before = [this.last, ...this.others].filter((other) => other !== undefined && other !== shape);
    this.others = before.slice(0, SITE_SHAPES_MOST) as S[];
    this.last = shape;
  }

  #known(shape: S): S {
    this.#misses = 0;
    return shape;
  }

  forget(): void {
    this.last = undefined;
    this.others = [];
  }
}

function sameKeys(a: readonly string[], b: readonly string[]): boolean {
  const count = a.length;
  if (count !== b.length) return false;
  for (let index = 0; index < count; index++) if (a[index] !== b[index]) return false;
  return true;
}
