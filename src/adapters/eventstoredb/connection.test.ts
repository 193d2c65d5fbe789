import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { collect, event, readTexts } from "../../../test/contract/event-log/harness.ts";
import { makeCertificate } from "../../../test/esdb-server/certificate.ts";
import { esdbTests } from "../../../test/esdb-server/harness.ts";
import { parseTarget } from "./target.ts";

const { startServer, open } = esdbTests();
const PASSWORD = "p%/ss?wörd&geheim";
const ENCODED = encodeURIComponent(PASSWORD);
const user = { name: "admin", password: PASSWORD };

let folder = "";
let tls = { certificate: "", key: "" };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-esdb-"));
  tls = await makeCertificate();
  await writeFile(join(folder, "ca.pem"), tls.certificate);
  await writeFile(join(folder, "other.pem"), (await makeCertificate()).certificate);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const secure = (port: number, credentials: string, ca = "ca.pem") =>
  `esdb://${credentials}localhost:${port}?tlsCAFile=${encodeURIComponent(join(folder, ca))}`;

/** All that a user, or whoever reads logs, may get to see of an error. */
async function shownBy(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => {
      throw new Error("it did not fail");
    },
    (thrown: unknown) => thrown,
  );
  return inspect(error, { depth: 20, showHidden: true, getters: true });
}

describe("a secure server", () => {
  test("takes user and password", async () => {
    const server = await startServer({ tls, user });
    const log = await open(secure(server.port, `admin:${ENCODED}@`));
    await log.append("a", "no-stream", [event("0")]);
    expect(await readTexts(log.read("a"))).toEqual(["0"]);
    for (const { data, metadata } of server.store.all) {
      for (const bytes of [data, metadata]) expect(Buffer.from(bytes).toString()).not.toContain(PASSWORD);
    }
  });

  test("does not take a wrong password, or none", async () => {
    const server = await startServer({ tls, user });
    for (const credentials of ["admin:wrong@", ""]) {
      await expect(open(secure(server.port, credentials))).rejects.toMatchObject({
        code: "LogDenied",
        hint: expect.stringContaining("user"),
        where: `esdb://localhost:${server.port}`,
      });
    }
  });

  test("that takes it no more says so while the log is open, and takes it again when it does", async () => {
    const server = await startServer({ tls, user });
    const log = await open(secure(server.port, `admin:${ENCODED}@`));
    await log.append("a", "no-stream", [event("0")]);
    server.user = { ...user, password: "changed" };
    await expect(collect(log.read("a"))).rejects.toMatchObject({ code: "LogDenied" });
    server.network.reset();
    await expect(log.append("a", 0, [event("1")])).rejects.toMatchObject({ code: "LogDenied" });
    server.user = user;
    expect((await log.append("a", 0, [event("1")])).revision).toBe(1);
  });

  test("with a certificate that is not trusted is not connected to", async () => {
    const server = await startServer({ tls });
    await expect(open(secure(server.port, "", "other.pem"))).rejects.toMatchObject({
      code: "LogDenied",
      message: expect.stringContaining("certificate"),
      hint: expect.stringContaining("tlsCAFile"),
    });
    expect(server.calls).toEqual([]);
  });

  test("of a cluster, too: why none of its nodes can be asked who leads is told", async () => {
    const server = await startServer({ tls });
    const one = secure(server.port, "", "other.pem");
    for (const url of [
      one.replace("localhost", `localhost:${server.port},127.0.0.1`),
      one.replace("esdb:", "esdb+discover:"),
    ]) {
      await expect(open(url)).rejects.toMatchObject({
        code: "LogDenied",
        message: expect.stringContaining("certificate"),
        hint: expect.stringContaining("tlsCAFile"),
      });
    }
  });

  test("whose name is not that of its certificate is not connected to", async () => {
    const elsewhere = await makeCertificate("elsewhere.example");
    await writeFile(join(folder, "elsewhere.pem"), elsewhere.certificate);
    const server = await startServer({ tls: elsewhere });
    await expect(open(secure(server.port, "", "elsewhere.pem"))).rejects.toMatchObject({ code: "LogDenied" });
  });

  test("and one that is not are told apart", async () => {
    const plain = await startServer();
    await expect(open(secure(plain.port, ""))).rejects.toMatchObject({
      code: expect.stringMatching(/LogDenied|LogUnavailable/),
      hint: expect.stringContaining("tls=false"),
    });
    const server = await startServer({ tls });
    await expect(open(server.url)).rejects.toMatchObject({ code: "LogUnavailable" });
  });

  test("needs a file that is there, and is one in PEM", async () => {
    await writeFile(join(folder, "notes.md"), "# Where the certificate is");
    for (const ca of ["missing.pem", "notes.md"]) {
      await expect(open(secure(1, "", ca))).rejects.toMatchObject({
        code: "BadUsage",
        message: expect.stringContaining("tlsCAFile"),
        hint: expect.stringContaining("PEM"),
      });
    }
  });
});

