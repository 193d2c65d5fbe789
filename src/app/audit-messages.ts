import type { ErrorCode } from "../core/errors.ts";
import type { AuditReport, AuditRequest } from "./audit-types.ts";

/** What an audit in a process of its own is asked. */
export type ChildRequest = Omit<AuditRequest, "signal" | "onProgress">;

/** What it says. */
export type FromChild =
  | { readonly kind: "progress"; readonly events: number; readonly of: number }
  | { readonly kind: "report"; readonly report: AuditReport }
  | {
      readonly kind: "error";
      readonly code: ErrorCode;
      readonly message: string;
      readonly hint: string | undefined;
      readonly where: string | undefined;
      readonly stack: string | undefined;
    };
