#!/usr/bin/env node
// Starts the command. In a checkout that was not built yet it builds first, so that `npx headwater` works at once.
import { spawnSync } from "node:child_process";
import { existsSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const built = join(root, "dist");
const entry = join(built, "src", "cli", "main.js");

if (!existsSync(entry)) build();
const { main } = await import(pathToFileURL(entry).href);
const code = await main(process.argv.slice(2));
// A signal handler or an open terminal must not keep the process; what was printed has to be out first.
for (const stream of [process.stdout, process.stderr])
  await new Promise((resolve) => stream.write("", resolve));
process.exit(code);

/** Builds beside and moves into place: another process that starts now sees nothing or all of it. */
function build() {
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  if (!existsSync(join(root, "tsconfig.build.json")) || !existsSync(compiler)) {
    fail("the program is not built", 'Run "npm ci" in the checkout, or install the package again.');
  }
  process.stderr.write("headwater: building, as this checkout was not built yet…\n");
  const beside = join(root, `dist.${process.pid}`);
  const args = [compiler, "-p", join(root, "tsconfig.build.json"), "--outDir", beside];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (status !== 0) {
    rmSync(beside, { recursive: true, force: true });
    fail("the program cannot be built", 'What the compiler said is above; "npm run build" repeats it.');
  }
  try {
    rmSync(built, { recursive: true, force: true });
    renameSync(beside, built);
  } catch (error) {
    rmSync(beside, { recursive: true, force: true });
    if (!existsSync(entry)) throw error;
  }
}

function fail(what, hint) {
  process.stderr.write(`headwater: ${what}: ${root}\n${hint}\n`);
  process.exit(3);
}
