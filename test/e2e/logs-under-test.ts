import { randomUUID } from "node:crypto";
import { join } from "node:path";

/** A kind of log that tests with real processes run on. */
export interface LogUnderTest {
  readonly name: string;
  /** What `--log` is given for a new log; `folder` is the test's own. */
  spec(folder: string): string;
}

const lmdb: LogUnderTest = { name: "lmdb", spec: (folder) => `lmdb:${join(folder, ".headwater")}` };

/** LMDB, and the server that `HEADWATER_TEST_ESDB` names, if it is set: there each log has a prefix of its own. */
export const logsUnderTest: readonly LogUnderTest[] = [lmdb, ...esdb(process.env["HEADWATER_TEST_ESDB"])];

function esdb(server: string | undefined): LogUnderTest[] {
  if (server === undefined || server === "") return [];
  const option = server.includes("?") ? "&prefix=" : "?prefix=";
  return [{ name: "eventstoredb", spec: () => `${server}${option}test-${randomUUID()}` }];
}
