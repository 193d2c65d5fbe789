import { HeadwaterError } from "../core/errors.ts";
import { errorTold } from "../core/told-error.ts";
import type { CancelTimer, Clock } from "../ports/clock.ts";
import type { Append, EventLog } from "../ports/event-log.ts";
import type { Thread, ThreadEnd, Threads } from "../ports/threads.ts";
import type { Activity } from "./pressure.ts";
import { recordsReferredBy } from "./referred-events.ts";
import type { FromNode, NodeSeed, ToNode, UnitStep } from "./thread-messages.ts";
import { UntoldSteps } from "./untold-steps.ts";
import { beatsOf, type SeenWork, seenWork, sharedMarks } from "./work-marks.ts";

/** How the threads of nodes are to be. */
export interface ThreadSettings {
  /** A thread that is at one record for so many milliseconds without a word is ended. */
  readonly hangAfterMs: number;
  /** Most of its JavaScript heap that a thread may use, in MiB. */
  readonly memoryMb: number;
}

/** Why a thread is not there any more although it was not let go of. */
export type ThreadLoss =
  | Exclude<ThreadEnd, { readonly kind: "ended" }>
  | { readonly kind: "hanging" }
  | { readonly kind: "killed" };

export interface NodeThreadOptions {
  readonly node: string;
  readonly threads: Threads;
  readonly settings: ThreadSettings;
  readonly log: EventLog;
  readonly clock: Clock;
  readonly seed: NodeSeed;
  /** All units that a node may be given, in the order of the plan. */
  readonly units: readonly string[];
  onProgress(progress: Progress): void;
  onActivity(unit: string, activity: Activity): void;
  /** What it has appended is in the log: it is told so as soon as it listens. */
  onAppended(appends: readonly Append[]): void;
  /** A record is about to come back with this ordinal. */
  onPutBack(ordinal: number): void;
  /** Called once if it was lost, before what was asked of the thread fails. */
  onLost(lost: ThreadLoss, seen: SeenWork, untold: UntoldSteps): void;
  /** Called once if it was let go of: it may have ended before it told all that it has recorded. */
  onEnded(untold: UntoldSteps): void;
}

type Progress = Extract<FromNode, { readonly kind: "progress" }>;

interface Asked {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** How often a thread is looked at, as a part of the time after which it counts as hanging. */
const LOOKS = 20;

/** The thread of one node: asks it for what its workers are to do, and sees when it is gone or answers no more. */
export class NodeThread {
  readonly #options: NodeThreadOptions;
  readonly #shared: SharedArrayBuffer;
  readonly #thread: Thread;
  readonly #asked = new Map<string, Asked>();
  readonly #untold = new UntoldSteps();
  readonly #ended: Promise<void>;
  #cancelLook: CancelTimer = () => {};
  /** Why it was ended, if it was not by itself. */
  #reason: "hanging" | "killed" | "let-go" | undefined;
  /** Why nothing can be asked of it any more. */
  #failure: Error | undefined;

  constructor(options: NodeThreadOptions) {
    this.#options = options;
    const { node, threads, log, seed, settings, units } = options;
    this.#shared = sharedMarks(units.length);
    this.#thread = threads.start({
      name: node,
      log,
      seed,
      shared: this.#shared,
      memoryMb: settings.memoryMb,
      onMessage: (message) => this.#hear(message as FromNode),
      onAppended: (appends, answers) => {
        this.#untold.appended(appends, answers);
        options.onAppended(appends);
      },
      referredBy: recordsReferredBy,
    });
    this.#ended = this.#thread.ended.then((end) => this.#onEnded(end));
    this.#look();
  }

  say(message: ToNode): void {
    if (this.#failure === undefined) this.#thread.post(message);
  }

  /** Asks for a step of a worker. Rejects with what it fails with, or `NodeLost` when the thread is gone. */
  ask(key: string, step: UnitStep): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#asked.set(`${step} ${key}`, { resolve, reject });
      this.#thread.post({ kind: "step", key, step } satisfies ToNode);
    });
  }

  /** Ends it where it is, as if it had died; for tests. */
  kill(): void {
    this.#end("killed");
  }

  /** Lets go of it; after `graceMs` it is ended where it is. What is still asked of it fails. */
  async close(graceMs: number): Promise<void> {
    this.#reason ??= "let-go";
    this.#cancelLook();
    await this.#thread.end(graceMs);
    await this.#ended;
  }

  #end(reason: "hanging" | "killed"): void {
    this.#reason ??= reason;
    void this.#thread.end(0);
  }

  #hear(message: FromNode): void {
    if (message.kind === "failed") {
      this.#fail(errorTold(message.error));
      return;
    }
    if (message.kind === "progress") {
      for (const [stream, revision] of message.recorded) this.#untold.told(stream, revision);
      this.#options.onProgress(message);
      return;
    }
    if (message.kind === "activity") {
      this.#options.onActivity(message.unit, message.activity);
      return;
    }
    if (message.kind === "putBack") {
      this.#options.onPutBack(message.ordinal);
      return;
    }
    const name = `${message.step} ${message.key}`;
    const asked = this.#asked.get(name);
    this.#asked.delete(name);
    if (message.error === undefined) asked?.resolve();
    else asked?.reject(errorTold(message.error));
  }

  #onEnded(end: ThreadEnd): void {
    this.#cancelLook();
    const { node, units, onLost, onEnded } = this.#options;
    const lost = end.kind !== "ended" ? end : this.#reason === "let-go" ? undefined : this.#reason;
    if (lost !== undefined && this.#reason !== "let-go") {
      const loss: ThreadLoss = typeof lost === "string" ? { kind: lost } : lost;
      onLost(loss, seenWork(this.#shared, units), this.#untold);
    } else {
      onEnded(this.#untold);
    }
    this.#fail(new HeadwaterError("NodeLost", "its thread is gone", { where: node }));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#asked.values()) reject(this.#failure);
    this.#asked.clear();
  }

  /** Looks whether the thread goes on. A stop of this process itself says nothing about it. */
  #look(): void {
    const { clock, settings } = this.#options;
    const every = Math.ceil(settings.hangAfterMs / LOOKS);
    let beats = -1;
    let silentMs = 0;
    let lookedAt = clock.monotonic();
    const look = () => {
      const now = clock.monotonic();
      const seen = beatsOf(this.#shared);
      silentMs = seen === beats ? silentMs + Math.min(now - lookedAt, 2 * every) : 0;
      beats = seen;
      lookedAt = now;
      if (silentMs >= settings.hangAfterMs) this.#end("hanging");
      else this.#cancelLook = clock.setTimeout(look, every);
    };
    look();
  }
}
