import type { BatchAppendReq, BatchAppendResp } from "@eventstore/db-client/generated/streams_pb.js";
import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import type { Clock } from "../../src/ports/clock.ts";
import type { AppendFault, Faults } from "./faults.ts";
import { appendAnswer, expectedOfAppend, notHandled, offeredOf, refusal, serviceError } from "./messages.ts";
import type { Store } from "./store.ts";

export type AppendCall = ServerDuplexStream<BatchAppendReq, BatchAppendResp>;

export interface AppendContext {
  readonly store: Store;
  readonly faults: Faults;
  readonly clock: Clock;
  /** Data, metadata and two bytes a character of the type, of one append. */
  readonly maxAppendBytes: number;
  /** Cuts the connection. */
  readonly reset: () => void;
  /** Keeps an answer back. */
  readonly hold: (answer: () => void) => void;
}

/** Takes the appends of one call. Each is in one message: who uses this server never sends more. */
export function answerAppends(call: AppendCall, context: AppendContext): void {
  call.on("data", (request) => answerAppend(call, request, context));
  call.on("end", () => call.end());
  call.on("error", () => {});
}

function answerAppend(call: AppendCall, request: BatchAppendReq, context: AppendContext): void {
  const options = request.getOptions();
  if (options === undefined || !request.getIsFinal()) {
    call.emit("error", serviceError(status.UNIMPLEMENTED, "an append in several messages"));
    return;
  }
  const { store, faults, maxAppendBytes } = context;
  const stream = Buffer.from(options.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString();
  const offered = request.getProposedMessagesList().map(offeredOf);
  const bytes = offered.reduce(
    (sum, { type, data, metadata }) => sum + type.length * 2 + data.length + metadata.length,
    0,
  );
  const send = (answer: BatchAppendResp) => {
    if (!call.cancelled && !call.destroyed) call.write(answer);
  };
  // By the server's own clock, whatever the client's is.
  const deadline = options.getDeadline()?.toDate().getTime();
  const late = deadline !== undefined && deadline < context.clock.now();
  if (late || bytes > maxAppendBytes) {
    send(refusal(request, late ? "Timeout" : "MaximumAppendSizeExceeded"));
    return;
  }
  const fault = faults.onAppend(stream);
  if (fault !== undefined && refuses(fault)) {
    if (fault === "timeout") send(refusal(request, "Timeout"));
    if (fault === "busy") send(notHandled(request, "Server Is Busy"));
    if (fault === "reset") context.reset();
    if (fault === "break") call.emit("error", serviceError(status.UNAVAILABLE, "the call was broken off"));
    return;
  }
  const answer = appendAnswer(request, store.append(stream, expectedOfAppend(options), offered));
  if (fault === undefined) send(answer);
  if (fault === "hold-answer") context.hold(() => send(answer));
  if (fault === "timeout-after") send(refusal(request, "Timeout"));
  if (fault === "reset-after") context.reset();
  if (fault === "break-after")
    call.emit("error", serviceError(status.UNAVAILABLE, "the call was broken off"));
}

function refuses(fault: AppendFault): boolean {
  return ["lose", "reset", "break", "timeout", "busy"].includes(fault);
}
