import { decodeDeltas, decodeRuns } from "../core/columns.ts";
import { DIGEST_BYTES, toHex } from "../core/digest.ts";
import type { StepsRecorded } from "../core/events.ts";
import { originName } from "../engine/origins.ts";

import {
  type DivergenceKind,
  type StepDivergence,
  StepsComparison,
  type WantedStep,
} from "../engine/steps-comparison.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { Chosen } from "./chosen-records.ts";
import { descendsFrom } from "./descent.ts";
import {
  type AstrayInputs,
  type ReexecutedPiece,
  type ReexecutionQuery,
  reexecutePartition,
} from "./reexecution.ts";
import { isGone } from "./seek.ts";
import { readMembersColumn } from "./snapshots.ts";

/** A step that did not give what was recorded. */
export interface Divergence {
  /** Of the input at which it shows, `steps_P.G.Q@N`. */
  readonly address: string;
  /** The stage; `undefined`: the input itself is another. */
  readonly stage: string | undefined;
  readonly kind: DivergenceKind;
  readonly ordinal: number;
  /** Version of the deployment whose code ran. */
  readonly version: number;
  /** Index of the result among those of the input. */
  readonly k: number;
  /** The recorded digest, hex; `undefined` where there was no result. */
  readonly expected: string | undefined;
  /** The digest now, hex; `undefined` where there is no result. */
  readonly actual: string | undefined;
  /** The result now. */
  readonly value: unknown;
}

/** What came of comparing some inputs. */
export interface CheckedPiece {
  /** The ordinal of the last of them. */
  readonly ordinal: number;
  /** The N of the input that follows it. */
  readonly next: number;
  /** Steps that were recorded for them. */
  readonly steps: number;
  readonly diverged: number;
  readonly first: Divergence | undefined;
  /** What comes later depends on the state that these have left. */
  readonly stateful: boolean;
}

/** What is run again, and which of it is compared. */
export interface CheckQuery extends ReexecutionQuery {
  /** Only what descends from this source; everything if absent. */
  readonly source?: string | undefined;
  /** Only these; everything if absent. */
  readonly chosen?: Chosen | undefined;
  /** Only inputs from this N on. */
  readonly begin?: number;
  /** Told of each piece that was run. */
  onPiece?(piece: ReexecutedPiece, first: number): void;
}

/** Rows of which is to be known whether they are asked for. */
interface OrdinalRows {
  readonly ordinals: readonly number[];
  /** The name of what a row comes from. */
  originOf(row: number): string;
}

/** Which steps of a piece are asked for, all if `undefined`; its first input is N = `first`. */
function wantedIn(
  { from, to, source, chosen, begin = 0 }: CheckQuery,
  { deployed, segment, stream }: Pick<ReexecutedPiece, "deployed" | "segment" | "stream">,
  rows: OrdinalRows,
  first: number,
): WantedStep | undefined {
  const isWithin = first >= begin && (rows.ordinals[0] ?? from) >= from && (rows.ordinals.at(-1) ?? to) <= to;
  if (isWithin && source === undefined && chosen === undefined) return undefined;
  const isOf = descendsFrom(deployed, source);
  const names = segment.stages.map(({ definition }) => definition.name);
  const isChosen: WantedStep = (row, stage) => {
    if (chosen === undefined) return true;
    const n = first + row;
    if (stage === SEGMENT_INPUT) return chosen.touches(stream, n, n + 1);
    return chosen.hasStep(stream, names[segment.stages[stage]?.input ?? -1] ?? "", names[stage] ?? "", n);
  };
  return (row, stage) => {
    const ordinal = rows.ordinals[row] as number;
    return (
      first + row >= begin &&
      from <= ordinal &&
      ordinal <= to &&
      isOf(rows.originOf(row)) &&
      isChosen(row, stage)
    );
  };
}

/**
 * Runs a partition's history again and compares it, piece by piece. Inputs that do not come as they did are others. Throws
 * as `reexecutePartition`.
 */
