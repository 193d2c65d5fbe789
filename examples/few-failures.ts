import type { Audit } from "headwater";

/** One in so many records may fail in a stage. */
const MOST = 100;

/**
 * A check of one's own: of the inputs of each segment's partitions at most one in a hundred is in quarantine.
 *
 *     npx headwater audit --check examples/few-failures.ts
 *
 * Its state holds a count for each partition, and nothing that grows with the log.
 */
export default {
  name: "few-failures",
  version: 1,
  init: () => ({
    checked: 0,
    unverifiable: 0,
    failed: 0,
    failures: [],
    inputs: new Map<string, number>(),
    quarantined: new Map<string, number>(),
  }),
  apply: (state, item) => {
    if (item.kind === "event" && item.typed?.type === "StepsRecorded") {
      const { stream } = item;
      state.checked += item.typed.data.count;
      state.inputs.set(stream, (state.inputs.get(stream) ?? 0) + item.typed.data.count);
    }
    if (item.kind === "event" && item.typed?.type === "RecordsQuarantined") {
      const stream = item.stream.replace(/^quarantine_/, "steps_");
      state.quarantined.set(stream, (state.quarantined.get(stream) ?? 0) + item.typed.data.records.length);
    }
    if (item.kind === "end") {
      for (const [stream, count] of state.quarantined) {
        const of = state.inputs.get(stream) ?? 0;
        if (count * MOST <= of) continue;
        state.failed++;
        state.failures.push({
          address: stream,
          code: "ManyFailures",
          message: `${count} of ${of} inputs are in quarantine`,
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
  readonly inputs: Map<string, number>;
  readonly quarantined: Map<string, number>;
}
