import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How a receiver treats a batch: the status it answers with, or what it does instead. */
export type Treatment =
  | number
  /** Takes the batch, and breaks the connection off before it has answered. */
  | "take-and-break"
  /** Breaks the connection off without having looked at it. */
  | "break"
  /** Never answers. */
  | "hang";

/** A service on this machine that takes batches, each key once, as a receiver has to that wants each record once. */
export class Receiver {
  readonly #server: Server;
  readonly #treat: (batch: number) => Treatment | Promise<Treatment>;
  readonly #keys = new Set<string>();
  /** Lines of the batches that were taken, in the order in which they came. */
  readonly lines: string[] = [];
  /** Batches that came, and of these the ones whose keys were there already. */
  batches = 0;
  repeated = 0;
  readonly bodies = new Map<string, string>();
  /** Bodies that came under the key of another one. */
  readonly changed: string[] = [];

  private constructor(treat: (batch: number) => Treatment | Promise<Treatment>) {
    this.#treat = treat;
    this.#server = createServer((request, response) => {
      this.#take(request, response).catch(() => response.destroy());
    });
  }

  /** `treat` is told the how-many-th batch it is, from 0. */
  static async start(
    treat: (batch: number) => Treatment | Promise<Treatment> = () => 200,
    port = 0,
  ): Promise<Receiver> {
    const receiver = new Receiver(treat);
    receiver.#server.listen(port, "127.0.0.1");
    await once(receiver.#server, "listening");
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/batches`;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const treatment = await this.#treat(this.batches++);
    if (treatment === "break") {
      request.socket.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (treatment === "hang") return;
    if (treatment === "take-and-break" || (treatment >= 200 && treatment < 300)) {
      this.#keep(String(request.headers["idempotency-key"]), Buffer.concat(chunks).toString("utf8"));
    }
    if (treatment === "take-and-break") request.socket.destroy();
    else response.writeHead(treatment, { "content-type": "text/plain" }).end(`said ${treatment}`);
  }

  #keep(key: string, body: string): void {
    const before = this.bodies.get(key);
    if (before !== undefined && before !== body) this.changed.push(body);
    this.bodies.set(key, body);
    if (this.#keys.has(key)) {
      this.repeated++;
      return;
    }
    this.#keys.add(key);
    this.lines.push(...body.trimEnd().split("\n"));
  }
}