describe("a server that is not there", () => {
  test("is told with its address and what to check", async () => {
    const server = await startServer();
    await server.network.close();
    for (const url of [
      server.url,
      `${server.url.replace("esdb:", "esdb+discover:")}&maxDiscoverAttempts=1`,
    ]) {
      await expect(open(url)).rejects.toMatchObject({
        code: "LogUnavailable",
        message: expect.not.stringMatching(/\.$/),
        hint: expect.stringContaining("address"),
        where: expect.stringContaining(`127.0.0.1:${server.port}`),
      });
    }
  });

  test("or is something else than an EventStoreDB", async () => {
    const other: Server = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await new Promise<void>((resolve) => {
      other.listen(0, "127.0.0.1", resolve);
    });
    const address = other.address();
    const port = typeof address === "object" ? address?.port : 0;
    await expect(open(`esdb://127.0.0.1:${port}?tls=false`)).rejects.toMatchObject({
      code: "LogUnavailable",
    });
    other.close();
  });
});

describe("the password", () => {
  test("is in no error and on no console, whatever goes wrong", async () => {
    const written: string[] = [];
    const spies = (["log", "info", "warn", "error", "debug", "trace"] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation((...all) => void written.push(inspect(all))),
    );
    const credentials = `admin:${ENCODED}@`;
    const secured = await startServer({ tls, user: { name: "admin", password: "another" } });
    const plain = await startServer();
    const shown = [
      await shownBy(open(secure(secured.port, credentials))),
      await shownBy(open(secure(secured.port, credentials, "other.pem"))),
      await shownBy(open(secure(plain.port, credentials))),
      await shownBy(open(`esdb://${credentials}127.0.0.1:1?tls=false`)),
      await shownBy(open(`esdb+discover://${credentials}127.0.0.1:1?maxDiscoverAttempts=1`)),
      await shownBy((async () => parseTarget(`esdb://${credentials}127.0.0.1:x`))()),
      await shownBy((async () => parseTarget(`esdb://${credentials}127.0.0.1?keepAliveInterval=1`))()),
      ...written,
    ];
    for (const spy of spies) spy.mockRestore();
    const basic = Buffer.from(`admin:${PASSWORD}`).toString("base64");
    for (const text of shown) {
      for (const secret of [PASSWORD, ENCODED, basic, "geheim"]) expect(text).not.toContain(secret);
    }
    expect(written).toEqual([]);
  });
});

describe("several logs on a server", () => {
  test("each under its prefix, do not see each other", async () => {
    const server = await startServer();
    const one = await open(`${server.url}&prefix=one`);
    const other = await open(`${server.url}&prefix=other`);
    expect(one.id).not.toBe(other.id);
    await one.append("steps_a.b.0000", "no-stream", [event("one")]);
    await other.append("steps_a.b.0000", "no-stream", [event("other")]);
    for (const [log, text] of [
      [one, "one"],
      [other, "other"],
    ] as const) {
      expect(await readTexts(log.readAll())).toEqual([text]);
      expect(await readTexts(log.readAll({ filter: { prefixes: ["steps_a."] } }))).toEqual([text]);
      expect((await collect(log.streams())).map(({ stream }) => stream)).toEqual(["steps_a.b.0000"]);
    }
    expect((await open(`${server.url}&prefix=one`)).id).toBe(one.id);
  });

  test("or one has it to itself, its id aside", async () => {
    const server = await startServer();
    const log = await open(server.url);
    expect(await collect(log.readAll())).toEqual([]);
    expect(await collect(log.streams())).toEqual([]);
    await expect(log.append("headwater_log", "any", [event()])).rejects.toMatchObject({ code: "BadName" });
  });
});

describe("opening", () => {
  test("only to read does not make a log", async () => {
    const server = await startServer();
    await expect(open(server.url, { readOnly: true })).rejects.toMatchObject({
      code: "LogMissing",
      message: expect.stringContaining("no log"),
    });
    expect(server.store.all).toEqual([]);
  });

  test("by many at once makes one log", async () => {
    const server = await startServer();
    const logs = await Promise.all(Array.from({ length: 8 }, () => open(server.url)));
    expect(new Set(logs.map(({ id }) => id)).size).toBe(1);
  });

  test("of what is not a log of this version is refused", async () => {
    for (const [data, code] of [
      ['{"version":2,"id":"x"}', "LogTooNew"],
      ["{}", "LogForeign"],
      ["nonsense", "LogForeign"],
    ] as const) {
      const server = await startServer();
      const id = "00000000-0000-4000-8000-000000000000";
      const stored = {
        id,
        type: "LogCreated",
        json: false,
        data: Buffer.from(data),
        metadata: Buffer.from(""),
      };
      server.store.append("headwater_log", "any", [stored]);
      await expect(open(server.url)).rejects.toMatchObject({ code });
    }
  });
});
