import { describe, expect, test } from "vitest";
import { isHeadwaterError } from "../../src/core/errors.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { expectSound } from "./expectations.ts";
import { type Circumstances, type Given, Simulation } from "./harness.ts";
import { readLogContent } from "./log-content.ts";
import { withoutWarnings } from "./property-runs.ts";
import { reference } from "./reference.ts";

interface Reading {
  readonly sensor: string;
  readonly value: number;
}

const HOW: Circumstances = {
  seed: 7,
  nodes: 2,
  batchRecords: 4,
  tickMs: 10,
  delayMs: 0,
  interruptions: [],
  losses: [],
  failures: [],
};

function readings(): PipelineDefinition {
  const p = pipeline("p", { partitions: 2 });
  p.source<undefined, string>("readings", { key: (record) => (record as Reading).sensor })
    .flatMap("parts", (record) => [record, { ...(record as Reading), value: 0.5 }] as Reading[])
    .filter("odd", (record) => {
      if (record.value === 13) throw new Error("an unlucky value");
      return record.value % 2 !== 0;
    })
    .reduce("sums", {
      init: () => 0,
      step: (total: number, record) => total + record.value,
      emit: (total, sensor) => ({ sensor, total }),
    })
    .sink("out");
  return p.definition;
}

const GIVEN: ReadonlyMap<string, readonly Given[]> = new Map([
  [
    "readings",
    Array.from({ length: 80 }, (_, v) => ({ value: { sensor: `s${v % 6}`, value: v }, ordinal: v + 1 })),
  ],
]);

/** How many events each stream has. */
async function lengths(log: EventLog): Promise<Map<string, number>> {
  const lengths = new Map<string, number>();
  for await (const { stream, lastRevision } of log.streams()) lengths.set(stream, lastRevision + 1);
  return lengths;
}

/** The processes that have written a claim to a stream, in order. */
async function claimants(log: EventLog, stream: string): Promise<string[]> {
  const processes: string[] = [];
  for await (const event of log.read(stream)) {
    const { data } = decodeEvent(event);
    if ("process" in data) processes.push(data.process);
  }
  return processes;
}

withoutWarnings();

// `claim`: before the claim itself. `before`: nothing of a batch is appended. `between`: what its event refers to is.
describe.each([
  ["claim:before", 1],
  ["claim:after", 2],
  ["door:before", 3],
  ["door:between", 3],
  ["steps:before", 1],
  ["steps:before", 5],
  ["steps:between", 1],
  ["steps:between", 5],
  ["sink-claim:before", 1],
  ["delivered:before", 1],
] as const)("an owner that stalls at %s, time %i, while another process takes over", (point, time) => {
  test("adds nothing to a stream that counts when it wakes up, and the outputs are right", async () => {
    const definition = readings();
    const expected = await reference(definition, GIVEN);
    const simulation = new Simulation(definition, GIVEN, HOW);
    let wakeUp = () => {};
    let passed = 0;
    let stalled = () => {};
    const isStalled = new Promise<void>((resolve) => {
      stalled = resolve;
    });
    const first = await simulation.start({
      circumstances: HOW,
      probe: (at) => {
        if (at !== point || ++passed !== time) return;
        stalled();
        return new Promise<void>((resolve) => {
          wakeUp = resolve;
        });
      },
    });
    await simulation.world.run(isStalled, 60_000, () => `nobody came to ${point} for time ${time}`);

    // To others it looks dead, but it is not: it only stands still.
    first.process.seemsDead = true;
    const second = await simulation.start({ circumstances: HOW });
    expect(await simulation.finish(second)).toBe(true);
    const before = await lengths(simulation.log);
    const content = await readLogContent(simulation.log);
    const payloads = [...before].filter(([stream]) => /^(payload|quarantine|state)_/.test(stream));

    wakeUp();
    const ended = first.done.then(
      () => undefined,
      (error: unknown) => error,
    );
    const error = await simulation.world.run(ended, 60_000, () => "the first process does not end");
    expect(isHeadwaterError(error, "OwnershipLost")).toBe(true);
    await simulation.world.run(simulation.world.sleep(10_000), 20_000, () => "");

    const after = await lengths(simulation.log);
    for (const [stream, length] of after) {
      // What nothing refers to does not count.
      if (/^(payload|quarantine|state)_/.test(stream)) continue;
      expect([stream, length]).toEqual([stream, before.get(stream)]);
    }
    for (const [stream, length] of payloads) expect(after.get(stream)).toBeGreaterThanOrEqual(length);
    expect(await readLogContent(simulation.log)).toEqual(content);
    await expectSound(simulation.log);
    for (const stream of ["steps_p.parts.0000", "steps_p.parts.0001", "sink_p.out"]) {
      const processes = await claimants(simulation.log, stream);
      expect(new Set(processes).size).toBeLessThanOrEqual(2);
      expect(processes.at(-1)).toBe((await claimants(simulation.log, "supervisor_p")).at(-1));
    }

    // Both together have handed out everything in order; the second begins where the log says that the first was.
    const wanted = expected.sinks.get("out") ?? [];
    const one = first.delivered.get("out") ?? [];
    const two = second.delivered.get("out") ?? [];
    expect(one).toEqual(wanted.slice(0, one.length));
    expect(two).toEqual(wanted.slice(wanted.length - two.length));
    expect(one.length + two.length).toBeGreaterThanOrEqual(wanted.length);
  });
});
