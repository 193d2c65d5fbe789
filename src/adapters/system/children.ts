import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Children, ToChild } from "../../ports/children.ts";

/** Node processes, which share standard error with this one. */
export function createChildren(): Children {
  return {
    run: (entry, request, onMessage, signal) =>
      new Promise((resolve, reject) => {
        const child = fork(fileURLToPath(entry), {
          stdio: ["ignore", 2, 2, "ipc"],
          serialization: "advanced",
        });
        // What it cannot be told any more shows in how it ends.
        const tell = (message: ToChild) => child.send(message, () => {});
        const stop = () => tell({ kind: "stop" });
        signal?.addEventListener("abort", stop);
        child.on("message", (message) => onMessage(message, (answer) => tell({ kind: "answer", answer })));
        child.on("error", reject);
        child.on("close", (code, killed) => {
          signal?.removeEventListener("abort", stop);
          resolve({ code: code ?? undefined, signal: killed ?? undefined });
        });
        tell({ kind: "begin", request });
        if (signal?.aborted) stop();
      }),
  };
}
