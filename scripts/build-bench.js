/** Bundles the benchmarks for Node; what they measure stays in dist/, as it is delivered. */
import { readdirSync } from "node:fs";
import { build } from "esbuild";

const files = readdirSync("bench");
// Threads and processes are begun with files of their own, which are beside the program as it is delivered, not in a bundle.
const delivered = files.filter((file) => /^(?:threads|replay-latency)/.test(file));

await bundle(
  files.filter((file) => !delivered.includes(file)),
  [],
);
await bundle(delivered, ["headwater"]);

async function bundle(entries, external) {
  await build({
    entryPoints: entries.map((file) => `bench/${file}`),
    outdir: "dist/bench",
    bundle: true,
    packages: "external",
    external,
    platform: "node",
    format: "esm",
  });
}
