import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Children, ToChild } from "../../ports/children.ts";

/** What Node says last when it has no memory left. */
const OUT_OF_MEMORY = /heap out of memory|allocation failed/i;
/** That is said with some figures and a stack, in so many characters at most. */
const LAST_WORDS_CHARS = 8_192;

/** Node processes, which share standard error with this one. */
export function createChildren(): Children {
  return {
    run: (entry, request, onMessage, signal) =>
      new Promise((resolve, reject) => {
        const child = fork(fileURLToPath(entry), {
          stdio: ["ignore", 2, "pipe", "ipc"],
          serialization: "advanced",
        });
        let lastWords = "";
        child.stderr?.on("data", (words: Buffer) => {
          process.stderr.write(words);
          lastWords = (lastWords + words.toString()).slice(-LAST_WORDS_CHARS);
        });
        // What it cannot be told any more shows in how it ends.
        const tell = (message: ToChild) => child.send(message, () => {});
        const stop = () => tell({ kind: "stop" });
        signal?.addEventListener("abort", stop);
        child.on("message", (message) => onMessage(message, (answer) => tell({ kind: "answer", answer })));
        child.on("error", reject);
        child.on("close", (code, killed) => {
          signal?.removeEventListener("abort", stop);
          resolve({
            code: code ?? undefined,
            signal: killed ?? undefined,
            ...(OUT_OF_MEMORY.test(lastWords) && { outOfMemory: true as const }),
          });
        });
        tell({ kind: "begin", request });
        if (signal?.aborted) stop();
      }),
  };
}
