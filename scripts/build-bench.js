/** Bundles the benchmarks for Node; what they measure stays in dist/, as it is delivered. */
import { readdirSync } from "node:fs";
import { build } from "esbuild";

await build({
  entryPoints: readdirSync("bench").map((file) => `bench/${file}`),
  outdir: "dist/bench",
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
});
