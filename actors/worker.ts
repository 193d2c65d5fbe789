import { assign, fromPromise, sendParent, setup } from "xstate";

/** What a worker is told when it is assigned a unit of work. */
export interface WorkerInput {
  /** `door:S`, `partition:G.Q` or `sink:K`. */
  readonly unit: string;
  readonly node: string;
  /** Version of the assignment. */
  readonly assignment: number;
}

export type WorkerEvent =
  /** Finish what is in flight, then stop. */
  | { readonly type: "DRAIN" }
  /** Stop now; what is in flight is left to the next owner. */
  | { readonly type: "STOP" };

/** What a worker tells its parent. */
export type WorkerReport =
  | { readonly type: "UNIT_RUNNING"; readonly unit: string; readonly assignment: number }
  | { readonly type: "UNIT_STOPPED"; readonly unit: string; readonly assignment: number }
  | {
      readonly type: "UNIT_FAILED";
      readonly unit: string;
      readonly assignment: number;
      readonly error: unknown;
    };

export interface WorkerContext extends WorkerInput {
  readonly error: unknown;
}

const notProvided = (what: string) =>
  fromPromise<void, WorkerInput>(() => Promise.reject(new Error(`the runtime has to provide ${what}`)));

/**
 * The life of whoever owns one unit of work. *starting*: appends the claim. *catchingUp*: brings state back from
 * the log. *running*: works. *draining*: finishes what is in flight. *stopped*, *failed*: ended.
 *
 * The runtime provides the actors `claim`, `restore` and `work` and the actions `drain` (tells `work` to finish)
 * and `dispose` (lets go of everything; called exactly once, at the end).
 */
export const workerMachine = setup({
  types: {
    context: {} as WorkerContext,
    events: {} as WorkerEvent,
    input: {} as WorkerInput,
  },
  actors: {
    claim: notProvided("claim"),
    restore: notProvided("restore"),
    work: notProvided("work"),
  },
  actions: {
    drain: () => {},
    dispose: () => {},
    keepError: assign({ error: (_, params: { readonly error: unknown }) => params.error }),
    reportRunning: sendParent(
      ({ context }): WorkerReport => ({
        type: "UNIT_RUNNING",
        unit: context.unit,
        assignment: context.assignment,
      }),
    ),
    reportStopped: sendParent(
      ({ context }): WorkerReport => ({
        type: "UNIT_STOPPED",
        unit: context.unit,
        assignment: context.assignment,
      }),
    ),
    reportFailed: sendParent(
      ({ context }): WorkerReport => ({
        type: "UNIT_FAILED",
        unit: context.unit,
        assignment: context.assignment,
        error: context.error,
      }),
    ),
  },
}).createMachine({
  id: "worker",
  context: ({ input }) => ({ ...input, error: undefined }),
  initial: "starting",
  on: { STOP: ".stopped" },
  states: {
    starting: {
      on: { DRAIN: "stopped" },
      invoke: {
        src: "claim",
        input: ({ context }) => context,
        onDone: "catchingUp",
        onError: {
          target: "failed",
          actions: { type: "keepError", params: ({ event }) => ({ error: event.error }) },
        },
      },
    },
    catchingUp: {
      on: { DRAIN: "stopped" },
      invoke: {
        src: "restore",
        input: ({ context }) => context,
        onDone: "active",
        onError: {
          target: "failed",
          actions: { type: "keepError", params: ({ event }) => ({ error: event.error }) },
        },
      },
    },
    active: {
      entry: "reportRunning",
      invoke: {
        src: "work",
        input: ({ context }) => context,
        onDone: "stopped",
        onError: {
          target: "failed",
          actions: { type: "keepError", params: ({ event }) => ({ error: event.error }) },
        },
      },
      initial: "running",
      states: {
        running: { on: { DRAIN: "draining" } },
        draining: { entry: "drain" },
      },
    },
    stopped: { type: "final", entry: ["dispose", "reportStopped"] },
    failed: { type: "final", entry: ["dispose", "reportFailed"] },
  },
});
