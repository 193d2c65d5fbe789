import { createRequire, isBuiltin } from "node:module";
import { basename, dirname } from "node:path";
import { compileFunction } from "node:vm";
import type { BuildFailure, Message, Plugin } from "esbuild";
import { describeThrown, HeadwaterError } from "../../core/errors.ts";
import type { Bundle, Bundler } from "../../ports/bundler.ts";

const LIBRARY = "headwater";
/** The comments by which esbuild says where code comes from: paths of the machine that made the bundle. */
const PATH_COMMENT = /^\/\/ (?:\.{0,2}\/)?\S+\.[cm]?[jt]sx?$\n/gm;

/** Bundles with esbuild, and runs bundles with `library` as what they import as "headwater". */
export function createBundler(library: Readonly<Record<string, unknown>>): Bundler {
  return { bundle, load: (from) => load(from, library) };
}

async function bundle(path: string): Promise<Bundle> {
  // Loaded when it is needed: most commands never bundle.
  const { build } = await import("esbuild");
  try {
    const result = await build({
      entryPoints: [path],
      absWorkingDir: dirname(path),
      bundle: true,
      write: false,
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
    if (computed !== undefined) throw refusal(computed);
    const text = result.outputFiles[0]?.text ?? "";
    return { code: new TextEncoder().encode(text.replace(PATH_COMMENT, "")), module: basename(path) };
  } catch (error) {
    const first = (error as Partial<BuildFailure>).errors?.[0];
    throw first === undefined ? error : refusal(first);
  }
}

const refuseNative: Plugin = {
  name: "refuse-native",
  setup: (builder) => {
    builder.onResolve({ filter: /\.node$/ }, (args) => ({
      errors: [{ text: `native modules cannot be kept in a log: ${args.path}` }],
    }));
  },
};

function refusal(message: Message): HeadwaterError {
  const { location } = message;
  return new HeadwaterError("BadPipeline", message.text, {
    ...(location !== null && { where: `${location.file}:${location.line}:${location.column + 1}` }),
    hint: "The pipeline's module has to be a file that can be kept in the log as one text.",
  });
}

function load(from: Bundle, library: Readonly<Record<string, unknown>>): unknown {
  const require = createRequire(import.meta.url);
  const importer = (name: string): unknown => {
    if (name === LIBRARY) return library;
    if (isBuiltin(name)) return require(name);
    throw new HeadwaterError("BadPipeline", `deployed code imports ${name}, which was not bundled`, {
      where: from.module,
    });
  };
  const module: { exports: Record<string, unknown> } = { exports: {} };
  try {
    const run = compileFunction(new TextDecoder().decode(from.code), ["require", "module", "exports"], {
      filename: `headwater:${from.module}`,
    });
    run(importer, module, module.exports);
  } catch (error) {
    if (error instanceof HeadwaterError) throw error;
    throw new HeadwaterError(
      "BadPipeline",
      `the module failed while it was loaded: ${describeThrown(error)}`,
      {
        where: from.module,
        cause: error,
      },
    );
  }
  return module.exports["default"];
}
