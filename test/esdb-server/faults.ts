/** What happens to one append instead of what should. */
export type AppendFault =
  /** Written, and answered when `release` is called. */
  | "hold-answer"
  /** Neither written nor answered. */
  | "lose"
  /** Written; nobody learns of it. */
  | "lose-answer"
  /** The connection is reset, before it is written or after it. */
  | "reset"
  | "reset-after"
  /** The call for all appends ends with an error, before it is written or after it. */
  | "break"
  | "break-after"
  /** The server says that it timed out, and has not written it, or has. */
  | "timeout"
  | "timeout-after"
  | "busy";

/** The ways in which the server misbehaves; a test sets what it needs. */
export class Faults {
  /** Asked for each append. */
  onAppend: (stream: string) => AppendFault | undefined = () => undefined;
  /** Asked for each read: an error's message, after so many events. */
  onRead: (stream: string) => { readonly after: number; readonly how: "break" | "stall" } | undefined = () =>
    undefined;
  /** Nothing is confirmed, and nothing comes: subscriptions that begin are left waiting. */
  stallSubscriptions = false;
  /** How deletions and other calls with one answer go wrong. */
  onCall: () => "lose" | "lose-answer" | undefined = () => undefined;
  /** How the question for the server's abilities goes wrong. */
  onFeatures: () => "internal" | undefined = () => undefined;
}
