import {
  type FiringRow,
  firingRoot,
  type Item,
  indexOnPath,
  inLogicalOrder,
  mustBeFew,
  mustBeRecord,
  type StageOutcome,
} from "./reference-items.ts";
import type { Step } from "./reference-watermarks.ts";

/** A record at a window or join, and which of its inputs it comes from: 0, of a join also 1. */
export interface TimedItem extends Item {
  readonly side: number;
}

/** What the parts of a timed stage's reference are given. */
export interface TimedStage {
  readonly pipeline: string;
  readonly name: string;
  readonly rank: number;
  /** Ranks below this are of firings. */
  readonly firingRanks: number;
  readonly steps: readonly Step[];
}

/** What comes to a window or join, one after the other. */
export type TimelineEvent =
  | { readonly kind: "record"; readonly item: TimedItem }
  | { readonly kind: "step"; readonly step: Step };

/** At each ordinal first the records that descend from firings, then the step, then the records of sources. */
export function timelineOf(items: readonly TimedItem[], { steps, firingRanks }: TimedStage): TimelineEvent[] {
  const events = [
    ...[...items].sort(inLogicalOrder).map((item) => ({
      event: { kind: "record", item } as const,
      at: [item.ordinal, item.rank < firingRanks ? 0 : 2] as const,
    })),
    ...steps.map((step) => ({ event: { kind: "step", step } as const, at: [step.ordinal, 1] as const })),
  ];
  return events.sort((a, b) => a.at[0] - b.at[0] || a.at[1] - b.at[1]).map(({ event }) => event);
}

/** A result before it has its place. */
export interface Result {
  readonly value: unknown;
  readonly lineage: ReadonlySet<string>;
}

/** Collects what a timed stage makes of its timeline. */
export class TimedOutcome implements StageOutcome {
  readonly outputs: Item[] = [];
  readonly late: Item[] = [];
  readonly firings: FiringRow[] = [];
  failures = 0;
  readonly #stage: TimedStage;

  constructor(stage: TimedStage) {
    this.#stage = stage;
  }

  /** Results that take a record's place. `make` may fail: then the record does, and nothing is answered. */
  positional(item: TimedItem, key: unknown, make: () => readonly Result[]): boolean {
    try {
      const results = mustBeFew(make());
      for (const { value } of results) mustBeRecord(value);
      for (const [index, result] of results.entries()) {
        const { side: _, ...base } = item;
        const path = item.path + indexOnPath(index);
        this.outputs.push({ ...base, ...result, key, path, entry: `${item.root} ${item.path}` });
      }
      return true;
    } catch {
      this.failures++;
      return false;
    }
  }

  /** A row of its own; `make` gives its result, or none. */
  firing(
    at: {
      readonly ordinal: number;
      readonly path: string;
      readonly key: unknown;
      readonly time: number | undefined;
    },
    make: () => Result | undefined,
  ): void {
    const { pipeline, name, rank } = this.#stage;
    const { ordinal, path, key, time } = at;
    const root = firingRoot(pipeline, name, ordinal);
    try {
      const result = make();
      if (result !== undefined) mustBeRecord(result.value);
      const outputs =
        result === undefined
          ? []
          : [
              {
                ...result,
                ordinal,
                origin: name,
                rank,
                root,
                path: path + indexOnPath(0),
                key,
                time,
                entry: `${root} ${path}`,
              },
            ];
      this.outputs.push(...outputs);
      this.firings.push({ ordinal, path, failed: false, outputs });
    } catch {
      this.failures++;
      this.firings.push({ ordinal, path, failed: true, outputs: [] });
    }
  }
}
