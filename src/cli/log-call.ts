import type { LogApp } from "./io.ts";
import type { CommonOptions } from "./options.ts";

/** What a subcommand is given beside its own arguments. */
export interface Call {
  readonly app: LogApp;
  readonly common: CommonOptions;
  readonly signal: AbortSignal;
}
