import { workerMachine } from "./worker.ts";

/**
 * The actor of a sink. Its life is every worker's: *running* is delivering in logical order; *draining* is making
 * durable what was written.
 */
export const sinkMachine = workerMachine;
