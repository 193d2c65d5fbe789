import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { HttpAnswer, HttpClient } from "../ports/http.ts";
import { type Receiver, type ReceiverOptions, receiverOf } from "./http-receiver.ts";
import { type OutputBatch, type OutputRecord, type Preparation, toJson, type Waits } from "./sink-target.ts";
import { StreamTarget } from "./sink-targets.ts";

export interface HttpTargetOptions extends ReceiverOptions {
  readonly http: HttpClient;
  readonly clock: Clock;
  /** For one POST and its answer, in milliseconds. */
  readonly timeoutMs: number;
}

/** Answers after which the same batch may well be taken later. */
const LATER: ReadonlySet<number> = new Set([408, 425, 429]);

/**
 * POSTs records as JSON lines, one batch after the other, each with an `Idempotency-Key`. A batch whose answer is
 * not known is sent again, as it was, under the same key: who keeps the keys gets each record once, in order.
 */
export class HttpTarget extends StreamTarget {
  readonly id: string;
  readonly wantsRecords = true;
  readonly #options: HttpTargetOptions;
  readonly #receiver: Receiver;
  readonly #closed = new AbortController();

  /** Throws `BadUsage`: see `receiverOf`. */
  constructor(options: HttpTargetOptions) {
    super();
    this.#options = options;
    this.#receiver = receiverOf(options);
    this.id = `http:${this.#receiver.url}`;
  }

  /** The bounds of every batch are in the log before it is sent. */
  prepare(): Promise<Preparation> {
    return Promise.resolve({});
  }

  override async write(batch: OutputBatch, signal: AbortSignal, waits: Waits): Promise<boolean> {
    let from = 0;
    for (const lines of bodiesOf(batch.records)) {
      if (!(await this.#send(lines.join(""), batch.key(from, lines.length), signal, waits))) return false;
      from += lines.length;
    }
    return true;
  }

  override async close(): Promise<void> {
    this.#closed.abort();
  }

  /** Sends until it is taken. A signal that aborts ends the waiting between two tries, and not a try. */
  async #send(text: string, key: string, signal: AbortSignal, waits: Waits): Promise<boolean> {
    const { http, clock, timeoutMs } = this.#options;
    const { url } = this.#receiver;
    const headers = { ...this.#receiver.headers, "idempotency-key": key };
    const body = Buffer.from(text, "utf8");
    const either = AbortSignal.any([signal, this.#closed.signal]);
    let waited: string | undefined;
    for (
      let delayMs: number = LIMITS.sendAgainMs;
      ;
      delayMs = Math.min(2 * delayMs, LIMITS.sendAgainMsMost)
    ) {
      const answer = await http.post({
        url,
        headers,
        body,
        timeoutMs,
        signal: this.#closed.signal,
      });
      if (answer.kind === "answered" && answer.status >= 200 && answer.status < 300) {
        if (waited !== undefined) waits(undefined);
        return true;
      }
      this.#mayBeSentAgain(answer);
      if (either.aborted) return false;
      const reason = answer.kind === "failed" ? answer.reason : `HTTP ${answer.status}`;
      if (reason !== waited) waits(reason);
      waited = reason;
      const asked = answer.kind === "answered" ? (answer.retryAfterMs ?? 0) : 0;
      await sleep(clock, Math.max(delayMs, Math.min(asked, LIMITS.retryAfterMsMost)), either);
      if (either.aborted) return false;
    }
  }

  /** Throws `OutputRefused` for an answer that will not be another one later. */
  #mayBeSentAgain(answer: HttpAnswer): void {
    if (answer.kind === "failed" || answer.status >= 500 || LATER.has(answer.status)) return;
    const said = answer.text.trim() === "" ? "" : `: ${answer.text.trim()}`;
    const moved = answer.status >= 300 && answer.status < 400;
    throw new HeadwaterError("OutputRefused", `the receiver refused a batch: HTTP ${answer.status}${said}`, {
      where: this.#receiver.url,
      hint: moved
        ? "It names another address: give that one; redirects are not followed."
        : "Mend the receiver, or the pipeline, and run again: the same batch is then sent, under the same key.",
    });
  }
}

/** The lines of each body. How records are parted depends on them alone. */
function bodiesOf(records: readonly OutputRecord[]): string[][] {
  const bodies: string[][] = [];
  let body: string[] = [];
  let bytes = 0;
  for (const { value } of records) {
    const line = `${toJson(value)}\n`;
    const size = Buffer.byteLength(line);
    if (body.length > 0 && (bytes + size > LIMITS.postBytes || body.length >= LIMITS.postRecords)) {
      bodies.push(body);
      body = [];
      bytes = 0;
    }
    body.push(line);
    bytes += size;
  }
  return body.length === 0 ? bodies : [...bodies, body];
}
