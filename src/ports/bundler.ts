/** A pipeline's module with all that it imports, as one text. */
export interface Bundle {
  /** UTF-8 of an ECMAScript module in CommonJS form; `headwater` and Node's own modules stay imports. */
  readonly code: Uint8Array;
  /** The module's file name, without its folder. */
  readonly module: string;
  /** Source map of `code`, as JSON. Not kept in a log: code from there has none. */
  readonly map?: string;
}

/** Makes bundles of modules, and modules of bundles. */
export interface Bundler {
  /** Throws `BadPipeline` for a syntax error, an import that is missing, native or computed, naming file and line. */
  bundle(path: string): Promise<Bundle>;
  /** Runs a bundle and answers its default export. Only for code that is trusted. Throws `BadPipeline`. */
  load(bundle: Bundle): unknown;
  /** Makes of a stack of a bundle's code one that names the files and lines which that was made of, as far as is known. */
  places?(bundle: Bundle): (stack: string) => string;
}

/** Looks into source text. */
export interface NameFinder {
  /**
   * The names that the source text of a function refers to and does not itself declare, such as functions of its module
   * and globals, and its own name where it is used for more than the declaration. `undefined`: that cannot be told of
   * this text, as of one with `this`, which may be of what is around it.
   */
  namesOutside(text: string): Promise<ReadonlySet<string> | undefined>;
  /**
   * Those of `names` that may be something else than the globals of these names to some function of a bundle: it declares
   * one itself, or changes what one has, or what all values have.
   */
  othersIn(bundle: Bundle, names: ReadonlySet<string>): Promise<ReadonlySet<string>>;
}
