import { decodeEvent } from "../../src/core/event-codec.ts";
import type { PipelineDeployed } from "../../src/core/events.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import type { InputRow, LogContent } from "./log-content.ts";

/**
 * What each output of each sink was made of, as the log alone says it: followed from stage to stage, through parents,
 * members and previous steps, down to records of sources.
 */
export async function readLineage(
  log: EventLog,
  content: LogContent,
): Promise<ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>> {
  const deployed = await latestDeployment(log);
  const lineage = new Lineage(content, deployed);
  return new Map(
    deployed.sinks.map(({ name, input }) => [name, outputsOf(deployed, content, input, lineage)]),
  );
}

async function latestDeployment(log: EventLog): Promise<PipelineDeployed> {
  let latest: PipelineDeployed | undefined;
  for await (const event of log.readAll()) {
    const { type, data } = decodeEvent(event);
    if (type === "PipelineDeployed") latest = data;
  }
  if (latest === undefined) throw new Error("nothing was deployed");
  return latest;
}

/** Key of each record that a sink takes from `input` → addresses of what it was made of. */
function outputsOf(
  { stages, sources }: PipelineDeployed,
  content: LogContent,
  input: string,
  lineage: Lineage,
): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  if (sources.some(({ name }) => name === input)) {
    const stream = `source_p.${input}`;
    for (const { n } of content.sources[stream] ?? []) found.set(`${stream}@${n}`, [`${stream}@${n}`]);
    return found;
  }
  const segment = stages.find(({ name }) => name === input)?.segment;
  const inSegment = stages.filter((stage) => stage.segment === segment).map(({ name }) => name);
  const firing = new Set(stages.filter(({ kind }) => isTimed(kind)).map(({ name }) => name));
  for (const [stream, rows] of Object.entries(content.partitions)) {
    if (stream.replace(/\.\d{4}$/, "") !== `steps_p.${segment}`) continue;
    for (const row of rows) {
      // A sink takes what leaves the stage as it is, not what goes to other partitions.
      for (const output of row.outputs) {
        if (inSegment[output.stage] !== input || output.partition !== undefined) continue;
        const origin = `${firing.has(row.source) ? "firing" : "source"}_p.${row.source}`;
        const root = `${row.source === "" ? "retry_p" : origin}@${row.root}`;
        const key = output.path === "" ? root : `${root}~${output.path}`;
        if (found.has(key)) throw new Error(`two outputs of ${input} have the key ${key}`);
        found.set(key, [...lineage.ofRow(stream, row, output.stage, output.row)].sort());
      }
    }
  }
  return found;
}

function isTimed(kind: string): boolean {
  return kind === "window" || kind === "join" || kind === "tableJoin";
}

type Addresses = ReadonlySet<string>;

class Lineage {
  readonly #content: LogContent;
  readonly #stages: PipelineDeployed["stages"];
  readonly #known = new Map<string, Addresses>();

  constructor(content: LogContent, { stages }: PipelineDeployed) {
    this.#content = content;
    this.#stages = stages;
  }

  /** Of a stage's row for an input; stage −1: of the input itself. */
  ofRow(stream: string, input: InputRow, stage: number, row: number): Addresses {
    const address = `${stream}@${input.n} ${stage} ${row}`;
    let known = this.#known.get(address);
    if (known === undefined) {
      known = stage < 0 ? this.#ofInput(input) : this.#ofResult(stream, input, stage, row);
      this.#known.set(address, known);
    }
    return known;
  }

  #ofInput({ parent, n }: InputRow): Addresses {
    if (parent === undefined) throw new Error(`a record descends from the firing ${n} itself`);
    const [, stream = "", parentN, k] = /^(.*)@(\d+)\.(\d+)$/.exec(parent) ?? [];
    if (stream === "retry_p") return this.#ofRetried(Number(parentN));
    if (stream.startsWith("source_")) return new Set([`${stream}@${parentN}`]);
    const { row, output } = this.#output(stream, Number(parentN), Number(k));
    return this.ofRow(stream, row, output.stage, output.row);
  }

  /** A detour: what was put back is what was quarantined. */
  #ofRetried(item: number): Addresses {
    const asked = this.#content.retries[item];
    if (asked === undefined) throw new Error(`retry_p@${item} is not there`);
    const { unit, n, stage, k } = asked;
    const segment = unit.replace(/^steps_p\.|\.\d{4}$/g, "");
    const at = this.#stages
      .filter((other) => other.segment === segment)
      .findIndex(({ name }) => name === stage);
    const input = this.#input(unit, n);
    return this.ofRow(unit, input, input.stages[at]?.input ?? -1, k);
  }

  #output(stream: string, n: number, k: number) {
    const row = this.#input(stream, n);
    const output = row.outputs[k];
    if (output === undefined) throw new Error(`${stream}@${n}.${k} is not there`);
    return { row, output };
  }

  #input(stream: string, n: number): InputRow {
    const row = this.#content.partitions[stream]?.[n];
    if (row === undefined) throw new Error(`${stream}@${n} is not there`);
    return row;
  }

  #ofResult(stream: string, input: InputRow, stage: number, row: number): Addresses {
    const columns = input.stages[stage];
    const result = columns?.rows[row];
    if (columns === undefined || result === undefined)
      throw new Error(`${stream}@${input.n} has no such result`);
    if (result.members !== undefined) {
      return union(result.members.map((n) => this.#ofInput(this.#input(stream, n))));
    }
    const from = this.ofRow(stream, input, columns.input, result.from);
    if (result.previous === undefined || result.previous === 0) return from;
    // What a reduce had before: the last step of the input that the difference leads to.
    const before = this.#input(stream, input.n - (result.previous - 1));
    const last = before === input ? row - 1 : (before.stages[stage]?.rows.length ?? 0) - 1;
    return union([from, this.ofRow(stream, before, stage, last)]);
  }
}

function union(sets: readonly Addresses[]): Addresses {
  return new Set(sets.flatMap((set) => [...set]));
}
