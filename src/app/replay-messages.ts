import type { ToldError } from "./child-errors.ts";
import type { ReplayProgress, ReplayReport, ReplayRequest } from "./replay-types.ts";
import type { ForkProgress, WhatIfReport, WhatIfRequest } from "./what-if-types.ts";

/** What a replay in a process of its own is asked. */
export type ReplayTask =
  | { readonly kind: "verify"; readonly request: Omit<ReplayRequest, "signal" | "onProgress"> }
  | { readonly kind: "what-if"; readonly request: Omit<WhatIfRequest, "signal" | "onProgress"> };

/** What it says. */
export type FromReplay =
  | { readonly kind: "progress"; readonly progress: ReplayProgress | ForkProgress }
  | { readonly kind: "report"; readonly report: ReplayReport | WhatIfReport }
  | { readonly kind: "error"; readonly error: ToldError };
