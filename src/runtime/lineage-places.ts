import type {
  DeployedStage,
  PipelineDeployed,
  QuarantinedRecord,
  RecordsAccepted,
  RejectedRecord,
  RetryAsked,
  RetryItem,
} from "../core/events.ts";
import type { StepGraph, StepRow } from "../engine/step-graph.ts";
import type { RecordedEvent } from "../ports/event-log.ts";

/** Where an event is. */
export interface EventPlace {
  readonly stream: string;
  readonly revision: number;
}

/** A record that a source has accepted, found in its event. */
export interface AcceptedPlace {
  readonly kind: "source";
  /** Its one address: two places are the same exactly when these are. */
  readonly address: string;
  readonly stream: string;
  readonly n: number;
  readonly recorded: RecordedEvent;
  readonly event: RecordsAccepted;
  /** Its row in the event. */
  readonly row: number;
  readonly deployed: PipelineDeployed;
}

/** A stage's result, found in its event. An output of a partition is the result of the stage that it leaves. */
export interface ResultPlace {
  readonly kind: "result";
  /** `stream@N.K/T`. */
  readonly address: string;
  readonly stream: string;
  readonly n: number;
  readonly recorded: RecordedEvent;
  readonly graph: StepGraph;
  readonly at: StepRow;
  readonly stage: DeployedStage;
  readonly deployed: PipelineDeployed;
}

/** A firing of a window or join, found in its event: an input that nothing came in with. */
export interface FiringPlace extends Omit<ResultPlace, "kind" | "at"> {
  readonly kind: "firing";
  /** Row among the event's inputs. */
  readonly row: number;
}

/** A record that was asked to be put back, found in the event that asks for it. */
export interface RetryPlace {
  readonly kind: "retry";
  /** `retry_P@I`. */
  readonly address: string;
  readonly stream: string;
  /** Its I. */
  readonly n: number;
  readonly recorded: RecordedEvent;
  readonly event: RetryAsked;
  /** Which refused record it is. */
  readonly item: RetryItem;
}

/** A record that a stage failed at, found in the quarantine of its partition. */
export interface QuarantinedPlace {
  readonly kind: "quarantined";
  /** `quarantine_P.G.Q@N.K/T`: beside the results of stage T, which count by themselves. */
  readonly address: string;
  /** The partition's own stream. */
  readonly stream: string;
  /** Its input's N. */
  readonly n: number;
  /** Its event in the quarantine. */
  readonly recorded: RecordedEvent;
  readonly record: QuarantinedRecord;
  /** The K of its address. */
  readonly k: number;
  readonly input: FiringPlace;
  /** The row that the stage was given; of a stage that the segment has no more, its input. */
  readonly at: StepRow;
  readonly deployed: PipelineDeployed;
}

/** A record that the door of a source rejected, found in the quarantine of the source. */
export interface RejectedPlace {
  readonly kind: "rejected";
  /** `quarantine_P.S@I`. */
  readonly address: string;
  readonly stream: string;
  /** Its I. */
  readonly n: number;
  readonly recorded: RecordedEvent;
  readonly record: RejectedRecord;
  /** The source's own stream. */
  readonly unit: string;
}

/** A record that was refused, by a stage or by a door. */
export type RefusedPlace = QuarantinedPlace | RejectedPlace;

/** What led to a place. */
interface Passing {
  /**
   * The step event that was passed by: its input was asked for, as an address or as a member of a window or join, and
   * stands for the record that came in.
   */
  readonly passed?: EventPlace;
}

export type RecordPlace = (AcceptedPlace | ResultPlace | FiringPlace | RetryPlace | RefusedPlace) & Passing;

/** A record whose event has been let go of. */
export interface GonePlace {
  readonly kind: "gone";
  readonly address: string;
  readonly stream: string;
  /** Events of the stream below this revision are not there any more. */
  readonly before: number;
}

/** The stages of a segment in a deployment, in the order in which its events have them. */
export function stagesOf(deployed: PipelineDeployed, segment: string): readonly DeployedStage[] {
  return deployed.stages.filter((stage) => stage.segment === segment);
}
