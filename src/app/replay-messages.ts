import type { ToldError } from "./child-errors.ts";
import type { ResumeRequest } from "./forks-types.ts";
import type { ReplayProgress, ReplayReport, ReplayRequest } from "./replay-types.ts";
import type { BatchDelivery } from "./start-types.ts";
import type { ForkProgress, WhatIfReport, WhatIfRequest } from "./what-if-types.ts";

/** What a replay in a process of its own is asked. */
export type ReplayTask =
  | { readonly kind: "verify"; readonly request: Omit<ReplayRequest, "signal" | "onProgress"> }
  | {
      readonly kind: "what-if";
      readonly request: Omit<WhatIfRequest, "signal" | "onProgress">;
      /** Sinks whose records a function of the process that asks takes. */
      readonly functions?: readonly string[];
    }
  | {
      readonly kind: "resume";
      readonly request: Omit<ResumeRequest, "signal" | "onProgress" | "onVerifyProgress">;
      readonly functions?: readonly string[];
    };

/** What it says. */
export type FromReplay =
  | { readonly kind: "progress"; readonly progress: ReplayProgress | ForkProgress }
  | ForDelivery
  | { readonly kind: "report"; readonly report: ReplayReport | WhatIfReport }
  | { readonly kind: "error"; readonly error: ToldError };

/** Records for a function of the other process, which says with {@link Delivered} when it has taken them. */
export interface ForDelivery {
  readonly kind: "deliver";
  /** Tells deliveries apart. */
  readonly number: number;
  readonly sink: string;
  readonly records: readonly unknown[];
  readonly delivery: BatchDelivery;
}

/** What becomes of records that were for a function. */
export interface Delivered {
  readonly number: number;
  /** What the function threw. */
  readonly failed?: string;
}
