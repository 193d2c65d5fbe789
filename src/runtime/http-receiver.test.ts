import { describe, expect, it } from "vitest";
import { BLOCKED_PORTS, receiverOf } from "./http-receiver.ts";

describe("what can never be sent is refused before anything is taken in", () => {
  const refusal = (url: string, headers: unknown = {}) => {
    try {
      receiverOf({ sink: "out", url, headers: headers as Record<string, string> });
      return "taken";
    } catch (error) {
      expect(error).toMatchObject({ code: "BadUsage" });
      return `${(error as Error).message}: ${(error as { where?: string }).where}`;
    }
  };

  it.each([
    ["http://host:6000/x", {}, "port 6000 belongs to another service"],
    ["https://host:22/x", {}, "port 22 belongs"],
    ["http://a:%zz@host/x", {}, "the user or password in its address is no text in percent-encoding"],
    ["http://%ff@host/x", {}, "the user or password"],
    ["http://host/x", { "a b": "x" }, '"a b" is no name of a header'],
    ["http://host/x", { "": "x" }, '"" is no name of a header'],
    ["http://host/x", { a: "x\ny" }, 'the value of the header "a" cannot be sent'],
    ["http://host/x", { a: "€" }, 'the value of the header "a" cannot be sent'],
    ["http://host/x", { a: 5 }, 'the header "a" is no text'],
    ["http://host/x", 5, "its headers are no object"],
    ["http://host/x", null, "its headers are no object"],
    ["http://host/x", { "Idempotency-Key": "mine" }, 'the header "Idempotency-Key" is the sink\'s own'],
    ["http://host/x", { "Content-Type": "text/x" }, 'the header "Content-Type" is the sink\'s own'],
    ["http://host/x", { Connection: "x" }, 'the header "Connection" is that of the connection'],
    ["http://host/x", { "X-A": "1", "x-a": "2" }, 'the header "x-a" is given twice'],
    ["http://a:b@host/x", { Authorization: "Bearer x" }, 'the header "Authorization" is given twice'],
  ])("%s %j", (url, headers, what) => {
    const told = refusal(url, headers);
    expect(told).toContain(`the sink "out" cannot send to its receiver: ${what}`);
    expect(told).not.toMatch(/@|€|mine/);
  });

  it("and all else is taken, under names that cannot be merged with others", () => {
    const headers = { Authorization: "Bearer x", "X-Team": " a " };
    expect(receiverOf({ sink: "out", url: "http://host:8080/x", headers })).toEqual({
      url: "http://host:8080/x",
      headers: { "content-type": "application/x-ndjson", authorization: "Bearer x", "x-team": "a" },
    });
  });

  it("knows only ports that fetch refuses, too", async () => {
    // Nobody can listen on port 0, which some versions of Node try to reach nevertheless.
    for (const port of [...BLOCKED_PORTS].filter((port) => port !== 0)) {
      const failed = await fetch(`http://127.0.0.1:${port}/`, { method: "POST" }).catch(
        (error) => (error as { cause?: Error }).cause?.message,
      );
      expect(failed, String(port)).toBe("bad port");
    }
  });
});
