/**
 * The process that an audit reads the log in: a damaged page of a log's file may end whoever reads it. Started by
 * `audit-apart.ts`, which hears of everything, and of such an end, too.
 */
import { audit } from "./audit.ts";
import type { ChildRequest, FromChild } from "./audit-messages.ts";
import { workAsChild } from "./child.ts";
import { tellError } from "./child-errors.ts";

workAsChild<ChildRequest, FromChild>(async (request, { say, signal }) => {
  try {
    const onProgress = (events: number, of: number) => void say({ kind: "progress", events, of });
    await say({ kind: "report", report: await audit({ ...request, signal, onProgress }) });
  } catch (error) {
    await say({ kind: "error", error: tellError(error) });
  }
});
