import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { createIds } from "../../src/adapters/system/ids.ts";
import { viewOf } from "../../src/app/open-at.ts";
import type { PipelineView } from "../../src/app/open-at-types.ts";
import { stateInLog } from "../../src/app/state.ts";
import type { HistoryPoint, StageState } from "../../src/app/state-types.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import { TAKEN_OF_GROUP } from "../../src/core/events.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { Bundle } from "../../src/ports/bundler.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { ProgramIntake } from "../../src/runtime/intake.ts";
import { runPipeline } from "../../src/runtime/pipeline-run.ts";
import { ProgressBoard } from "../../src/runtime/progress-board.ts";
import type { Given } from "./harness.ts";
import { acceptedOrdinals } from "./log-content.ts";

/** Given records, by source. */
export type Inputs = Readonly<Record<string, readonly Given[]>>;

export interface RunSettings {
  readonly batchRecords: number;
  readonly keepOpen?: boolean;
  readonly provenance?: "full" | "off";
  /** The run is told to stop when the log has got so many appends. */
  readonly stopAt?: number;
}

const clock = createSystemClock();

/** A log in memory on which versions of a pipeline run, and in which their code can be found again. */
export class StateRuns {
  readonly log: EventLog = MemoryLog.create({ id: createIds().uuid(), clock });
  readonly #versions: PipelineDefinition[] = [];
  readonly #bundler = {
    bundle: () => Promise.reject(new Error("nothing is bundled here")),
    namesOutside: async () => undefined,
    othersIn: async (_bundle: Bundle, names: ReadonlySet<string>) => names,
    load: ({ code }: { readonly code: Uint8Array }) => ({
      definition: this.#versions[Number(new TextDecoder().decode(code))],
    }),
  };

  /** Takes in the records that have not been, and brings them to their end unless it is stopped. */
  async run(
    definition: PipelineDefinition,
    inputs: Inputs,
    { stopAt, ...settings }: RunSettings,
  ): Promise<void> {
    const nothing = () => {};
    const stop = new AbortController();
    if (!this.#versions.includes(definition)) this.#versions.push(definition);
    const code = new TextEncoder().encode(String(this.#versions.indexOf(definition)));
    const intakes = new Map<string, ProgramIntake>();
    for (const { name } of definition.sources) {
      const last = (await acceptedOrdinals(this.log, definition.name, name)).at(-1) ?? -1;
      const given = (inputs[name] ?? []).map((record, index) => ({ ...record, line: index + 1 }));
      const left = given.filter(({ ordinal = 0 }) => ordinal > last);
      intakes.set(name, new ProgramIntake(batches(left), true));
    }
    await runPipeline(
      {
        log: stopAt === undefined ? this.log : appending(this.log, stopAt, () => stop.abort()),
        clock,
        ids: createIds(),
        processes: { host: "h", pid: 1, instance: "i", isAlive: () => false },
        bundler: this.#bundler,
        runtime: { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" },
      },
      {
        plan: planPipeline(definition),
        bundle: { code, module: "p.js" },
        intakes,
        targets: new Map(),
        nodes: 1,
        tickMs: 1,
        provenance: "full",
        keepOpen: false,
        ...settings,
        follow: false,
        signal: stop.signal,
        board: new ProgressBoard(),
        onDeployed: nothing,
        onRejected: nothing,
        onQuarantined: nothing,
        onResumed: nothing,
        onTimeAhead: nothing,
        onStandBy: nothing,
        onBegunAgain: nothing,
        onRestarted: nothing,
      },
    );
  }

  /** How many snapshots of the pipeline's partitions were taken between records of one ordinal. */
  async partedSnapshots(): Promise<number> {
    let parted = 0;
    const revisions = new Set<string>();
    for await (const { stream } of this.log.streams({ prefixes: ["steps_"] })) {
      for await (const event of this.log.read(stream)) {
        const { type, data } = decodeEvent(event);
        if (type !== "StepsRecorded" || data.snapshot === undefined) continue;
        const snapshot = `${stream}@${data.snapshot.revision}`;
        if (!revisions.has(snapshot) && TAKEN_OF_GROUP in data.to) parted++;
        revisions.add(snapshot);
      }
    }
    return parted;
  }

  /** The pipeline `p` as of a point. */
  view(at: HistoryPoint): Promise<PipelineView> {
    return viewOf({ clock, bundler: this.#bundler }, this.log, "p", at);
  }

  /** The state of a stage of the pipeline `p`, as of the end of the log if `at` is absent. */
  state(stage: string, at?: HistoryPoint, log: EventLog = this.log): Promise<StageState> {
    const request = { pipeline: "p", stage, ...(at !== undefined && { at }) };
    return stateInLog({ clock, bundler: this.#bundler }, log, request);
  }
}

async function* batches<T>(records: readonly T[]): AsyncGenerator<readonly T[], void, undefined> {
  const most = 512;
  for (let at = 0; at < records.length; at += most) yield records.slice(at, at + most);
}

/** A log that calls `reached` when it has got `most` appends in all, counted in its streams. */
function appending(log: EventLog, most: number, reached: () => void): EventLog {
  return new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (name !== "appendInOrder") return value.bind(target);
      return async (...args: Parameters<EventLog["appendInOrder"]>) => {
        const appended = await target.appendInOrder(...args);
        if (Number((await target.size()).position.commit) >= most) reached();
        return appended;
      };
    },
  });
}

/** A log that counts the events that are read of it. */
export function counted(log: EventLog): { readonly log: EventLog; events(): number } {
  let events = 0;
  const methods: Partial<EventLog> = {
    read: async function* (stream, options) {
      for await (const event of log.read(stream, options)) {
        events++;
        yield event;
      }
    },
    subscribe: async function* (stream, from, options) {
      for await (const message of log.subscribe(stream, from, options)) {
        if (message.kind !== "events") yield message;
        // A store gives its events in small parts, and the reader may want no more.
        else {
          for (const event of message.events) {
            events++;
            yield { kind: "events", events: [event] };
          }
        }
      }
    },
  };
  const proxy = new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(methods, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { log: proxy, events: () => events };
}
