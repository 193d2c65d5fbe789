import { HeadwaterError } from "../core/errors.ts";
import type { DeployedSelection, PipelineDeployed } from "../core/events.ts";
import { sourceStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Chosen, ChosenRecords } from "../runtime/chosen-records.ts";
import type { Surroundings } from "../runtime/compose.ts";
import type { DeploymentHistory } from "../runtime/deployment-history.ts";
import { descendsFrom } from "../runtime/descent.ts";
import type { OutputPlace } from "../runtime/recorded-outputs.ts";
import { recordsWithin } from "../runtime/seek-time.ts";
import { type Selection, select, selectInFork } from "../runtime/selection.ts";
import type { HistoryWindow } from "./history-window.ts";
import type { ReplaySelection } from "./selection-types.ts";

/** A selection as a fork's deployment keeps it; `undefined`: everything is meant. Throws `BadUsage`, `UnknownSource`. */
export function selectionOf(
  history: DeploymentHistory,
  { source, key, record, quarantined, stage }: ReplaySelection,
): DeployedSelection | undefined {
  const given = [
    ["--key", key !== undefined],
    ["--record", record !== undefined],
    ["--quarantined", quarantined === true],
  ] as const;
  const [first, second] = given.filter(([, is]) => is).map(([option]) => option);
  if (second !== undefined) {
    throw new HeadwaterError("BadUsage", `${first} and ${second} choose different records`, {
      where: second,
      hint: "Give one of them.",
    });
  }
  if (stage !== undefined && (first === undefined || first === "--record")) {
    throw new HeadwaterError("BadUsage", "a stage alone chooses no records", {
      where: "--stage",
      hint: "It goes with --key or --quarantined.",
    });
  }
  if (source !== undefined) mustHaveSource(history, source);
  if (source === undefined && first === undefined) return undefined;
  return {
    ...(source !== undefined && { source }),
    ...(key !== undefined && { key }),
    ...(record !== undefined && { record }),
    ...(quarantined && { quarantined }),
    ...(stage !== undefined && { stage }),
  };
}

function mustHaveSource({ all, pipeline }: DeploymentHistory, source: string): void {
  const names = new Set(all.flatMap(({ sources }) => sources.map(({ name }) => name)));
  if (names.has(source)) return;
  throw new HeadwaterError("UnknownSource", `the pipeline has no source ${JSON.stringify(source)}`, {
    where: `pipeline ${pipeline}`,
    hint: `It has: ${[...names].join(", ")}.`,
  });
}

/** What is looked through for selected records. */
export interface SelectedHistory {
  readonly surroundings: Pick<Surroundings, "clock" | "bundler">;
  readonly log: EventLog;
  readonly history: DeploymentHistory;
  readonly window: HistoryWindow;
  readonly signal: AbortSignal;
}

/**
 * What a selection chooses in a window; `undefined` where it says no more than a source, or nothing. Throws `BadUsage`
 * where it chooses nothing, `RecordGone` where that cannot be told, and as `select`.
 */
export async function chosenIn(
  within: SelectedHistory,
  only: DeployedSelection | undefined,
): Promise<Selection | undefined> {
  if (only === undefined || !choosesRecords(only)) return undefined;
  const selection = await select(contextOf(within), only);
  if (selection.begun > 0) return selection;
  const { pipeline } = within.history;
  const { from, to } = within.window;
  const where = `pipeline ${pipeline}, ordinals ${from} to ${to}`;
  if (only.quarantined) {
    throw new HeadwaterError("BadUsage", "no stage has refused a record there", {
      where: only.stage === undefined ? where : `stage ${only.stage}, ${where}`,
      hint: `headwater quarantine list ${pipeline} shows what was refused. What sources rejected never ran.`,
    });
  }
  const unknown = selection.unknown ?? 0;
  if (unknown > 0) {
    const message = `no record has the key ${keyText(only.key)} there but maybe some of ${unknown} that were let go of`;
    throw new HeadwaterError("RecordGone", message, {
      where: only.source === undefined ? where : `source ${only.source}, ${where}`,
      hint: 'See "How long history is kept" in the README.',
    });
  }
  throw new HeadwaterError("BadUsage", `no record has the key ${keyText(only.key)} there`, {
    where: only.source === undefined ? where : `source ${only.source}, ${where}`,
    hint: "A key is read as JSON if it is a number, true, false, null or a quoted text, else as text.",
  });
}

function keyText(key: DeployedSelection["key"]): string {
  return typeof key === "bigint" ? `${key}` : JSON.stringify(key);
}

/** Whether a selection says more than a source. */
export function choosesRecords({ key, record, quarantined }: DeployedSelection): boolean {
  return key !== undefined || record !== undefined || quarantined === true;
}

/** A selection with the address of its record, whatever that was named by. */
export function resolved(
  only: DeployedSelection | undefined,
  selection: Selection | undefined,
): DeployedSelection | undefined {
  return selection?.record === undefined ? only : { ...only, record: selection.record };
}

/** What a selection chooses in a fork of the history: see `selectInFork`. */
export function chosenInFork(
  within: SelectedHistory,
  forked: DeploymentHistory,
  only: DeployedSelection,
  selection: Selection,
): Promise<ChosenRecords> {
  return selectInFork({ ...contextOf(within), history: forked }, only, selection);
}

function contextOf({ surroundings: { clock, bundler }, log, history, window, signal }: SelectedHistory) {
  return { log, clock, bundler, history, ...window, signal };
}

/** Whether an output is one that a selection tells of. */
export function tells(
  source: string | undefined,
  chosen: Pick<Chosen, "has"> | undefined,
): ((at: OutputPlace) => boolean) | undefined {
  if (source === undefined && chosen === undefined) return undefined;
  const descent = new WeakMap<PipelineDeployed, (name: string) => boolean>();
  const descends = ({ deployed, origin }: OutputPlace) => {
    let known = descent.get(deployed);
    if (known === undefined) {
      known = descendsFrom(deployed, source);
      descent.set(deployed, known);
    }
    return known(origin);
  };
  return (at) => (chosen?.has(at.stream, at.part, at.n, at.k) ?? true) && descends(at);
}

/**
 * How many records a selection is about: of a key those that have it, of a quarantine those that are in it, else how many
 * records sources have accepted, all or those that are chosen.
 */
export async function selectedRecords(
  { log, history, window }: Pick<SelectedHistory, "log" | "history" | "window">,
  only: DeployedSelection | undefined,
  selection: Selection | undefined,
): Promise<number> {
  if (only?.key !== undefined || only?.quarantined) return selection?.begun ?? 0;
  const all = new Set(history.all.flatMap(({ sources }) => sources.map(({ name }) => name)));
  let records = 0;
  for (const source of only?.source === undefined ? all : [only.source]) {
    const stream = sourceStream(history.pipeline, source);
    const { first, end } = await recordsWithin(log, stream, window);
    records += selection === undefined ? end - first : selection.chosen.accepted(stream, first, end);
  }
  return records;
}
