import { availableParallelism } from "node:os";
import { MessageChannel, Worker } from "node:worker_threads";
import type { Thread, ThreadEnd, ThreadRequest, Threads } from "../../ports/threads.ts";
import { END, type ThreadData } from "./inside.ts";
import { LogServer } from "./log-server.ts";

/** Worker threads of Node that run the module at `entry`, which finds what it is given with {@link inside}. */
export function createThreads(entry: URL): Threads {
  return { parallelism: availableParallelism(), start: (request) => start(entry, request) };
}

function start(entry: URL, request: ThreadRequest): Thread {
  const { name, log, seed, shared, memoryMb } = request;
  const { port1, port2 } = new MessageChannel();
  const server = new LogServer(log, port1, request);
  const workerData: ThreadData = { seed, shared, logId: log.id, logPort: port2 };
  const worker = new Worker(entry, {
    name,
    workerData,
    transferList: [port2],
    resourceLimits: { maxOldGenerationSizeMb: memoryMb },
  });
  let letGo = false;
  let failure: { readonly error: unknown } | undefined;
  worker.on("message", (message: unknown) => request.onMessage(message));
  worker.on("error", (error) => {
    failure ??= { error };
  });
  const ended = new Promise<ThreadEnd>((resolve) => {
    worker.on("exit", (code) => {
      server.close();
      port1.close();
      resolve(letGo ? { kind: "ended" } : endOf(code, failure));
    });
  });
  return {
    post: (message) => worker.postMessage(message),
    ended,
    end: async (graceMs) => {
      letGo = true;
      const terminate = () => void worker.terminate();
      if (graceMs === 0) terminate();
      else worker.postMessage(END);
      const timer = setTimeout(terminate, graceMs);
      await ended;
      clearTimeout(timer);
    },
  };
}

function endOf(code: number, failure: { readonly error: unknown } | undefined): ThreadEnd {
  if (failure === undefined) return { kind: "exit", code };
  const { error } = failure;
  const full = error instanceof Error && "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
  return full ? { kind: "memory" } : { kind: "error", error };
}
