import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { forkName } from "../../src/core/streams.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import type { Chosen } from "../../src/runtime/chosen-records.ts";
import { recordedOutputs } from "../../src/runtime/recorded-outputs.ts";
import { type Selection, type SelectionQuery, select, selectInFork } from "../../src/runtime/selection.ts";
import { ORDINARY, withinReason } from "./expectations.ts";
import { historyOf, simulateFork, throughOf } from "./fork-runs.ts";
import { simulate } from "./harness.ts";
import { readLogContent } from "./log-content.ts";
import { readLineage } from "./log-lineage.ts";
import { runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import {
  beginningAt,
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  pipelineWords,
  withoutSamples,
} from "./random-pipelines.ts";
import { seededRandom, VirtualWorld } from "./virtual-world.ts";

const TIMEOUT_MS = timeLimit(600_000);
const STUCK_MS = 20 * 60_000;
/** Records whose cones are looked at. */
const RECORDS_MOST = 12;

withoutWarnings();

const noBundler = {
  bundle: () => Promise.reject(new Error("no code is to be bundled")),
  load: () => {
    throw new Error("no code is to be loaded");
  },
};

/** A part of a history, and where it is. */
interface Side {
  readonly log: EventLog;
  readonly name: string;
  readonly definition: PipelineDefinition;
  readonly from: number;
  readonly to: number;
}

async function inWorld<T>(work: (world: VirtualWorld) => Promise<T>): Promise<T> {
  const world = new VirtualWorld(seededRandom(1));
  return world.run(work(world), STUCK_MS, () => "selecting");
}

async function contextOf(world: VirtualWorld, { log, name, definition, from, to }: Side) {
  const history = await historyOf(log, name, definition);
  const signal = new AbortController().signal;
  return { log, clock: world, bundler: noBundler, history, from, to, signal };
}

const selected = (side: Side, query: SelectionQuery) =>
  inWorld(async (world) => select(await contextOf(world, side), query));

const selectedIn = (side: Side, query: SelectionQuery, selection: Selection) =>
  inWorld(async (world) => selectInFork(await contextOf(world, side), query, selection));

/** The outputs of a sink that are told of: their keys, sorted, and the address of each. */
function told(side: Side, sink: string, chosen: Pick<Chosen, "has"> | undefined) {
  return inWorld(async (world) => {
    const context = await contextOf(world, side);
    const found: { key: string; address: string }[] = [];
    const outputs = recordedOutputs({
      ...context,
      of: { sink },
      told: ({ stream, part, n, k }) => chosen?.has(stream, part, n, k) ?? true,
    });
    for await (const { rows, isTold, keyOf, addressOf } of outputs) {
      for (let row = 0; row < rows.count; row++) {
        if (isTold(row)) found.push({ key: keyOf(row), address: addressOf(row) });
      }
    }
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  });
}

const keysOf = async (side: Side, sink: string, chosen?: Pick<Chosen, "has">) =>
  (await told(side, sink, chosen)).map(({ key }) => key);

function some<T>(all: readonly T[]): T[] {
  const step = Math.max(1, Math.ceil(all.length / RECORDS_MOST));
  return all.filter((_, at) => at % step === 0);
}

describe("what a selection chooses", () => {
  test(
    "of a record is all that was made of it, and all that it was made of, as an independent reading has it",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          pipelineWords.map(withoutSamples),
          inputWords,
          circumstances,
          async (words, input, how) => {
            const definition = definitionOf(words);
            const given = inputsOf(definition, input, true);
            await withinReason(definition, given);
            const { log } = await simulate(definition, given, how);
            const content = await readLogContent(log);
            const lineage = await readLineage(log, content);
            const side = { log, name: "p", definition, from: 0, to: await throughOf(log, definition) };
            for (const [stream, rows] of Object.entries(content.sources)) {
              for (const { n } of some(rows)) {
                const { chosen } = await selected(side, { record: `${stream}@${n}` });
                for (const { name } of definition.sinks) {
                  const wanted = [...(lineage.get(name) ?? [])].filter(([, roots]) =>
                    roots.includes(`${stream}@${n}`),
                  );
                  expect(await keysOf(side, name, chosen)).toEqual(wanted.map(([key]) => key).sort());
                }
              }
            }
            for (const { name } of definition.sinks) {
              for (const { key, address } of some(await told(side, name, undefined))) {
                const { chosen } = await selected(side, { record: address });
                const sources = Object.entries(content.sources).flatMap(([stream, rows]) =>
                  rows
                    .filter(({ n }) => chosen.backwards.has(stream, "", n, 0))
                    .map(({ n }) => `${stream}@${n}`),
                );
                expect(sources.sort()).toEqual(lineage.get(name)?.get(key));
              }
            }
          },
        ),
        runs(25),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "is the same in a fork that runs the same, wherever it begins and however it is run",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          pipelineWords.map(withoutSamples),
          inputWords,
          circumstances,
          fc.constantFrom(0, 0, 20, 40),
          async (words, input, how, share) => {
            const definition = definitionOf(words);
            const given = inputsOf(definition, input, true);
            await withinReason(definition, given);
            const { log } = await simulate(definition, given, ORDINARY);
            const to = await throughOf(log, definition);
            const from = beginningAt(given, share);
            fc.pre(from <= to);
            await simulateFork({
              ...{ log, ran: definition, definition, id: "f", from, to },
              circumstances: how,
            });
            const side = { log, name: "p", definition, from, to };
            const fork = { ...side, name: forkName("p", "f") };
            const queries: SelectionQuery[] = [{ quarantined: true }];
            for (const { name } of definition.sinks) {
              const outputs = await told(side, name, undefined);
              queries.push(...some(outputs).map(({ address }) => ({ record: address })));
            }
            for (const query of queries) {
              const selection = await selected(side, query);
              const chosen = await selectedIn(fork, query, selection);
              for (const { name } of definition.sinks) {
                expect(await keysOf(fork, name, chosen)).toEqual(await keysOf(side, name, selection.chosen));
              }
            }
          },
        ),
        runs(20),
      );
    },
    TIMEOUT_MS,
  );
});
