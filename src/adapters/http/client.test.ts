import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { createSystemClock } from "../system/clock.ts";
import { createHttpClient } from "./client.ts";

it.each([
  ["7", 7_000],
  ["0", 0],
  ["Thu, 01 Jan 2026 00:00:05 GMT", 5_000],
  ["Thu, 01 Jan 2015 00:00:00 GMT", 0],
  ["soon", undefined],
  [undefined, undefined],
])("reads how long a receiver asks to wait: Retry-After: %s", async (header, retryAfterMs) => {
  const server = createServer((_request, response) => {
    response.writeHead(503, header === undefined ? {} : { "retry-after": header }).end("busy");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const clock = { ...createSystemClock(), now: () => Date.parse("2026-01-01T00:00:00Z") };
    const answer = await createHttpClient(clock).post({
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
      headers: {},
      body: Buffer.from("1\n"),
      timeoutMs: 10_000,
      signal: new AbortController().signal,
    });
    expect(answer).toEqual({ kind: "answered", status: 503, text: "busy", retryAfterMs });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
