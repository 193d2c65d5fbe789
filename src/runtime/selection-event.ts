import type { DeployedStage, RetryItem } from "../core/events.ts";
import { isRetryStream } from "../core/streams.ts";
import type { Members } from "../engine/members.ts";
import type { StepGraph, StepRow } from "../engine/step-graph.ts";
import { SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import { INPUTS, OUTPUTS, type Part, type SelectedRecords } from "./selected-records.ts";

/** A step event, with what is needed to go from its rows to what they came from. */
export interface WalkedEvent {
  readonly stream: string;
  readonly graph: StepGraph;
  readonly segment: Segment;
  readonly stages: readonly DeployedStage[];
  /** Of each upstream stream what its K's count: outputs, or the results of a stage. */
  readonly reads: ReadonlyMap<string, Part>;
  /** Of each result of the window or join that it begins with; `undefined`: it begins with neither, or does not say. */
  readonly members: readonly Members[] | undefined;
  /** What was put back, by its I. */
  readonly retried: ReadonlyMap<number, RetryItem>;
}

/** A row, and what part of its stream it is in: `stage` is its index in the event. */
export interface PartRow {
  readonly part: Part;
  readonly n: number;
  readonly k: number;
}

/** Where an input came from; `undefined`: it is a firing. */
export function parentOf(
  { graph, stream, segment, reads, retried }: WalkedEvent,
  row: number,
): (PartRow & { readonly stream: string }) | undefined {
  const { parent } = graph.input(row);
  if (parent === undefined) return undefined;
  if (!isRetryStream(parent.stream)) {
    const part = parent.stream.startsWith("source_") ? INPUTS : (reads.get(parent.stream) ?? OUTPUTS);
    return { stream: parent.stream, part, n: parent.n, k: part === INPUTS ? 0 : parent.k };
  }
  const item = retried.get(parent.n);
  if (item === undefined) return undefined;
  return { stream, part: givenPart(segment, item.stage ?? ""), n: item.n, k: item.k ?? 0 };
}

/** The part whose rows a stage is given. */
export function givenPart({ stages }: Pick<Segment, "stages">, stage: string): Part {
  const given = stages.find(({ definition }) => definition.name === stage)?.input ?? SEGMENT_INPUT;
  return stages[given]?.definition.name ?? INPUTS;
}

/** Which further rows are chosen in their own right. */
export type ChooseRow = (part: Part, at: StepRow) => boolean;

/**
 * Chooses what comes of chosen records in an event: inputs whose parents are chosen, results that are made of chosen rows
 * (of a window or join: members; of a reduce also the step before), and what leaves the segment of it.
 */
export function chooseForwards(selected: SelectedRecords, event: WalkedEvent, choose?: ChooseRow): void {
  const { stream, graph, stages, members } = event;
  const { first, count } = graph.event;
  const { shape } = graph;
  const told = selected.touches(stream, first, first + count);
  const outputs = told && selected.hasAny(stream, OUTPUTS) ? outputsByStage(event) : undefined;
  const asked = (part: Part, at: StepRow, n: number, k: number): boolean =>
    (told &&
      (selected.has(stream, part, n, k) ||
        outputs?.get(at.stage)?.some((numbers) => {
          return selected.has(stream, OUTPUTS, n, numbers?.[at.row] ?? 0);
        }) === true)) ||
    choose?.(part, at) === true;

  const inputs = new Uint8Array(count);
  let some = false;
  for (let row = 0; row < count; row++) {
    const parent = parentOf(event, row);
    const came = parent !== undefined && selected.has(parent.stream, parent.part, parent.n, parent.k);
    if (!came && !asked(INPUTS, { stage: SEGMENT_INPUT, row }, first + row, 0)) continue;
    inputs[row] = 1;
    some = true;
    selected.add(stream, INPUTS, first + row);
  }
  const stateful = stages.some(({ kind }) => kind === "reduce") || members !== undefined;
  if (!some && !told && !stateful && choose === undefined) return;
  const chosen = [inputs];
  for (const [stage, { name, kind }] of stages.entries()) {
    const ahead = chosen[shape.ahead(stage) + 1] as Uint8Array;
    const { count: rows, parent } = shape.stage(stage);
    const mine = new Uint8Array(rows);
    chosen.push(mine);
    const made = (row: number, n: number): boolean => {
      const given = parent?.[row] ?? row;
      if (stage === 0 && members !== undefined) {
        // What fires is no record that the result is made of, unless it was asked for itself.
        if (ahead[given] === 1 && graph.input(given).parent === undefined) return true;
        return hasMember(selected, stream, members[row] ?? []);
      }
      if (ahead[given] === 1) return true;
      if (kind !== "reduce") return false;
      const back = graph.previous({ stage, row });
      if (back === undefined) return false;
      return back === 0 ? mine[row - 1] === 1 : selected.hasSome(stream, name, n - back);
    };
    eachInput(shape.origin(stage), rows, (input, start, end) => {
      const n = first + input;
      let taken = 0;
      for (let row = start; row < end; row++) {
        if (!made(row, n) && !asked(name, { stage, row }, n, row - start)) continue;
        mine[row] = 1;
        taken++;
      }
      addRows(selected, stream, name, n, mine, start, end, taken);
    });
  }
  leave(selected, event, chosen);
}

function hasMember(selected: SelectedRecords, stream: string, members: Members): boolean {
  for (let at = 0; at < members.length; at += 2) {
    const first = members[at] as number;
    if (selected.hasBetween(stream, INPUTS, first, first + (members[at + 1] as number))) return true;
  }
  return false;
}

function addRows(
  selected: SelectedRecords,
  stream: string,
  part: Part,
  n: number,
  mine: Uint8Array,
  start: number,
  end: number,
  taken: number,
): void {
  if (taken === 0) return;
  if (taken === end - start) selected.add(stream, part, n);
  else
    for (let row = start; row < end; row++) if (mine[row] === 1) selected.add(stream, part, n, row - start);
}

/** Calls `take` for the rows of each input: they lie together. */
function eachInput(
  origin: readonly number[] | undefined,
  rows: number,
  take: (input: number, start: number, end: number) => void,
): void {
  for (let start = 0; start < rows; ) {
    const input = origin?.[start] ?? start;
    let end = start + 1;
    while (end < rows && (origin?.[end] ?? end) === input) end++;
    take(input, start, end);
    start = end;
  }
}

/** Chosen rows that leave the segment. */
function leave(
  selected: SelectedRecords,
  { stream, graph }: WalkedEvent,
  chosen: readonly Uint8Array[],
): void {
  const { shape } = graph;
  const { first, count } = graph.event;
  const left = new Uint32Array(count);
  const taken = new Map<number, number[]>();
  for (const [outlet, { stage }] of shape.outlets.entries()) {
    const rows = chosen[stage + 1] as Uint8Array;
    const origin = shape.origin(stage);
    const numbers = shape.outputNumbers(outlet);
    for (let row = 0; row < rows.length; row++) {
      const input = origin?.[row] ?? row;
      left[input] = (left[input] as number) + 1;
      if (rows[row] !== 1) continue;
      const ks = taken.get(input) ?? [];
      ks.push(numbers?.[row] ?? 0);
      taken.set(input, ks);
    }
  }
  for (const [input, ks] of taken) {
    if (ks.length === left[input]) selected.add(stream, OUTPUTS, first + input);
    else for (const k of ks) selected.add(stream, OUTPUTS, first + input, k);
  }
}

/** Of each stage, the numbers of its rows at each outlet that they leave by. */
function outputsByStage({ graph: { shape } }: WalkedEvent) {
  const by = new Map<number, (readonly number[] | undefined)[]>();
  for (const [outlet, { stage }] of shape.outlets.entries()) {
    by.set(stage, [...(by.get(stage) ?? []), shape.outputNumbers(outlet)]);
  }
  return by;
}

/**
 * Chooses what a chosen row of an input N = `n` was made of: further rows of the event, and what they came from. The
 * inputs of an event are to be asked for from the last to the first.
 */
export function chooseBackwards(selected: SelectedRecords, event: WalkedEvent, n: number): void {
  const { stream, graph, stages, members } = event;
  const input = n - graph.event.first;
  const outputs = outputsByStage(event);
  for (const [stage, { name, kind }] of [...stages.entries()].reverse()) {
    const { start, end } = graph.rowsOf(stage, input);
    for (let row = end - 1; row >= start; row--) {
      const leaves = outputs
        .get(stage)
        ?.some((numbers) => selected.has(stream, OUTPUTS, n, numbers?.[row] ?? 0));
      if (!leaves && !selected.has(stream, name, n, row - start)) continue;
      selected.add(stream, name, n, row - start);
      if (stage === 0 && members !== undefined) {
        for (const member of eachMember(members[row] ?? [])) selected.add(stream, INPUTS, member);
        continue;
      }
      const ahead = graph.parentOf({ stage, row });
      if (ahead.stage === SEGMENT_INPUT) selected.add(stream, INPUTS, n);
      else {
        const part = stages[ahead.stage]?.name ?? INPUTS;
        selected.add(stream, part, n, ahead.row - graph.rowsOf(ahead.stage, input).start);
      }
      if (kind !== "reduce") continue;
      const back = graph.previous({ stage, row });
      if (back === 0) selected.add(stream, name, n, row - start - 1);
      // All rows of an input have one key: the last of them is the step before.
      else if (back !== undefined) selected.add(stream, name, n - back);
    }
  }
  const asInput = outputs
    .get(SEGMENT_INPUT)
    ?.some((numbers) => selected.has(stream, OUTPUTS, n, numbers?.[input] ?? 0));
  if (!asInput && !selected.hasSome(stream, INPUTS, n)) return;
  selected.add(stream, INPUTS, n);
  const parent = parentOf(event, input);
  if (parent === undefined) return;
  if (parent.part === INPUTS) selected.add(parent.stream, INPUTS, parent.n);
  else selected.add(parent.stream, parent.part, parent.n, parent.k);
}

function* eachMember(members: Members): Generator<number> {
  for (let at = 0; at < members.length; at += 2) {
    const first = members[at] as number;
    for (let n = first; n < first + (members[at + 1] as number); n++) yield n;
  }
}
