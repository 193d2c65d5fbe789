import type { ViewOptions } from "../app/lineage-types.ts";
import type { Io } from "./io.ts";
import { type CommonOptions, mustGoWith } from "./options.ts";
import { Bar } from "./progress.ts";

/** What commands that need the index of the log have in common. */
interface IndexOptions {
  readonly views?: string;
  readonly wait: boolean;
  readonly rebuild?: boolean;
}

const PUT_BACK =
  "headwater: the index has seen events that the log does not have: the log was put back from an older copy. It is built anew.\n";

const THOUSAND = 1_000;

/** Throws `BadUsage` for an option of the index where nothing is asked of it: none of `others` is given. */
export function mustNeedIndex(own: IndexOptions, others: Readonly<Record<string, unknown>>): void {
  mustGoWith("--views", own.views, others);
  mustGoWith("--no-wait", own.wait ? undefined : true, others);
  mustGoWith("--rebuild", own.rebuild, others);
}

/** A bar for the index that follows the log. */
export function indexBar(io: Io, { quiet }: CommonOptions): Bar {
  return new Bar(io, quiet, "of the log indexed");
}

/** The options of the index as they were given. */
export function viewOptions(io: Io, own: IndexOptions, bar: Bar, { quiet }: CommonOptions): ViewOptions {
  const fromEnvironment = io.env["HEADWATER_VIEWS"];
  const views = own.views ?? (fromEnvironment === "" ? undefined : fromEnvironment);
  return {
    ...(views !== undefined && { views }),
    wait: own.wait,
    rebuild: own.rebuild ?? false,
    onPutBack: () => {
      if (!quiet) void io.stderr.write(PUT_BACK);
    },
    onProgress: (share) => bar.update(Math.floor(share * THOUSAND), THOUSAND, {}),
  };
}
