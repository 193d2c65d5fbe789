import * as headwater from "headwater";
import { describe, expect, it } from "vitest";

describe("the library's door", () => {
  it("exports just this", () => {
    expect(Object.keys(headwater).sort()).toEqual([
      "HeadwaterError",
      "KeyedStream",
      "Pipeline",
      "Stream",
      "TimedStream",
      "count",
      "globalWindow",
      "lineage",
      "max",
      "mean",
      "min",
      "openAt",
      "ordinalToTime",
      "parameter",
      "pipeline",
      "reducer",
      "replay",
      "resumeReplay",
      "run",
      "session",
      "sliding",
      "start",
      "state",
      "sum",
      "timeToOrdinal",
      "tumbling",
      "whatIf",
    ]);
  });
});
