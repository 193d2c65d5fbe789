import type { Audit } from "headwater";

/** One in so many records may fail in a stage. */
const MOST = 100;

/**
 * A check of one's own: of the inputs of each segment's partitions at most one in a hundred is in quarantine.
 *
 *     npx headwater audit --check examples/few-failures.ts
 *
 * Steps may have been let go of, and what was refused is kept for ever: only what a step that is kept has refused is
 * compared with its inputs, and the rest is unverifiable. The state holds a few counts for each partition, and nothing
 * that grows with the log.
 */
export default {
  name: "few-failures",
  version: 2,
  init: () => ({
    checked: 0,
    unverifiable: 0,
    failed: 0,
    failures: [],
    kept: new Map(),
    partitions: new Map(),
  }),
  apply: (state, item) => {
    if (item.kind === "stream" && item.first > 0) {
      // It comes again where more is let go of while the audit is under way.
      state.kept.set(item.stream, { first: item.first, next: item.next ?? Number.POSITIVE_INFINITY });
    }
    if (item.kind === "event" && item.typed?.type === "RecordsQuarantined") {
      const stream = item.stream.replace(/^quarantine_/, "steps_");
      const { next = 0 } = state.kept.get(stream) ?? {};
      const { records } = item.typed.data;
      const kept = records.filter(({ n }) => n >= next).length;
      state.unverifiable += records.length - kept;
      // The step that has refused them comes after them, and says where they are.
      if (kept > 0) partitionOf(state, stream).refused.push({ revision: item.revision, records: kept });
    }
    if (item.kind === "event" && item.typed?.type === "StepsRecorded") {
      const { stream, revision, typed } = item;
      // Until the space is made usable again, what was let go of comes, too.
      if (revision < (state.kept.get(stream)?.first ?? 0)) return state;
      const { count, quarantine } = typed.data;
      const partition = partitionOf(state, stream);
      state.checked += count;
      partition.inputs += count;
      for (const refused of partition.refused.splice(0)) {
        const at = refused.revision - (quarantine?.revision ?? Number.POSITIVE_INFINITY);
        if (at >= 0 && at < (quarantine?.events ?? 0)) partition.quarantined += refused.records;
        else state.unverifiable += refused.records;
      }
    }
    if (item.kind === "end") {
      for (const [stream, { inputs, quarantined }] of state.partitions) {
        if (quarantined * MOST <= inputs) continue;
        state.failed++;
        state.failures.push({
          address: stream,
          code: "ManyFailures",
          message: `of ${inputs} inputs ${quarantined} records are in quarantine`,
        });
      }
    }
    return state;
  },
} satisfies Audit<State>;

interface State {
  checked: number;
  unverifiable: number;
  failed: number;
  readonly failures: { address: string; code: string; message: string }[];
  /** Of streams of which something was let go of: the revision, and the N, that they begin with now. */
  readonly kept: Map<string, { readonly first: number; readonly next: number }>;
  readonly partitions: Map<string, Partition>;
}

interface Partition {
  inputs: number;
  quarantined: number;
  /** Events of refused records of which the step has not come yet. */
  readonly refused: { readonly revision: number; readonly records: number }[];
}

function partitionOf({ partitions }: State, stream: string): Partition {
  let partition = partitions.get(stream);
  if (partition === undefined) {
    partition = { inputs: 0, quarantined: 0, refused: [] };
    partitions.set(stream, partition);
  }
  return partition;
}
