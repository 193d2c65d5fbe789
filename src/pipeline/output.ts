import type { StageDefinition } from "./definition.ts";

/** The place in a pipeline under construction that a stream stands for. */
export interface Output {
  /** The pipeline; compared by identity only. */
  readonly owner: object;
  /** Name of the source or stage that this is the output of. */
  readonly name: string;
  addStage(stage: StageDefinition): Output;
  addSink(name: string): void;
}
