import { decodeTexts } from "../core/columns.ts";
import { DIGEST_BYTES } from "../core/digest.ts";
import type { RecordsAccepted } from "../core/events.ts";
import {
  digestTerm,
  hashText,
  idTerm,
  memberBlocks,
  membersTerm,
  previousTerm,
  type Term,
} from "../core/index-terms.ts";
import type { StepGraph } from "./step-graph.ts";

/** What an event is found by. */
export interface EventTerms {
  readonly terms: ReadonlySet<Term>;
  /** The highest level of the blocks of members among them: see `membersTerm`. */
  readonly level: number;
}

/** What a source's event is found by: digests and sender's ids. */
export function termsOfAccepted(stream: string, { digests, ids, count }: RecordsAccepted): EventTerms {
  const terms = new Set<Term>();
  addDigests(terms, digests);
  const source = hashText(stream);
  for (const id of ids === undefined ? [] : decodeTexts(ids, count)) terms.add(idTerm(source, id));
  return { terms, level: 0 };
}

/**
 * What a partition's event is found by: digests, the steps before those of its reduces, and the members of its window's
 * or join's results. `members` are those that the event keeps elsewhere.
 */
export function termsOfSteps(stream: string, graph: StepGraph, members: Uint8Array | undefined): EventTerms {
  const terms = new Set<Term>();
  const own = hashText(stream);
  const { first } = graph.event;
  for (const [stage, { digests, previous }] of graph.shape.stages.entries()) {
    addDigests(terms, digests);
    if (previous === undefined) continue;
    const origin = graph.shape.origin(stage);
    for (let row = 0; row < graph.shape.stage(stage).count; row++) {
      const back = graph.previous({ stage, row });
      if (back !== undefined && back > 0) terms.add(previousTerm(own, first + (origin?.[row] ?? row) - back));
    }
  }
  const { stages } = graph.shape;
  let highest = 0;
  if (stages[0]?.members === undefined && members === undefined) return { terms, level: highest };
  for (let row = 0; row < graph.shape.stage(0).count; row++) {
    const runs = graph.members(row, members) ?? [];
    for (let at = 0; at < runs.length; at += 2) {
      for (const { level, block } of memberBlocks(runs[at] as number, runs[at + 1] as number)) {
        terms.add(membersTerm(own, level, block));
        highest = Math.max(highest, level);
      }
    }
  }
  return { terms, level: highest };
}

function addDigests(terms: Set<Term>, digests: Uint8Array | undefined): void {
  if (digests === undefined) return;
  for (let row = 0; (row + 1) * DIGEST_BYTES <= digests.length; row++) terms.add(digestTerm(digests, row));
}
