import { afterAll, beforeAll } from "vitest";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { followTests } from "../e2e/following.ts";
import { TestServer } from "../esdb-server/server.ts";
import { programTests, withNewPrefix } from "./program.ts";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start({ clock: createSystemClock() });
});
afterAll(() => server.stop());

programTests("the test server", { newLog: () => withNewPrefix(server.url), blows: 6 });
followTests("the test server", () => withNewPrefix(server.url));
