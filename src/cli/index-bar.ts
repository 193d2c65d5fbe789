import type { ViewOptions } from "../app/lineage-types.ts";
import type { Io } from "./io.ts";
import type { CommonOptions } from "./options.ts";
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
