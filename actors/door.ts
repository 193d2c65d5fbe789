import { workerMachine } from "./worker.ts";

/**
 * The actor of a source's door. Its life is every worker's: *running* is taking records in; *draining* is
 * appending the batch that is open.
 */
export const doorMachine = workerMachine;
