import { fail, type Tally } from "../../projections/audit.ts";
import { decodeDeltas } from "../core/columns.ts";
import { isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { StepsRecorded } from "../core/events.ts";
import { hashKey } from "../core/partition.ts";
import { stepsStream } from "../core/streams.ts";
import { StepsComparison } from "../engine/steps-comparison.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { type AstrayInputs, reexecutePartition } from "./reexecution.ts";
import { readMembersColumn } from "./snapshots.ts";

/** Which inputs of a pipeline's partitions are run again. */
export interface SampleQuery {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly history: DeploymentHistory;
  /** The share of inputs, above 0 up to 1. */
  readonly rate: number;
  /** The same inputs are chosen for the same seed; who does not know it cannot know which. */
  readonly seed: string;
  readonly signal: AbortSignal;
}

/** How many inputs there are of which the steps are kept, and how many of them were in the sample. */
export interface SampledInputs {
  readonly kept: number;
  readonly tried: number;
}

const HASHES = 2 ** 32;

/**
 * Runs a sample of a pipeline's inputs again, each by the code that ran then and in the state of then, and holds every
 * step of theirs to what was recorded; adds what it finds to `tally`. Where there is no state, only the events are run
 * that have inputs of the sample. What cannot be run, because steps, code or records are not there any more, counts as
 * unverifiable. Throws `Stopped`.
 */
export async function reexecuteSample(query: SampleQuery, tally: Tally): Promise<SampledInputs> {
  let kept = 0;
  let tried = 0;
  for (const { segment, partition, stateful } of unitsOf(query.history)) {
    const stream = stepsStream(query.history.pipeline, segment, partition);
    const chosen = await choose(query, stream);
    kept += chosen.kept;
    for (const { ns } of chosen.events.values()) tried += ns.size;
    tally.unverifiable += chosen.gone;
    if (stateful) await runWindow(query, tally, segment, partition, chosen.events);
    else {
      for (const [revision, event] of chosen.events) {
        await runWindow(query, tally, segment, partition, new Map([[revision, event]]));
      }
    }
  }
  return { kept, tried };
}

function unitsOf(history: DeploymentHistory) {
  const units = new Map<string, { segment: string; partition: number; stateful: boolean }>();
  for (const deployed of history.all) {
    for (const { name: segment, stateful } of structureOf(deployed, history.pipeline).segments) {
      for (let partition = 0; partition < deployed.partitions; partition++) {
        const name = `${segment}.${partition}`;
        units.set(name, { segment, partition, stateful: stateful || units.get(name)?.stateful === true });
      }
    }
  }
  return units.values();
}

/** The inputs of the sample in one event, and the ordinals that the event goes from and to. */
interface Chosen {
  readonly ns: ReadonlySet<number>;
  readonly from: number;
  readonly to: number;
}

interface ChosenOfPartition {
  /** Inputs of which the step is kept. */
  readonly kept: number;
  /** Inputs of the sample of which it was let go of. */
  readonly gone: number;
  readonly events: ReadonlyMap<number, Chosen>;
}

async function choose({ log, rate, seed }: SampleQuery, stream: string): Promise<ChosenOfPartition> {
  const events = new Map<number, Chosen>();
  const isChosen = (n: number) => hashKey(`${seed} ${stream}@${n}`) < rate * HASHES;
  let kept = 0;
  let gone = 0;
  if ((await log.streamInfo(stream)) === undefined) return { kept, gone, events };
  let next = 0;
  for await (const recorded of log.read(stream)) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "StepsRecorded" && type !== "PartitionClaimed") continue;
    // Of what was let go of, the N of what comes after it says how much it was.
    for (; next < data.first; next++) if (isChosen(next)) gone++;
    if (type !== "StepsRecorded" || data.count === 0 || data.ordinals === undefined) continue;
    kept += data.count;
    const ns = new Set<number>();
    for (; next < data.first + data.count; next++) if (isChosen(next)) ns.add(next);
    if (ns.size === 0) continue;
    const ordinals = decodeDeltas(data.ordinals, data.count);
    events.set(recorded.revision, { ns, from: ordinals[0] ?? 0, to: ordinals.at(-1) ?? 0 });
  }
  return { kept, gone, events };
}

async function runWindow(
  query: SampleQuery,
  tally: Tally,
  segment: string,
  partition: number,
  chosen: ReadonlyMap<number, Chosen>,
): Promise<void> {
  if (chosen.size === 0) return;
  const { log, signal } = query;
  const all = [...chosen.values()];
  const left = new Set(all.flatMap(({ ns }) => [...ns]));
  const from = Math.min(...all.map((one) => one.from));
  const to = all.reduce((most, one) => Math.max(most, one.to), 0);
  const differs = (stream: string, n: number, what: string) => {
    if (!left.delete(n)) return;
    tally.checked++;
    fail(tally, `${stream}@${n}`, "Diverged", `${what} when it is run again`);
  };
  // What cannot be run again is left: see below.
  const onGone = () => {};
  const onAstray = ({ stream, event: { first, count }, done }: AstrayInputs) => {
    for (let n = first + done; n < first + count; n++)
      differs(stream, n, "the input does not come as it did");
  };
  let comparison: { readonly of: StepsRecorded; readonly with: StepsComparison } | undefined;
  try {
    for await (const piece of reexecutePartition({
      ...query,
      segment,
      partition,
      from,
      to,
      onGone,
      onAstray,
    })) {
      const { event, stream } = piece;
      if (comparison?.of !== event) {
        const { membersIn } = event.stages?.[0] ?? {};
        const members = membersIn && (await readMembersColumn(log, stream, membersIn));
        comparison = { of: event, with: new StepsComparison(event, piece.segment, members) };
      }
      comparison.with.pass(piece.passed);
      const first = event.first + event.count - comparison.with.left;
      const { divergences } = comparison.with.compare(piece.rows, piece.result);
      for (const { n, stage } of divergences) {
        const name = piece.segment.stages[stage]?.definition.name;
        differs(
          stream,
          n,
          name === undefined ? "the input is another" : `the stage ${name} gives something else`,
        );
      }
      for (let n = first; n < first + piece.rows.count; n++) if (left.delete(n)) tally.checked++;
    }
  } catch (error) {
    if (signal.aborted || !isHeadwaterError(error)) throw error;
    const stream = stepsStream(query.history.pipeline, segment, partition);
    const gone = ["IncompatibleDeployment", "RecordGone", "StreamNotFound"].includes(error.code);
    if (!gone) fail(tally, error.where ?? stream, error.code, error.message);
  }
  tally.unverifiable += left.size;
}
