import { type ActorRefFrom, assign, enqueueActions, sendParent, setup, stopChild } from "xstate";
import { type WorkerInput, type WorkerReport, workerMachine } from "./worker.ts";

export interface NodeInput {
  readonly node: string;
}

export type NodeEvent =
  | { readonly type: "ASSIGN"; readonly orders: readonly WorkerInput[] }
  /** Finish what is in flight on all partitions, then stop. */
  | { readonly type: "DRAIN" }
  /** Stop now. */
  | { readonly type: "STOP" }
  | WorkerReport;

export interface OwnedUnit {
  readonly ref: ActorRefFrom<typeof workerMachine>;
  readonly assignment: number;
  readonly running: boolean;
}

export interface NodeContext {
  readonly node: string;
  readonly units: Readonly<Record<string, OwnedUnit>>;
}

/** What a node tells the supervisor, beside its workers' reports. */
export type NodeReport = { readonly type: "NODE_STOPPED"; readonly node: string };

/**
 * A node owns partitions; each is a worker that it spawns. *starting*: nothing assigned yet. *catchingUp*: some
 * partition is not running yet. *running*, *draining*, *stopped* as said. A partition that fails is reported and let
 * go; the supervisor decides who gets it. The runtime provides the actor `partition`.
 */
export const nodeMachine = setup({
  types: {
    context: {} as NodeContext,
    events: {} as NodeEvent,
    input: {} as NodeInput,
  },
  actors: { partition: workerMachine },
  actions: {
    spawnPartitions: assign({
      units: ({ context, spawn }, params: { readonly orders: readonly WorkerInput[] }) => {
        const units = { ...context.units };
        for (const order of params.orders) {
          const ref = spawn("partition", { id: `${order.unit}#${order.assignment}`, input: order });
          units[order.unit] = { ref, assignment: order.assignment, running: false };
        }
        return units;
      },
    }),
    markRunning: assign({
      units: ({ context }, params: { readonly unit: string; readonly assignment: number }) => {
        const owned = context.units[params.unit];
        if (owned?.assignment !== params.assignment) return context.units;
        return { ...context.units, [params.unit]: { ...owned, running: true } };
      },
    }),
    letGo: enqueueActions(
      ({ enqueue, context }, params: { readonly unit: string; readonly assignment: number }) => {
        const owned = context.units[params.unit];
        if (owned?.assignment !== params.assignment) return;
        enqueue(stopChild(owned.ref));
        const { [params.unit]: _gone, ...units } = context.units;
        enqueue.assign({ units });
      },
    ),
    drainAll: enqueueActions(({ enqueue, context }) => {
      for (const { ref } of Object.values(context.units)) enqueue.sendTo(ref, { type: "DRAIN" });
    }),
    stopAll: enqueueActions(({ enqueue, context }) => {
      for (const { ref } of Object.values(context.units)) enqueue.sendTo(ref, { type: "STOP" });
    }),
    forward: sendParent((_, params: { readonly report: WorkerReport }) => params.report),
    reportStopped: sendParent(({ context }): NodeReport => ({ type: "NODE_STOPPED", node: context.node })),
  },
  guards: {
    allRunning: ({ context }) => Object.values(context.units).every((owned) => owned.running),
    ownsNothing: ({ context }) => Object.keys(context.units).length === 0,
  },
}).createMachine({
  id: "node",
  context: ({ input }) => ({ node: input.node, units: {} }),
  initial: "starting",
  on: {
    STOP: { actions: "stopAll", target: ".stopped" },
    DRAIN: ".draining",
    ASSIGN: {
      target: ".catchingUp",
      actions: { type: "spawnPartitions", params: ({ event }) => ({ orders: event.orders }) },
    },
    UNIT_RUNNING: { actions: { type: "markRunning", params: ({ event }) => event } },
    UNIT_STOPPED: {
      actions: [
        { type: "letGo", params: ({ event }) => event },
        { type: "forward", params: ({ event }) => ({ report: event }) },
      ],
    },
    UNIT_FAILED: {
      actions: [
        { type: "letGo", params: ({ event }) => event },
        { type: "forward", params: ({ event }) => ({ report: event }) },
      ],
    },
  },
  states: {
    starting: {},
    catchingUp: { always: { guard: "allRunning", target: "running" } },
    running: {},
    draining: {
      entry: "drainAll",
      always: { guard: "ownsNothing", target: "stopped" },
      on: { ASSIGN: {}, DRAIN: {} },
    },
    stopped: { type: "final", entry: "reportStopped" },
  },
});
