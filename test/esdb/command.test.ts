import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { headwater, projectFile, Workplace } from "../e2e/command.ts";
import { orderLines } from "../e2e/workload.ts";
import { makeCertificate } from "../esdb-server/certificate.ts";
import { TestServer, type TestServerOptions } from "../esdb-server/server.ts";

const PASSWORD = "s3cr3t/pass word";
const ENCODED = encodeURIComponent(PASSWORD);

const place = new Workplace();
const servers: TestServer[] = [];
let cwd: string;

beforeAll(async () => {
  cwd = await place.folder();
  writeFileSync(join(cwd, "orders.jsonl"), orderLines(50, 3));
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});
afterAll(() => place.clear());

async function startServer(options: Partial<TestServerOptions> = {}): Promise<TestServer> {
  const server = await TestServer.start({ clock: createSystemClock(), ...options });
  servers.push(server);
  return server;
}

const RUN = ["run", projectFile("test/e2e/fixtures/busy.ts"), "--input", "orders=orders.jsonl"];

function mustHideThePassword({ stdout, stderr }: { readonly stdout: string; readonly stderr: string }): void {
  const basic = Buffer.from(`admin:${PASSWORD}`).toString("base64");
  for (const secret of [PASSWORD, ENCODED, basic, "s3cr3t"]) {
    expect(stdout).not.toContain(secret);
    expect(stderr).not.toContain(secret);
  }
}

describe("headwater with an EventStoreDB", () => {
  it("that is not there exits with 3, and says what to check", async () => {
    const log = `esdb://admin:${ENCODED}@127.0.0.1:1?tls=false`;
    const ended = await headwater([...RUN, "--log", log, "--json", "--verbose"], { cwd });
    expect(ended.code).toBe(3);
    expect(JSON.parse(ended.stderr.split("\n")[0] ?? "")).toMatchObject({
      error: {
        code: "LogUnavailable",
        where: "esdb://127.0.0.1:1",
        hint: expect.stringContaining("address"),
      },
    });
    mustHideThePassword(ended);
  });

  it("that does not take the password exits with 3; that takes it from the environment, works", async () => {
    const tls = await makeCertificate();
    writeFileSync(join(cwd, "ca.pem"), tls.certificate);
    const server = await startServer({ tls, user: { name: "admin", password: PASSWORD } });
    const log = `esdb://localhost:${server.port}?tlsCAFile=ca.pem`;
    const env = (password: string) => ({ HEADWATER_ESDB_USER: "admin", HEADWATER_ESDB_PASSWORD: password });
    const denied = await headwater([...RUN, "--log", log, "--verbose"], { cwd, env: env("wrong") });
    expect(denied.code).toBe(3);
    expect(denied.stderr).toContain("password");
    const ended = await headwater([...RUN, "--log", log, "--tour"], { cwd, env: env(PASSWORD) });
    expect(ended.code, ended.stderr).toBe(0);
    expect(ended.stderr).not.toMatch(/warning|deprecat/i);
    mustHideThePassword(ended);
    const named = `esdb://admin:${ENCODED}@localhost:${server.port}?tlsCAFile=ca.pem`;
    const again = await headwater([...RUN, "--log", named, "--tour", "--verbose"], { cwd });
    expect(again.code, again.stderr).toBe(0);
    expect(again.stdout).toContain(`--log 'esdb://localhost:${server.port}?tlsCAFile=ca.pem'`);
    mustHideThePassword(again);
    for (const { data, metadata } of server.store.all) {
      for (const bytes of [data, metadata]) expect(Buffer.from(bytes).toString()).not.toContain("s3cr3t");
    }
  });

  it.each([
    `esdb://admin:${ENCODED}@`,
    "esdb://admin:s3cr3t@host?unknown=1",
    "esdb://admin:s3cr3t@host:port",
    "esdb:/admin:s3cr3t@host",
    "esbd://admin:s3cr3t@host",
    "esdb://admin:?s3cr3t@host",
  ])("named wrongly exits with 2: %s", async (log) => {
    const ended = await headwater([...RUN, "--log", log, "--verbose"], { cwd });
    expect(ended.code).toBe(2);
    mustHideThePassword(ended);
  });

  it("is looked into without being made", async () => {
    const server = await startServer();
    const ended = await headwater(["log", "streams", "--log", server.url], { cwd });
    expect(ended.code).toBe(3);
    expect(ended.stderr).toContain("no log");
    expect(server.store.all).toEqual([]);
  });

  it("is loaded only by who uses one", () => {
    const compose = projectFile("dist/src/runtime/compose.js");
    const script = `
      import { createRequire } from "node:module";
      const { openLog } = await import(${JSON.stringify(compose)});
      await (await openLog("memory:")).close();
      const loaded = Object.keys(createRequire(import.meta.url).cache);
      console.log(loaded.filter((path) => /grpc|db-client|protobuf/.test(path)).length);
    `;
    const counted = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
    });
    expect(counted.trim()).toBe("0");
  });
});
