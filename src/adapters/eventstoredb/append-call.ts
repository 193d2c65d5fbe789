import sharedPb from "@eventstore/db-client/generated/shared_pb.js";
import type { Status } from "@eventstore/db-client/generated/status_pb.js";
import type { StreamsClient } from "@eventstore/db-client/generated/streams_grpc_pb.js";
import type { BatchAppendReq, BatchAppendResp } from "@eventstore/db-client/generated/streams_pb.js";
import type { Position } from "../../core/position.ts";
import type { CancelTimer, Clock } from "../../ports/clock.ts";
import { BOUNDS } from "./bounds.ts";
import type { Node } from "./connection.ts";
import { toPosition } from "./events.ts";
import { CallFailure, readFailure, timeoutFailure } from "./failures.ts";

/** The server's answer to an append. */
export interface Accepted {
  /** Of the last event. */
  readonly revision: number;
  /** `undefined` when the append was a repeated one whose events are not readable any more. */
  readonly position: Position | undefined;
}

interface Waiting {
  readonly resolve: (accepted: Accepted) => void;
  readonly reject: (failure: CallFailure) => void;
  readonly cancelTimer: CancelTimer;
}

/** The one call of a connection over which its appends go, many at a time, each with a deadline of its own. */
export class AppendCall {
  readonly #call: ReturnType<StreamsClient["batchAppend"]>;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Waiting>();
  readonly #unsent: BatchAppendReq[] = [];
  #full = false;
  #over: CallFailure | undefined;

  private constructor(call: ReturnType<StreamsClient["batchAppend"]>, ended: AbortSignal, clock: Clock) {
    this.#call = call;
    this.#clock = clock;
    call.on("data", (answer) => this.#settle(answer));
    call.on("drain", () => this.#send());
    call.on("error", (error) => this.#finish(readFailure(error)));
    call.on("end", () => this.#finish(new CallFailure("lost", "the server ended the call")));
    const onEnded = () => {
      call.cancel();
      this.#finish(new CallFailure("lost", "the connection was given up"));
    };
    ended.addEventListener("abort", onEnded, { once: true });
    if (ended.aborted) onEnded();
  }

  static async open({ client, ended }: Node, clock: Clock): Promise<AppendCall> {
    const streams = await client.streams();
    return new AppendCall(streams.batchAppend(...client.call()), ended, clock);
  }

  /** Whether nothing more can be sent over it. */
  get over(): boolean {
    return this.#over !== undefined;
  }

  /** Sends one append. Throws a {@link CallFailure}, also when no answer comes in time. */
  append(correlation: string, request: BatchAppendReq): Promise<Accepted> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) return reject(this.#over);
      const cancelTimer = this.#clock.setTimeout(() => {
        this.#waiting.delete(correlation);
        reject(timeoutFailure(BOUNDS.answerMs));
      }, BOUNDS.answerMs);
      this.#waiting.set(correlation, { resolve, reject, cancelTimer });
      this.#unsent.push(request);
      this.#send();
    });
  }

  #send(): void {
    this.#full = this.#full && this.#call.writableNeedDrain;
    for (let next = this.#unsent[0]; next !== undefined && !this.#full; next = this.#unsent[0]) {
      this.#unsent.shift();
      this.#full = !this.#call.write(next);
    }
  }

  #settle(answer: BatchAppendResp): void {
    const correlation = answer.getCorrelationId()?.getString() ?? "";
    const waiting = this.#waiting.get(correlation);
    // One that came too late: it has been asked again.
    if (waiting === undefined) return;
    this.#waiting.delete(correlation);
    waiting.cancelTimer();
    const error = answer.getError();
    if (error !== undefined) {
      waiting.reject(readStatus(error));
      return;
    }
    const success = answer.getSuccess();
    const position = success?.getPosition();
    waiting.resolve({
      revision: Number(success?.getCurrentRevision()),
      position:
        position === undefined
          ? undefined
          : toPosition(position.getCommitPosition(), position.getPreparePosition()),
    });
  }

  #finish(failure: CallFailure): void {
    this.#over ??= failure;
    this.#unsent.length = 0;
    for (const { reject, cancelTimer } of this.#waiting.values()) {
      cancelTimer();
      reject(this.#over);
    }
    this.#waiting.clear();
  }
}

/** Reads why an append was refused. What is not known to be an answer is taken for none. */
function readStatus(status: Status): CallFailure {
  const details = status.getDetails();
  const type = details?.getTypeName().split(".").at(-1);
  const message = status.getMessage();
  switch (type) {
    case "WrongExpectedVersion": {
      const conflict = details?.unpack(
        sharedPb.WrongExpectedVersion.deserializeBinary,
        "event_store.client.WrongExpectedVersion",
      );
      const currentRevision = conflict?.hasCurrentStreamRevision()
        ? Number(conflict.getCurrentStreamRevision())
        : -1;
      return new CallFailure("conflict", message, { currentRevision });
    }
    case "StreamDeleted":
      return new CallFailure("tombstoned", message);
    case "AccessDenied":
      return new CallFailure("denied", message);
    case "MaximumAppendSizeExceeded":
      return new CallFailure("too-large", message);
    case "BadRequest":
    case "InvalidTransaction":
      return new CallFailure("refused", message);
    default:
      if (/no leader info/i.test(message)) return new CallFailure("not-leader", message);
      if (/server is (not ready|too busy|busy)/i.test(message)) return new CallFailure("busy", message);
      // A time-out at the server, or something it has no name for: it may have been written. The connection is not
      // to blame.
      return new CallFailure("busy", message === "" ? "the server did not say" : message);
  }
}
