import type { MessagePort } from "node:worker_threads";

/**
 * What one side of a port says in a turn: frames of plain data, and behind them all bytes that they announce, in one
 * buffer that is handed over instead of being copied once more.
 */
interface Packet {
  readonly frames: readonly unknown[];
  readonly bytes: ArrayBuffer;
}

/** Says frames, all of a turn together. */
export class Outbox<Frame> {
  readonly #port: MessagePort;
  #frames: Frame[] = [];
  #parts: Uint8Array[] = [];
  #size = 0;
  #closed = false;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  /** Says `frame` at the end of this turn; `parts` are the bytes that it announces, and must not change until then. */
  say(frame: Frame, parts: readonly Uint8Array[] = []): void {
    if (this.#closed) return;
    if (this.#frames.length === 0) setImmediate(() => this.#flush());
    this.#frames.push(frame);
    for (const part of parts) {
      this.#parts.push(part);
      this.#size += part.length;
    }
  }

  /** Says what is left, and then nothing more. */
  close(): void {
    this.#flush();
    this.#closed = true;
  }

  #flush(): void {
    if (this.#closed || this.#frames.length === 0) return;
    const bytes = new ArrayBuffer(this.#size);
    const view = new Uint8Array(bytes);
    let at = 0;
    for (const part of this.#parts) {
      view.set(part, at);
      at += part.length;
    }
    const packet: Packet = { frames: this.#frames, bytes };
    this.#frames = [];
    this.#parts = [];
    this.#size = 0;
    this.#port.postMessage(packet, [bytes]);
  }
}

/** Takes the next `length` bytes that the frame at hand announces. */
export type TakeBytes = (length: number) => Uint8Array;

/** Calls `hear` for each frame that the other side says, in order. It has to take all bytes of a frame. */
export function listen<Frame>(port: MessagePort, hear: (frame: Frame, take: TakeBytes) => void): void {
  port.on("message", ({ frames, bytes }: Packet) => {
    let at = 0;
    const take: TakeBytes = (length) => {
      const part = new Uint8Array(bytes, at, length);
      at += length;
      return part;
    };
    for (const frame of frames) hear(frame as Frame, take);
  });
}
