import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** The network between a client and the test server: it can be cut, frozen, and gone. */
export class Network {
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;
  #frozen = false;
  /** Connections made so far. */
  connections = 0;

  constructor(target: number) {
    this.#target = target;
  }

  get port(): number {
    return this.#port;
  }

  /** Ends of connections that are open now. */
  get connected(): number {
    return this.#sockets.size;
  }

  /** Listens, on the same port as before if there was one. */
  async open(): Promise<void> {
    const server = createServer((inside) => this.#join(inside));
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Cuts all connections, without a word. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Lets nothing through, in either direction, until it is thawed. */
  freeze(): void {
    this.#frozen = true;
    for (const socket of this.#sockets) socket.pause();
  }

  thaw(): void {
    this.#frozen = false;
    for (const socket of this.#sockets) socket.resume();
  }

  /** Cuts all connections and takes no more: a server that is down. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = once(server, "close");
    server.close();
    this.reset();
    await closed;
  }

  #join(inside: Socket): void {
    this.connections += 1;
    const outside = connect(this.#target, "127.0.0.1");
    for (const [from, to] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on("error", () => {});
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
      if (this.#frozen) from.pause();
    }
  }
}
