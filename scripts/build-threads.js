/**
 * Makes one file of each program that runs in a thread. It is loaded anew for every thread, and as many modules that takes
 * longer than all else that a thread does until it works.
 */
import { build } from "esbuild";

const PROGRAMS = ["thread-main", "watchdog-main"];

await build({
  entryPoints: PROGRAMS.map((name) => `dist/src/runtime/${name}.js`),
  outdir: "dist/src/runtime",
  allowOverwrite: true,
  bundle: true,
  packages: "external",
  sourcemap: true,
  platform: "node",
  format: "esm",
});
