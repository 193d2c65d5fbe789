import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBundler } from "../../src/adapters/esbuild/bundler.ts";
import * as headwater from "../../src/index.ts";
import { type Plan, planPipeline } from "../../src/pipeline/plan.ts";
import type { Bundle } from "../../src/ports/bundler.ts";
import { definitionOf, describeDeployment } from "../../src/runtime/deployment.ts";
import { sameFunctions } from "../../src/runtime/same-functions.ts";
import { runtimeVersions } from "../../src/runtime/versions.ts";
import {
  changedModule,
  FUNCTIONS,
  type ModuleWords,
  moduleChange,
  moduleWords,
  textsOf,
} from "./module-texts.ts";
import { assertMet, runs, timeLimit } from "./property-runs.ts";

const TIMEOUT_MS = timeLimit(300_000);

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "same-"));
});
afterAll(() => rm(folder, { recursive: true }));

const bundler = createBundler(headwater);

async function bundled(words: ModuleWords, name: string): Promise<Bundle> {
  const { module, lib } = textsOf(words);
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, "m.ts"), module);
  await writeFile(join(folder, name, "lib.ts"), lib);
  return bundler.bundle(join(folder, name, "m.ts"));
}

/** What modules change of this process; afterwards it is as it was. */
const CHANGEABLE: readonly (readonly [object, string])[] = [
  [globalThis, "parseInt"],
  [globalThis, "Set"],
  [globalThis, "K9"],
  [globalThis, "K9Other"],
  [JSON, "stringify"],
  [Number.prototype, "toFixed"],
  [Array.prototype, "extra"],
  [Array.prototype, "at"],
  [String.prototype, "trim"],
];

async function alone<T>(work: () => Promise<T>): Promise<T> {
  const before = CHANGEABLE.map(([of, name]) => Object.getOwnPropertyDescriptor(of, name));
  try {
    return await work();
  } finally {
    for (const [at, [of, name]] of CHANGEABLE.entries()) {
      const own = before[at];
      if (own === undefined) Reflect.deleteProperty(of, name);
      else Object.defineProperty(of, name, own);
    }
  }
}

const planOf = (bundle: Bundle): Plan => planPipeline(definitionOf(bundler.load(bundle), bundle.module));

const RECORDS = [
  { v: 0, s: "", list: [] },
  { v: 2, s: " a ba ", list: [3, 1, 3], K0: 9, nested: { K0: 4 } },
  { v: -7.25, s: "x", list: [0.5], nested: {} },
];

/** What the function of each stage makes of some records, in a process where nothing else was loaded. */
function resultsOf(bundle: Bundle): Promise<ReadonlyMap<string, unknown>> {
  return alone(async () => {
    const results = new Map<string, unknown>();
    for (const stage of planOf(bundle).definition.stages) {
      const { fn } = stage as unknown as { fn: (record: unknown, context: unknown) => unknown };
      const made: unknown[] = [];
      for (const record of RECORDS) {
        try {
          made.push(await fn(structuredClone(record), {}));
        } catch (error) {
          made.push(String(error));
        }
      }
      results.set(stage.name, made);
    }
    return results;
  });
}

/** The stages of one module that are taken to do what those of the other do: by their text, and what is around it. */
async function sameStages(old: Bundle, now: Bundle): Promise<ReadonlySet<string>> {
  const describeBundle = (bundle: Bundle) => {
    const plan = planOf(bundle);
    const runtime = runtimeVersions();
    return { plan, stages: describeDeployment({ plan, bundle, provenance: "full", runtime }).stages };
  };
  const before = await alone(async () => describeBundle(old));
  const after = await alone(async () => describeBundle(now));
  const isSame = sameFunctions(bundler, async () => [now, old]);
  const same = new Set<string>();
  for (const { name, digest } of after.stages) {
    const then = before.stages.find((stage) => stage.name === name)?.digest;
    if (isDeepStrictEqual(digest, then) && (await isSame(after.plan, name))) same.add(name);
  }
  return same;
}

describe("a function that is taken to be the same in another module", () => {
  test(
    "gives the same there, whatever was changed; and what refers to nothing is taken to be the same",
    async () => {
      let same = 0;
      let other = 0;
      await assertMet(
        fc.asyncProperty(moduleWords, moduleChange, async (words, change) => {
          const changed = changedModule(words, change);
          const [old, now] = [await bundled(words, "old"), await bundled(changed, "now")];
          const [then, today] = [await resultsOf(old), await resultsOf(now)];
          const taken = await sameStages(old, now);
          for (const [n, at] of words.stages.entries()) {
            const name = `s${n}`;
            const [text = "", closed = false] = FUNCTIONS[at] ?? [];
            if (taken.has(name)) {
              same++;
              expect(today.get(name), text).toEqual(then.get(name));
            } else other++;
            // What is another of a module's own names may be another of names inside of functions, too, in the bundle.
            const names = ["stages", "unrelated", "renamed", "collides"].includes(change.part);
            const collide = words.collides || changed.collides || (names && /\b[Kh]\d/.test(text));
            const untouched = words.patch === 0 && changed.patch === 0 && changed.stages[n] === at;
            if (closed && untouched && !collide) expect([text, taken.has(name)]).toEqual([text, true]);
          }
        }),
        runs(60),
        () => ({ same: same > 0, other: other > 0 }),
      );
    },
    TIMEOUT_MS,
  );
});
