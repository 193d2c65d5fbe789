import { StepRows } from "../../projections/step-rows.ts";
import { decodeDeltas } from "../core/columns.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { QuarantinedRecord, StepsRecorded, TypedEvent } from "../core/events.ts";
import type { Append, Appended } from "../ports/event-log.ts";

/** What steps have come to, as a worker would have told it. */
export interface ToldSteps {
  readonly through: number;
  readonly steps: number;
  /** Inputs that were put back from quarantine. */
  readonly retried: number;
  readonly late: number;
  readonly quarantined: readonly Pick<QuarantinedRecord, "stage" | "n" | "k" | "message">[];
}

interface Made {
  readonly revision: number;
  readonly appends: readonly Append[];
}

/**
 * The steps that a thread has recorded and not told of yet. Should it end before that, what it would have told is
 * read from the events themselves, so that a run's figures are right whatever happens to its threads.
 */
export class UntoldSteps {
  /** By stream; one append is in flight in each. */
  readonly #made = new Map<string, Made[]>();

  appended(appends: readonly Append[], answers: readonly Appended[]): void {
    const main = appends.at(-1);
    const revision = answers.at(-1)?.revision;
    if (main === undefined || revision === undefined || main.events.at(-1)?.type !== "StepsRecorded") return;
    this.#made.set(main.stream, [...(this.#made.get(main.stream) ?? []), { revision, appends }]);
  }

  /** The thread has told of all up to a revision of a stream. */
  told(stream: string, revision: number): void {
    const left = this.#made.get(stream)?.filter((made) => made.revision > revision) ?? [];
    if (left.length === 0) this.#made.delete(stream);
    else this.#made.set(stream, left);
  }

  /** What was not told, stream by stream. */
  *rest(): Iterable<readonly [stream: string, steps: ToldSteps]> {
    for (const [stream, made] of this.#made) {
      for (const { appends, revision } of made) yield [stream, stepsOf(appends, revision)];
    }
    this.#made.clear();
  }
}

function stepsOf(appends: readonly Append[], revision: number): ToldSteps {
  const events = appends.flatMap(({ stream, events: offered }) =>
    offered.map((event) => decodeEvent({ ...event, stream, revision })),
  );
  const quarantined = events.flatMap((event) =>
    event.type === "RecordsQuarantined" ? event.data.records : [],
  );
  const recorded = events.findLast((event): event is Recorded => event.type === "StepsRecorded");
  if (recorded === undefined) return { through: 0, steps: 0, retried: 0, late: 0, quarantined };
  const { data } = recorded;
  const late = data.stages?.[0]?.late;
  return {
    through: data.through,
    steps: stepsIn(data),
    retried: data.entry === undefined ? 0 : data.count,
    late: late === undefined ? 0 : decodeDeltas(late).length,
    quarantined,
  };
}

type Recorded = Extract<TypedEvent, { readonly type: "StepsRecorded" }>;

/** Input rows of all stages together. */
function stepsIn(event: StepsRecorded): number {
  const rows = new StepRows(event);
  return (event.stages ?? []).reduce((sum, { input }) => sum + rows.count(input), 0);
}
