import { describe, expect, it } from "vitest";
import { commitFault, fault } from "./faults.ts";

const thrown = (message: string, code: number) => Object.assign(new Error(message), { code });

describe("what LMDB throws", () => {
  it.each([
    ["MDB_CORRUPTED", -30796],
    ["MDB_BAD_TXN: Transaction must abort, has a child, or is invalid", -30782],
    ["MDB_CURSOR_FULL: Internal error - cursor stack limit reached", -30787],
  ])("is damage to a reader: %s", (message, code) => {
    expect(fault(thrown(message, code), "dir")).toMatchObject({ code: "LogDamaged", where: "dir" });
  });

  it("is no damage to a writer whose transaction was given up", async () => {
    expect(await commitFault(thrown("MDB_BAD_TXN", -30782), "dir", 0)).toMatchObject({
      code: "LogUnavailable",
    });
  });
});
