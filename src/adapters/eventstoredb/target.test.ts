import { describe, expect, test } from "vitest";
import { HeadwaterError } from "../../core/errors.ts";
import { describeTarget, isTarget, parseTarget } from "./target.ts";

const PASSWORD = "s3cr3t";

function refusal(text: string, environment: Record<string, string> = {}): HeadwaterError {
  try {
    parseTarget(text, environment);
  } catch (error) {
    if (error instanceof HeadwaterError) return error;
    throw error;
  }
  throw new Error(`not refused: ${text}`);
}

describe("a connection string", () => {
  test("names a node, with the usual port and TLS unless it says otherwise", () => {
    expect(parseTarget("esdb://db.example.org")).toEqual({
      endpoints: [{ address: "db.example.org", port: 2113 }],
      discover: false,
      tls: {},
      credentials: undefined,
      prefix: "",
      nodePreference: "leader",
      numbers: {},
      connectionName: undefined,
    });
    expect(parseTarget("esdb://localhost:1234/?tls=false")).toMatchObject({
      endpoints: [{ address: "localhost", port: 1234 }],
      tls: undefined,
    });
  });

  test("names several nodes, or a name that stands for them", () => {
    expect(parseTarget("esdb://a:1,b,[::1]:3").endpoints).toEqual([
      { address: "a", port: 1 },
      { address: "b", port: 2113 },
      { address: "[::1]", port: 3 },
    ]);
    expect(parseTarget("esdb+discover://cluster")).toMatchObject({
      endpoints: [{ address: "cluster", port: 2113 }],
      discover: true,
    });
    expect(refusal("esdb+discover://a,b").code).toBe("BadUsage");
  });

  test("has a user and a password, percent-encoded", () => {
    const { credentials } = parseTarget("esdb://ad%40min:p%3Aa%2Fs%25s@host");
    expect(credentials).toEqual({ username: "ad@min", password: "p:a/s%s" });
    expect(parseTarget("esdb://u:a:b@c@host").credentials).toEqual({ username: "u", password: "a:b@c" });
  });

  test("leaves them to the environment", () => {
    const environment = { HEADWATER_ESDB_USER: "ops", HEADWATER_ESDB_PASSWORD: PASSWORD };
    expect(parseTarget("esdb://host", environment).credentials).toEqual({
      username: "ops",
      password: PASSWORD,
    });
    expect(parseTarget("esdb://admin@host", environment).credentials?.username).toBe("admin");
    expect(parseTarget("esdb://a:b@host", environment).credentials).toEqual({ username: "a", password: "b" });
    const empty = { HEADWATER_ESDB_USER: "", HEADWATER_ESDB_PASSWORD: "" };
    expect(parseTarget("esdb://host", empty).credentials).toBeUndefined();
    expect(parseTarget("esdb://admin:own@host", environment).credentials?.password).toBe("own");
    expect(refusal("esdb://admin@host").code).toBe("BadUsage");
    expect(refusal("esdb://host", { HEADWATER_ESDB_PASSWORD: PASSWORD }).hint).toContain(
      "HEADWATER_ESDB_USER",
    );
  });

  test("has options, whatever the case of their names", () => {
    const target = parseTarget(
      "esdb://host?TLSCAFile=ca%20file.pem&userCertFile=c&userKeyFile=k&node-preference=readOnlyReplica" +
        "&keepAliveInterval=20000&keepAliveTimeout=5000&maxDiscoverAttempts=5&prefix=team-a&connectionName=x",
    );
    expect(target).toMatchObject({
      tls: { authorities: "ca file.pem", certificate: "c", key: "k" },
      nodePreference: "read_only_replica",
      numbers: { keepAliveInterval: 20_000, keepAliveTimeout: 5_000, maxDiscoverAttempts: 5 },
      prefix: "team-a.",
      connectionName: "x",
    });
  });

  test.each([
    "esdb://",
    "esdb://host:0",
    "esdb://host:99999",
    "esdb://host:port",
    "esdb://host?tls",
    "esdb://host?tls=",
    "esdb://host?tls=maybe",
    "esdb://host?tlsVerifyCert=false",
    "esdb://host?throwOnAppendFailure=false",
    "esdb://host?keepAliveInterval=10",
    "esdb://host?keepAliveInterval=-1",
    "esdb://host?gossipTimeout=soon",
    "esdb://host?prefix=a.b",
    "esdb://host?prefix=%24",
    "esdb://host?userCertFile=c",
    "esdb://host?tls=false&tls=true",
    "esdb://host?nodePreference=best",
    "esdb://host?tlsCAFile=%zz",
    "kurrentdb://host",
  ])("is refused, with what to do: %s", (text) => {
    const error = refusal(text);
    expect(error).toMatchObject({ code: "BadUsage", where: "--log" });
    expect(error.hint).not.toBe("");
  });

  test.each([
    `esdb://u:${PASSWORD}@`,
    `esdb://u:${PASSWORD}@host:port`,
    `esdb://u:${PASSWORD}@host?unknown=1`,
    `esdb://u:${PASSWORD}/x@host`,
    `esdb://u:?${PASSWORD}@host`,
    `esdb://u:?${PASSWORD}=1@host`,
    `esdb://u:#${PASSWORD}@host`,
    `esdb://u:%zz${PASSWORD}@host`,
    `esdb:u:${PASSWORD}@host`,
    `esdb//u:${PASSWORD}@host`,
    `esdb://u:${PASSWORD}`,
    `esdb://host?${PASSWORD}@x=y`,
    `esdb://:${PASSWORD}@host`,
  ])("that is refused is not repeated where it may hold a password: %s", (text) => {
    const { message, hint, where, stack } = refusal(text);
    for (const shown of [message, hint, where, stack?.split("\n")[0]]) expect(shown).not.toContain(PASSWORD);
  });

  test("with an option that is not known is told which one, as it was written", () => {
    expect(refusal("esdb://host?tlsVerifyCert=false").message).toContain("tlsVerifyCert");
  });

  test("is named without what is nobody's business", () => {
    expect(describeTarget(parseTarget(`esdb://u:${PASSWORD}@a:1,b?tls=false`))).toBe("esdb://a:1,b:2113");
    expect(describeTarget(parseTarget("esdb+discover://c"))).toBe("esdb+discover://c:2113");
    expect(describeTarget(parseTarget("esdb://a?tls=false&prefix=one"))).toBe("esdb://a:2113?prefix=one");
  });

  test("is told from other logs", () => {
    for (const text of ["esdb://host", "esdb+discover://host", "ESDB://host", "esdb:host"]) {
      expect(isTarget(text)).toBe(true);
    }
    for (const text of ["lmdb:esdb", "memory:", "esdbx://host"]) expect(isTarget(text)).toBe(false);
  });
});
