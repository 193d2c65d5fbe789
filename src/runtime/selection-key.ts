import { encodeCanonical } from "../core/canonical.ts";
import { countedKey, partitionOfKey } from "../core/partition.ts";
import { keyElement, NUMBER_BYTES } from "../core/path.ts";
import { sourceStream } from "../core/streams.ts";
import type { Key } from "../pipeline/definition.ts";
import type { KeySource, Plan, Segment } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import { cursorsFrom } from "./deployed-cursors.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { MergeReader } from "./merge-reader.ts";
import { rerunContext } from "./partition-restore.ts";
import { upstreamsOfPartition } from "./routes.ts";
import { INPUTS, OUTPUTS, type Part, type SelectedRecords } from "./selected-records.ts";
import type { ChooseIn, Walk } from "./selection-walk.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** Which records of a key are meant. */
export interface KeyQuery {
  readonly key: Key;
  /** Only those that the source gave the key; all if neither is given. */
  readonly source?: string | undefined;
  /** Only those that this stage, or one before it in its segment, reads by the key. */
  readonly stage?: string | undefined;
}

interface KeyWalk extends Walk {
  readonly clock: Clock;
  readonly history: Walk["history"] & Pick<DeploymentHistory, "planOf">;
}

/** Streams whose records have keys, and how these are known. */
interface KeyedEdge {
  readonly upstreams: readonly UpstreamSelection[];
  readonly key: KeySource;
  readonly part: Part;
}

/** How many records have a key, and of how many in its partition that cannot be told, as they are not kept any more. */
export interface KeyedRecords {
  readonly found: number;
  readonly unknown: number;
}

const BATCH_RECORDS = 2_048;

/**
 * Chooses records that have a key: that their source gave them, or by which a keyed stage took them. They are read from
 * where they are kept, of the partition that the key leads to, and the functions that gave the keys are asked, each
 * deployment's for its own records. Throws `IncompatibleDeployment` where the code was not kept.
 */
export async function chooseKey(
  walk: KeyWalk,
  selected: SelectedRecords,
  query: KeyQuery,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<KeyedRecords> {
  const { history } = walk;
  const key = countedKey(query.key);
  let found = 0;
  let unknown = 0;
  for (const deployed of history.all) {
    const until = (history.after(deployed)?.from ?? Number.MAX_SAFE_INTEGER) - 1;
    const [first, last] = [Math.max(from, deployed.from), Math.min(to, until)];
    if (first > last) continue;
    const plan = await history.planOf(deployed);
    for (const edge of edgesOf(plan, query, partitionOfKey(key, deployed.partitions))) {
      const more = await chooseOf(walk, plan, edge, key, selected, first, last);
      found += more.found;
      unknown += more.unknown;
    }
  }
  return { found, unknown };
}

function* edgesOf(plan: Plan, { source, stage }: KeyQuery, partition: number): Generator<KeyedEdge> {
  const { definition, origins, fork, segments } = plan;
  for (const { name, key } of plan.sources) {
    // Of a fork its pipeline knows: what sources decide is as it was.
    if (key === undefined || fork !== undefined || stage !== undefined) continue;
    if (source !== undefined && source !== name) continue;
    const stream = sourceStream(definition.name, name);
    const from = { source: origins.indexOf(name) };
    const upstream = { stream, origins, from, partition, branch: "", payload: true, watched: false };
    yield { upstreams: [upstream], key, part: INPUTS };
  }
  if (source !== undefined) return;
  const done = new Set<string>();
  for (const segment of segments) {
    if (fork?.reused.has(segment.name) || !isMeant(segment, stage)) continue;
    for (const upstream of segment.upstreams) {
      const { from, key } = upstream;
      if (key === undefined || (key === "kept" && !segment.keyed)) continue;
      if ("source" in from && stage === undefined) continue;
      const id = "source" in from ? from.source : `${from.segment}#${from.outlet}`;
      if (done.has(id)) continue;
      done.add(id);
      const only = { ...segment, upstreams: [{ ...upstream, branch: "" }], watched: false };
      const part = "source" in from ? INPUTS : OUTPUTS;
      yield { upstreams: upstreamsOfPartition(plan, only, partition), key, part };
    }
  }
}

function isMeant({ stages }: Segment, stage: string | undefined): boolean {
  return stage === undefined || stages.some(({ definition }) => definition.name === stage);
}

async function chooseOf(
  { log, clock, signal }: KeyWalk,
  plan: Plan,
  { upstreams: all, key: source, part }: KeyedEdge,
  key: Key,
  selected: SelectedRecords,
  from: number,
  to: number,
): Promise<KeyedRecords> {
  const upstreams = all.map((one) => ({
    ...one,
    upTo: Math.min(to, one.upTo ?? to),
    gone: "digest" as const,
  }));
  const { decode } = rerunContext(log, clock, plan, "full");
  const reader = new MergeReader({
    ...{ log, clock, upstreams, decode, tickMs: 0 },
    cursors: await cursorsFrom(log, upstreams, from),
    through: from - 1,
    upTo: to,
    firingOrigins: plan.firingOrigins,
  });
  let found = 0;
  let unknown = 0;
  try {
    for (let through = from - 1; through < to; ) {
      const batch = await reader.next(BATCH_RECORDS, signal);
      if (batch === undefined) break;
      through = batch.through;
      const { rows } = batch;
      for (let row = 0; row < rows.count; row++) {
        if (typeof source === "function" && rows.digested?.has(row)) {
          unknown++;
          continue;
        }
        const own = typeof source === "function" ? keyBy(source, rows.records[row]) : rows.keys?.[row];
        if (!Object.is(countedKey(own), key)) continue;
        const stream = upstreams[rows.upstreams?.[row] ?? 0]?.stream ?? "";
        const n = rows.parents[row] as number;
        if (part === INPUTS) selected.add(stream, INPUTS, n);
        else selected.add(stream, OUTPUTS, n, rows.parentKs?.[row] ?? 0);
        found++;
      }
    }
  } finally {
    reader.stop();
  }
  return { found, unknown };
}

/** A record at which the function fails has no key: its stage has refused it. */
function keyBy(fn: (record: unknown) => unknown, record: unknown): unknown {
  try {
    return fn(record);
  } catch {
    return undefined;
  }
}

/** Chooses firings of windows and joins that are about a key; `told` is called for each. */
export function firingsOf({ key, source, stage }: KeyQuery, told: () => void): ChooseIn {
  const bytes = keyElement(encodeCanonical(countedKey(key)));
  return ({ graph, segment }) => {
    if (source !== undefined || segment.timed === undefined || !isMeant(segment, stage)) return undefined;
    return (part, { row }) => {
      if (part !== INPUTS) return false;
      const { parent, path } = graph.input(row);
      if (parent !== undefined || !path.startsWith(bytes, NUMBER_BYTES)) return false;
      told();
      return true;
    };
  };
}