export async function* checkPartition(query: CheckQuery): AsyncGenerator<CheckedPiece> {
  let comparison: { readonly of: StepsRecorded; readonly with: StepsComparison | undefined } | undefined;
  const astray: AstrayInputs[] = [];
  const tellAstray = async function* (): AsyncGenerator<CheckedPiece> {
    for (const inputs of astray.splice(0)) {
      const held = comparison?.of === inputs.event ? comparison.with : await comparisonOf(query, inputs);
      if (held !== undefined) yield checkAstray(query, inputs, held);
    }
  };
  for await (const piece of reexecutePartition({
    ...query,
    onAstray: (inputs) => void astray.push(inputs),
  })) {
    yield* tellAstray();
    if (comparison?.of !== piece.event)
      comparison = { of: piece.event, with: await comparisonOf(query, piece) };
    const { with: held } = comparison;
    if (held === undefined) continue;
    held.pass(piece.passed);
    const next = piece.event.first + piece.event.count - held.left;
    const { ordinals, sources } = piece.rows;
    const originOf = (row: number) => originName(piece.origins, sources?.[row] ?? 0);
    const wanted = wantedIn(query, piece, { ordinals, originOf }, next);
    const { steps, divergences } = held.compare(piece.rows, piece.result, wanted);
    query.onPiece?.(piece, next);
    const [first] = divergences;
    const ordinal = piece.rows.ordinals.at(-1) ?? query.from;
    const end = next + piece.rows.count;
    const { stateful } = piece.segment;
    yield {
      stateful,
      ordinal,
      next: end,
      steps,
      diverged: divergences.length,
      first: first && describe(piece, first),
    };
  }
  yield* tellAstray();
}

/** What is said of inputs that did not come: what stands for each is none. */
function checkAstray(
  query: CheckQuery,
  { stream, event, deployed, segment, done }: AstrayInputs,
  held: StepsComparison,
): CheckedPiece {
  held.pass(Math.max(0, done - (event.count - held.left)));
  const from = event.count - held.left;
  const next = event.first + from;
  const ordinals = decodeDeltas(event.ordinals ?? new Uint8Array(0)).slice(from);
  const { sources = [], source } = event;
  const origins = source === undefined ? [] : decodeRuns(source, event.count);
  const originOf = (row: number) => sources[origins[from + row] ?? 0] ?? "";
  const wanted = wantedIn(query, { stream, deployed, segment }, { ordinals, originOf }, next);
  const { steps, divergences } = held.lack(wanted);
  const [first] = divergences;
  return {
    stateful: segment.stateful,
    ordinal: ordinals.at(-1) ?? query.from,
    next: event.first + event.count,
    steps,
    diverged: divergences.length,
    first: first && {
      address: `${stream}@${first.n}`,
      stage: undefined,
      kind: first.kind,
      ordinal: ordinals[first.n - next] ?? 0,
      version: deployed.version,
      ...{ k: 0, expected: undefined, actual: undefined, value: undefined },
    },
  };
}

/** What an event is held to; `undefined`: not all of it is there any more, which is told. */
async function comparisonOf(
  { log, onGone }: CheckQuery,
  { event, stream, segment }: Pick<ReexecutedPiece, "event" | "stream" | "segment">,
): Promise<StepsComparison | undefined> {
  const { membersIn } = event.stages?.[0] ?? {};
  try {
    return new StepsComparison(
      event,
      segment,
      membersIn && (await readMembersColumn(log, stream, membersIn)),
    );
  } catch (error) {
    if (onGone === undefined || !isGone(error)) throw error;
    const reason = `${error.message}: ${error.where ?? ""}`;
    onGone({ address: `${stream}@${event.first}`, inputs: event.count, reason });
    return undefined;
  }
}

function describe(piece: ReexecutedPiece, { n, stage, k, kind, expected, row }: StepDivergence): Divergence {
  const made = piece.result.stages[stage];
  const digest =
    row === undefined ? undefined : made?.digests?.subarray(row * DIGEST_BYTES, (row + 1) * DIGEST_BYTES);
  const { first, ordinals } = piece.event;
  return {
    address: `${piece.stream}@${n}`,
    stage: piece.segment.stages[stage]?.definition.name,
    kind,
    ordinal: (ordinals === undefined ? [] : decodeDeltas(ordinals))[n - first] ?? 0,
    version: piece.deployed.version,
    k,
    expected: expected && toHex(expected),
    actual: digest && toHex(digest),
    value: row === undefined ? undefined : made?.records[row],
  };
}
