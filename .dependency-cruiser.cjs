// The import rules of the project: which folder may lean on which. See docs/architecture.md.
const TESTS = "\\.test(-d)?\\.ts$|/testing/";

/** `folder` may import, of the project, only from `allowed` (and from itself). */
function only(folder, allowed) {
  const targets = [folder, ...allowed].map((path) => `^${path}(/|\\.ts$|$)`).join("|");
  return {
    name: `${folder.replaceAll("/", "-")}-imports`,
    comment: `${folder} may import only ${allowed.join(", ") || "nothing of ours"}.`,
    severity: "error",
    from: { path: `^${folder}(/|\\.ts$)`, pathNot: TESTS },
    to: { path: "^(src|actors|projections|bench|examples|test)/", pathNot: targets },
  };
}

/** The npm package `name` may be imported only in files that match `places`. */
function confined(name, places) {
  return {
    name: `package-${name.replaceAll("/", "-")}`,
    comment: `${name} is imported only in ${places}.`,
    severity: "error",
    from: { path: "^(src|actors|projections)/", pathNot: `${places}|${TESTS}` },
    to: { path: `node_modules/${name}/` },
  };
}

const LAYERS = ["core", "ports", "pipeline", "engine"].map((layer) => `src/${layer}`);

module.exports = {
  forbidden: [
    { name: "unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
    { name: "no-cycles", severity: "error", from: { pathNot: TESTS }, to: { circular: true } },
    only("src/core", []),
    only("src/ports", ["src/core"]),
    only("src/pipeline", ["src/core"]),
    only("src/engine", ["src/core", "src/pipeline"]),
    only("projections", ["src/core"]),
    only("actors", ["src/core"]),
    only("src/adapters", LAYERS),
    only("src/runtime", [...LAYERS, "actors", "projections", "src/adapters"]),
    only("src/app", ["src/core", "src/ports", "src/pipeline", "projections", "src/runtime"]),
    only("src/http", ["src/core", "src/app"]),
    // The command's own streams are written as a pipeline's output to them is.
    only("src/cli", ["src/core", "src/app", "src/adapters/files/whole-write"]),
    only("src/index.ts", ["src/core", "src/pipeline", "src/app"]),
    {
      name: "one-adapter-does-not-know-another",
      severity: "error",
      from: { path: "^src/adapters/([^/]+)/", pathNot: TESTS },
      to: { path: "^src/adapters/([^/]+)/", pathNot: "^src/adapters/$1/" },
    },
    {
      name: "only-compose-names-adapters",
      severity: "error",
      from: {
        path: "^src/runtime/",
        pathNot: `^src/runtime/(compose|thread-main|watchdog-main)\\.ts$|${TESTS}`,
      },
      to: { path: "^src/adapters/" },
    },
    {
      name: "threads-load-no-stores",
      comment:
        "A node's thread has its log from the thread that began it, and loads nothing that it does not need.",
      severity: "error",
      from: { path: "^src/runtime/thread-main\\.ts$" },
      to: {
        path: "^src/adapters/(lmdb|eventstoredb|memory|files)/|^src/(app|cli|http)/|^actors/",
        pathNot: "^actors/worker\\.ts$",
        reachable: true,
      },
    },
    {
      name: "index-loads-app-lazily",
      comment: "A pipeline loaded in a worker must not load stores and files with it.",
      severity: "error",
      from: { path: "^src/index\\.ts$" },
      to: { path: "^src/app/", pathNot: "-types\\.ts$", dependencyTypesNot: ["dynamic-import"] },
    },
    {
      name: "core-uses-only-node-crypto",
      severity: "error",
      from: { path: "^src/core/", pathNot: TESTS },
      to: { dependencyTypes: ["core", "npm", "npm-dev"], pathNot: "^(node:)?crypto$" },
    },
    {
      name: "pure-folders-do-no-io",
      severity: "error",
      from: { path: "^(actors|projections|src/(ports|pipeline|engine))/", pathNot: TESTS },
      to: { dependencyTypes: ["core"], pathNot: "^(node:)?crypto$" },
    },
    confined("lmdb", "^src/adapters/lmdb/"),
    confined("xstate", "^(actors|src/runtime)/"),
    confined("esbuild", "^src/adapters/esbuild/"),
    confined("hono", "^src/http/"),
    confined("brain\\.js", "^src/adapters/brain/"),
    confined("@eventstore/db-client", "^src/adapters/eventstoredb/"),
    {
      name: "product-code-uses-no-dev-dependency",
      severity: "error",
      from: { path: "^(src|actors|projections)/", pathNot: TESTS },
      to: { dependencyTypes: ["npm-dev"] },
    },
  ],
  options: {
    parser: "swc",
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: {
      extensions: [".ts", ".js", ".json"],
      exportsFields: ["exports"],
      conditionNames: ["types", "import", "node", "default"],
    },
  },
};
