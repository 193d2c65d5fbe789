import type { AuditReport, AuditRequest } from "./audit-types.ts";
import type { ToldError } from "./child-errors.ts";

/** What an audit in a process of its own is asked. */
export type ChildRequest = Omit<AuditRequest, "signal" | "onProgress">;

/** What it says. */
export type FromChild =
  | { readonly kind: "progress"; readonly events: number; readonly of: number }
  | { readonly kind: "report"; readonly report: AuditReport }
  | { readonly kind: "error"; readonly error: ToldError };
