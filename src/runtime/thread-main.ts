/**
 * The program of a node's thread, and what it is composed of. It is loaded anew for every thread, so it must not
 * lead to stores and files.
 */
import { createBundler } from "../adapters/esbuild/bundler.ts";
import { createSystemClock } from "../adapters/system/clock.ts";
import { inside } from "../adapters/threads/inside.ts";
import { moduleLibrary } from "../pipeline/module-library.ts";
import { probeFromEnvironment } from "./fail-points.ts";
import { hostNode } from "./node-host.ts";
import type { NodeSeed, ToNode } from "./thread-messages.ts";

const place = inside();

hostNode({
  ...place,
  seed: place.seed as NodeSeed,
  listen: (hear) => place.listen((message) => hear(message as ToNode)),
  clock: createSystemClock(),
  bundler: createBundler(moduleLibrary),
  probe: probeFromEnvironment(),
});
