/** Sends batches to services. */
export interface HttpClient {
  /** One POST, without redirects. Never throws: what kept an answer from coming is an answer of its own. */
  post(request: HttpRequest): Promise<HttpAnswer>;
}

export interface HttpRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** For the whole exchange, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export type HttpAnswer =
  | {
      readonly kind: "answered";
      readonly status: number;
      /** The first characters of the body. */
      readonly text: string;
      /** What the service asks to wait, in milliseconds. */
      readonly retryAfterMs: number | undefined;
    }
  /** Nobody answered, or not in time: whether the service got the request is not known. */
  | { readonly kind: "failed"; readonly reason: string };
