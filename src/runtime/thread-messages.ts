import type { WorkerInput } from "../../actors/worker.ts";
import type { DeployedParameters } from "../core/events.ts";
import type { ToldError } from "../core/told-error.ts";
import type { Bundle } from "../ports/bundler.ts";
import type { Activity } from "./pressure.ts";
import type { Totals } from "./progress-board.ts";
import type { Care } from "./suspects.ts";

/** What the thread of a node has to know to begin: plain data. */
export interface NodeSeed {
  readonly process: string;
  readonly bundle: Bundle;
  /** Values of all parameters. */
  readonly parameters: DeployedParameters;
  /** `digestOfShape` of the pipeline, as it was made in the thread that began this one. */
  readonly shape: Uint8Array;
  /** Identity of the deployment that runs, and the first ordinal that is for it. */
  readonly deployment: Uint8Array;
  readonly deployedFrom: number;
  readonly provenance: "full" | "off";
  readonly batchRecords: number;
  readonly tickMs: number;
  readonly keepOpen: boolean;
  readonly takesRetries: boolean;
  readonly snapshotEveryMs: number | undefined;
}

/** What a worker of a unit is asked to do. */
export type UnitStep = "claim" | "restore" | "work";

/** What a node's thread is told. `key` stands for one worker. */
export type ToNode =
  | {
      readonly kind: "begin";
      readonly key: string;
      readonly order: WorkerInput;
      /** Records of a batch at most. */
      readonly batchMost: number;
      readonly care: Care;
    }
  | { readonly kind: "step"; readonly key: string; readonly step: UnitStep }
  /** Finish what is in flight. */
  | { readonly kind: "drain"; readonly key: string }
  /** Let go of everything. */
  | { readonly kind: "dispose"; readonly key: string };

/** What a node's thread says. */
export type FromNode =
  /** The pipeline could not be made in it. */
  | { readonly kind: "failed"; readonly error: ToldError }
  | { readonly kind: "done"; readonly key: string; readonly step: UnitStep; readonly error?: ToldError }
  | {
      readonly kind: "progress";
      /** How far units are, by ordinal. */
      readonly through: readonly (readonly [unit: string, through: number])[];
      /** Up to which revision of their streams all that follows is contained in this. */
      readonly recorded: readonly (readonly [stream: string, revision: number])[];
      /** What has been done since it was last said. */
      readonly totals: Partial<Totals>;
      readonly late: readonly (readonly [stage: string, records: number])[];
      readonly quarantined: readonly ToldQuarantine[];
      /** Up to which I units have taken what was put back. */
      readonly retries: readonly (readonly [unit: string, taken: number])[];
      /** What units are doing; `undefined`: they were let go of. */
      readonly activities: readonly (readonly [unit: string, activity: Activity | undefined])[];
    }
  /** What a unit is about to do, said before it is: what it does may keep the thread from saying anything. */
  | { readonly kind: "activity"; readonly unit: string; readonly activity: Activity }
  /** Said before what is put back with this ordinal is appended. */
  | { readonly kind: "putBack"; readonly ordinal: number };

/** A record that was quarantined. */
export interface ToldQuarantine {
  readonly stage: string;
  readonly address: string;
  readonly message: string;
}
