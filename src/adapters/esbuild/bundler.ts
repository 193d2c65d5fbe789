import { stat } from "node:fs/promises";
import { createRequire, isBuiltin } from "node:module";
import { basename, dirname, join } from "node:path";
import { compileFunction } from "node:vm";
import type { BuildFailure, Message, Plugin } from "esbuild";
import { describeThrown, HeadwaterError, withPlaces } from "../../core/errors.ts";
import type { Bundle, Bundler, NameFinder } from "../../ports/bundler.ts";
import { namesOutside, othersIn } from "./names.ts";
import { changesAtLoad } from "./realm.ts";
import { nameInStacks, placesOf, withoutLines } from "./source-map.ts";

const LIBRARY = "headwater";
/** The comments by which esbuild says where code comes from: paths of the machine that made the bundle. */
const PATH_COMMENT = /^\/\/ (?:\.{0,2}\/)?\S+\.[cm]?[jt]sx?$/;

/** Bundles with esbuild, and runs bundles with `library` as what they import as "headwater". */
export function createBundler(library: Readonly<Record<string, unknown>>): Bundler & NameFinder {
  return {
    bundle,
    load: (from) => load(from, library),
    places: placesOf,
    namesOutside,
    othersIn: async (of, names) => {
      const others = await othersIn(of, names);
      if (others.size === names.size) return others;
      // Of what is done while it is loaded no text has to say it.
      const changed = changesAtLoad(of, LIBRARY, importerOf(of, library));
      if (changed === undefined || changed.forAll) return names;
      return new Set([...others, ...[...names].filter((name) => changed.names.has(name))]);
    },
  };
}

async function bundle(path: string): Promise<Bundle> {
  await mustBeFile(path);
  // Loaded when it is needed: most commands never bundle.
  const { build } = await import("esbuild");
  try {
    const result = await build({
      entryPoints: [path],
      absWorkingDir: dirname(path),
      bundle: true,
      write: false,
      // Nothing is written there; a map belongs to a file.
      outfile: join(dirname(path), "bundle.js"),
      sourcemap: "external",
      sourcesContent: false,
      format: "cjs",
      platform: "node",
      target: "node20",
      legalComments: "none",
      logLevel: "silent",
      external: [LIBRARY],
      plugins: [refuseNative],
    });
    const computed = result.warnings.find((warning) =>
      /unsupported-(dynamic-import|require-call)/.test(warning.id),
    );
    if (computed !== undefined) throw refusal(computed, CANNOT_BE_KEPT);
    const textOf = (ending: string) => result.outputFiles.find((file) => file.path.endsWith(ending))?.text;
    const { text, map } = withoutLines(textOf(".js") ?? "", textOf(".js.map"), PATH_COMMENT);
    return {
      code: new TextEncoder().encode(text),
      module: basename(path),
      ...(map !== undefined && { map }),
    };
  } catch (error) {
    const first = (error as Partial<BuildFailure>).errors?.[0];
    if (first === undefined) throw ENDED.test(describeThrown(error)) ? stopped(path, error) : error;
    throw refusal(first, first.pluginName === refuseNative.name ? CANNOT_BE_KEPT : MEND);
  }
}

/** What esbuild says when its process has ended, as it does by the Ctrl-C that a terminal gives to all. */
const ENDED = /^The service (?:was stopped|is no longer running)/;

function stopped(where: string, cause: unknown): HeadwaterError {
  return new HeadwaterError("Stopped", "stopped while the module was made one file", {
    where,
    hint: "Nothing was done. Run it again.",
    cause,
  });
}

const refuseNative: Plugin = {
  name: "refuse-native",
  setup: (builder) => {
    builder.onResolve({ filter: /\.node$/ }, (args) => ({
      errors: [{ text: `native modules cannot be kept in a log: ${args.path}` }],
    }));
  },
};

async function mustBeFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile()) return;
  const what = found === undefined ? "there is no such module" : "the module is a folder, not a file";
  throw new HeadwaterError("BadPipeline", what, {
    where: path,
    hint: "Check the path; it is taken relative to the current folder.",
  });
}

const MEND = "Mend the module, and run again.";
const CANNOT_BE_KEPT =
  "The pipeline's code is kept in the log as one text: import what it needs by fixed names, and no native modules.";

/** What esbuild says of \`await\` outside of functions. */
const WAITS = /^Top-level await/;
const MUST_NOT_WAIT =
  'What starts the pipeline belongs in a program of its own, which imports this module: see "In a program" in README.md. What has to be waited for belongs in a stage.';

function refusal(message: Message, hint: string): HeadwaterError {
  const { location, text } = message;
  const waits = WAITS.test(text);
  return new HeadwaterError(
    "BadPipeline",
    waits ? "a pipeline's module only makes the pipeline, and cannot wait for anything (await)" : text,
    {
      ...(location !== null && { where: `${location.file}:${location.line}:${location.column + 1}` }),
      hint: waits ? MUST_NOT_WAIT : hint,
    },
  );
}

/** What a bundle imports by. */
function importerOf(from: Bundle, library: Readonly<Record<string, unknown>>): (name: string) => unknown {
  const require = createRequire(import.meta.url);
  return (name) => {
    if (name === LIBRARY) return library;
    if (isBuiltin(name)) return require(name);
    throw new HeadwaterError("BadPipeline", `deployed code imports ${name}, which was not bundled`, {
      where: from.module,
    });
  };
}

function load(from: Bundle, library: Readonly<Record<string, unknown>>): unknown {
  const importer = importerOf(from, library);
  const module: { exports: Record<string, unknown> } = { exports: {} };
  try {
    const run = compileFunction(new TextDecoder().decode(from.code), ["require", "module", "exports"], {
      filename: nameInStacks(from),
    });
    run(importer, module, module.exports);
  } catch (error) {
    if (error instanceof HeadwaterError) throw placed(error, from.module);
    throw new HeadwaterError(
      "BadPipeline",
      `the module failed while it was loaded: ${describeThrown(error)}`,
      {
        where: from.module,
        hint: "Mend it, and run again; --verbose shows where it failed.",
        cause: withPlaces(error, placesOf(from)),
      },
    );
  }
  return module.exports["default"];
}

/** An error that names its place, which is `where` if it names none. */
function placed(error: HeadwaterError, where: string): HeadwaterError {
  if (error.where !== undefined) return error;
  const { code, message, hint, cause } = error;
  return new HeadwaterError(code, message, { where, cause, ...(hint !== undefined && { hint }) });
}
