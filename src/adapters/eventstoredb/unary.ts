import { BOUNDS } from "./bounds.ts";
import type { NodeClient } from "./client.ts";
import type { Connection, Node } from "./connection.ts";
import { CallFailure, timeoutFailure } from "./failures.ts";

type CallArguments = ReturnType<NodeClient["call"]>;

/** Starts a call and answers what cancels it; `done` gets its outcome. */
type Start<T> = (...call: [...CallArguments, done: (error: Error | null, answer: T) => void]) => {
  cancel(): void;
};

/** Makes a call with one answer, with a deadline of ours. Throws what it fails with. */
export function unaryCall<T>({ clock }: Connection, node: Node, start: Start<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      cancelTimer();
      node.ended.removeEventListener("abort", onEnded);
    };
    const call = start(...node.client.call(), (error, answer) => {
      settle();
      if (error === null) resolve(answer);
      else reject(error);
    });
    const giveUp = (failure: CallFailure) => {
      settle();
      call.cancel();
      reject(failure);
    };
    const onEnded = () => giveUp(new CallFailure("lost", "the connection was given up"));
    const cancelTimer = clock.setTimeout(() => giveUp(timeoutFailure(BOUNDS.answerMs)), BOUNDS.answerMs);
    node.ended.addEventListener("abort", onEnded);
  });
}
