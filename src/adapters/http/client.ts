import { describeThrown } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import type { Clock } from "../../ports/clock.ts";
import type { HttpAnswer, HttpClient, HttpRequest } from "../../ports/http.ts";

/** Sends with Node's own client, which keeps connections open. */
export function createHttpClient(clock: Clock): HttpClient {
  return { post: (request) => post(request, clock) };
}

async function post(request: HttpRequest, clock: Clock): Promise<HttpAnswer> {
  const { url, headers, body, timeoutMs, signal } = request;
  const timeout = new AbortController();
  const cancel = clock.setTimeout(() => timeout.abort(), timeoutMs);
  try {
    const response = await fetch(url, {
      method: "POST",
      headers,
      body,
      redirect: "manual",
      signal: AbortSignal.any([signal, timeout.signal]),
    });
    const text = await firstOf(response);
    const retryAfterMs = waitOf(response.headers.get("retry-after"), clock.now());
    return { kind: "answered", status: response.status, text, retryAfterMs };
  } catch (error) {
    if (timeout.signal.aborted) return { kind: "failed", reason: `no answer within ${timeoutMs / 1_000} s` };
    return { kind: "failed", reason: reasonOf(error) };
  } finally {
    cancel();
  }
}

/** The first characters of an answer; what comes after them is not read. */
async function firstOf(response: Response): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length >= LIMITS.answerChars) break;
  }
  return text.slice(0, LIMITS.answerChars);
}

/** Seconds, or a date: RFC 9110, section 10.2.3. */
function waitOf(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** `fetch failed` says nothing; its cause does. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const code =
    typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : undefined;
  const words: Readonly<Record<string, string>> = {
    ECONNREFUSED: "nobody listens there",
    ECONNRESET: "the connection broke",
    UND_ERR_SOCKET: "the connection broke",
    ENOTFOUND: "there is no such host",
  };
  return words[code ?? ""] ?? (describeThrown(cause) || (code ?? "unknown"));
}
