import { type ActorRefFrom, assign, enqueueActions, fromPromise, setup } from "xstate";
import { LIMITS } from "../src/core/limits.ts";
import { type Ownership, planOwnership } from "./assignment.ts";
import { doorMachine } from "./door.ts";
import { type NodeReport, nodeMachine } from "./node.ts";
import { sinkMachine } from "./sink.ts";
import type { WorkerInput, WorkerReport } from "./worker.ts";

export interface SupervisorInput {
  /** Names of the node actors to spawn. */
  readonly nodes: readonly string[];
  readonly doors: readonly string[];
  readonly partitions: readonly string[];
  readonly sinks: readonly string[];
}

/** An assignment as it is recorded. */
export interface AssignmentRecord {
  readonly version: number;
  readonly units: readonly { readonly unit: string; readonly node: string }[];
}

/** A node is gone without a word: its partitions go to the others, and to the node that takes its place. */
export interface NodeLost {
  readonly type: "NODE_LOST";
  readonly node: string;
  /** Name of the node to spawn in its place; none if absent. */
  readonly replacement?: string;
  /** How it came to be lost. */
  readonly error?: unknown;
  /** Whether something was recorded since a node was lost the last time. */
  readonly progressed?: boolean;
}

export type SupervisorEvent =
  /** Finish what is in flight everywhere, then stop. */
  | { readonly type: "DRAIN" }
  /** Stop now. */
  | { readonly type: "STOP" }
  | NodeLost
  | { readonly type: "FATAL"; readonly error: unknown }
  | WorkerReport
  | NodeReport;

interface SupervisorContext extends SupervisorInput {
  readonly version: number;
  readonly ownership: Ownership;
  readonly alive: Readonly<Record<string, ActorRefFrom<typeof nodeMachine>>>;
  readonly doorRefs: Readonly<Record<string, ActorRefFrom<typeof doorMachine>>>;
  readonly sinkRefs: Readonly<Record<string, ActorRefFrom<typeof sinkMachine>>>;
  /** Units that failed and wait to be assigned again, and how often each has failed without getting on in between. */
  readonly homeless: readonly string[];
  readonly failures: Readonly<Record<string, number>>;
  /** Nodes that were lost one after the other without anything being recorded in between. */
  readonly losses: number;
  readonly error: unknown;
}

/** How often in a row, without getting on in between, a unit may fail before the pipeline does. */
export const RESTARTS_MOST = 5;
/** How long to wait before units that failed are assigned again, in milliseconds. */
const RESTART_DELAY_MS = 100;

/**
 * Spawns the nodes, doors and sinks of a pipeline and assigns partitions to nodes. *starting*: claims the
 * supervision. *catchingUp*: records the assignment. *running*: watches; units that fail are assigned again, those
 * of a lost node to the others. *draining*: doors first, then nodes, then sinks. The runtime provides the actors
 * `claim`, `assignUnits`, `node`, `door` and `sink`, the guard `fatal`, which tells failures that trying again
 * cannot mend, and the guard `gotOn`, which tells whether a unit that failed has got on since it failed before.
 */
export const supervisorMachine = setup({
  types: {
    context: {} as SupervisorContext,
    events: {} as SupervisorEvent,
    input: {} as SupervisorInput,
    output: {} as { readonly error: unknown },
  },
  actors: {
    claim: fromPromise<{ readonly version: number }>(() =>
      Promise.reject(new Error("the runtime has to provide claim")),
    ),
    assignUnits: fromPromise<void, AssignmentRecord>(() =>
      Promise.reject(new Error("the runtime has to provide assignUnits")),
    ),
    node: nodeMachine,
    door: doorMachine,
    sink: sinkMachine,
  },
  actions: {
    onRestart: (_, _params: { readonly unit: string; readonly error: unknown }) => {},
    spawnNodes: assign({
      alive: ({ context, spawn }) =>
        Object.fromEntries(context.nodes.map((node) => [node, spawn("node", { id: node, input: { node } })])),
    }),
    planAssignment: assign({
      version: ({ context }) => context.version + 1,
      ownership: ({ context }) =>
        planOwnership(
          context.partitions,
          Object.keys(context.alive),
          withoutUnits(context.ownership, context.homeless),
        ),
    }),
    handOut: enqueueActions(({ enqueue, context, self }) => {
      const { version, ownership, homeless, alive, partitions } = context;
      const orders = new Map<string, WorkerInput[]>();
      // What failed, or whose node was lost, while the assignment was being recorded waits for the next one.
      const waiting: string[] = [];
      for (const unit of homeless) {
        const node = ownership[unit];
        if (partitions.includes(unit) && (node === undefined || alive[node] === undefined))
          waiting.push(unit);
        if (node === undefined) continue;
        const list = orders.get(node) ?? [];
        list.push({ unit, node, assignment: version });
        orders.set(node, list);
      }
      for (const [node, list] of orders) {
        const ref = context.alive[node];
        if (ref !== undefined) enqueue.sendTo(ref, { type: "ASSIGN", orders: list });
      }
      enqueue.assign({
        homeless: waiting,
        doorRefs: ({ context: now, spawn }) => ({
          ...now.doorRefs,
          ...Object.fromEntries(
            homeless
              .filter((unit) => now.doors.includes(unit))
              .map((unit) => [
                unit,
                spawn("door", {
                  id: `${unit}#${version}`,
                  input: { unit, node: self.id, assignment: version },
                }),
              ]),
          ),
        }),
        sinkRefs: ({ context: now, spawn }) => ({
          ...now.sinkRefs,
          ...Object.fromEntries(
            homeless
              .filter((unit) => now.sinks.includes(unit))
              .map((unit) => [
                unit,
                spawn("sink", {
                  id: `${unit}#${version}`,
                  input: { unit, node: self.id, assignment: version },
                }),
              ]),
          ),
        }),
      });
    }),
    dropUnit: assign({
      doorRefs: ({ context }, params: { readonly unit: string }) => without(context.doorRefs, params.unit),
      sinkRefs: ({ context }, params: { readonly unit: string }) => without(context.sinkRefs, params.unit),
      ownership: ({ context }, params: { readonly unit: string }) => without(context.ownership, params.unit),
    }),
    noteFailure: assign({
      homeless: ({ context }, params: { readonly unit: string }) => [
        ...new Set([...context.homeless, params.unit]),
      ],
      failures: ({ context }, params: { readonly unit: string }) => ({
        ...context.failures,
        [params.unit]: (context.failures[params.unit] ?? 0) + 1,
      }),
    }),
    forgetFailures: assign({
      failures: ({ context }, params: { readonly unit: string }) => without(context.failures, params.unit),
    }),
    loseNode: enqueueActions(({ enqueue, context }, params: NodeLost) => {
      const ref = context.alive[params.node];
      if (ref === undefined) return;
      enqueue.stopChild(ref);
      const orphans = Object.keys(context.ownership).filter(
        (unit) => context.ownership[unit] === params.node,
      );
      const { replacement } = params;
      enqueue.assign({
        alive: ({ context: now, spawn }) => ({
          ...without(now.alive, params.node),
          ...(replacement !== undefined && {
            [replacement]: spawn("node", { id: replacement, input: { node: replacement } }),
          }),
        }),
        homeless: [...new Set([...context.homeless, ...orphans])],
        losses: params.progressed === true ? 1 : context.losses + 1,
      });
    }),
    keepError: assign({
      error: ({ context }, params: { readonly error: unknown }) => context.error ?? params.error,
    }),
    drainDoors: enqueueActions(({ enqueue, context }) => {
      for (const ref of Object.values(context.doorRefs)) enqueue.sendTo(ref, { type: "DRAIN" });
    }),
    drainNodes: enqueueActions(({ enqueue, context }) => {
      for (const ref of Object.values(context.alive)) enqueue.sendTo(ref, { type: "DRAIN" });
    }),
    drainSinks: enqueueActions(({ enqueue, context }) => {
      for (const ref of Object.values(context.sinkRefs)) enqueue.sendTo(ref, { type: "DRAIN" });
    }),
    forgetNode: assign({
      alive: ({ context }, params: { readonly node: string }) => without(context.alive, params.node),
    }),
    stopAll: enqueueActions(({ enqueue, context }) => {
      for (const ref of Object.values(context.doorRefs)) enqueue.sendTo(ref, { type: "STOP" });
      for (const ref of Object.values(context.alive)) enqueue.sendTo(ref, { type: "STOP" });
      for (const ref of Object.values(context.sinkRefs)) enqueue.sendTo(ref, { type: "STOP" });
    }),
  },
  guards: {
    fatal: (_, _params: { readonly error: unknown }) => false,
    gotOn: (_, _params: { readonly unit: string }) => false,
    tooOften: ({ context }, params: { readonly unit: string }) =>
      (context.failures[params.unit] ?? 0) >= RESTARTS_MOST,
    lostTooOften: ({ context }, params: NodeLost) =>
      params.progressed === false && context.losses >= LIMITS.lossesInARow,
    someHomeless: ({ context }) => context.homeless.length > 0,
    noNodeLeft: ({ context }) => context.partitions.length > 0 && Object.keys(context.alive).length === 0,
    doorsDrained: ({ context }) => Object.keys(context.doorRefs).length === 0,
    nodesDrained: ({ context }) => Object.keys(context.alive).length === 0,
    sinksDrained: ({ context }) => Object.keys(context.sinkRefs).length === 0,
  },
}).createMachine({
  id: "supervisor",
  context: ({ input }) => ({
    ...input,
    version: 0,
    ownership: {},
    alive: {},
    doorRefs: {},
    sinkRefs: {},
    homeless: [...input.partitions, ...input.doors, ...input.sinks],
    failures: {},
    losses: 0,
    error: undefined,
  }),
  output: ({ context }) => ({ error: context.error }),
  initial: "starting",
  on: {
    STOP: { target: ".stopped", actions: "stopAll" },
    FATAL: { target: ".failed", actions: { type: "keepError", params: ({ event }) => event } },
    UNIT_STOPPED: { actions: { type: "dropUnit", params: ({ event }) => event } },
    NODE_STOPPED: { actions: { type: "forgetNode", params: ({ event }) => event } },
    NODE_LOST: [
      {
        guard: { type: "lostTooOften", params: ({ event }) => event },
        target: ".failed",
        actions: { type: "keepError", params: ({ event }) => ({ error: event.error }) },
      },
      { actions: { type: "loseNode", params: ({ event }) => event } },
    ],
    UNIT_FAILED: [
      {
        guard: { type: "fatal", params: ({ event }) => event },
        target: ".failed",
        actions: { type: "keepError", params: ({ event }) => event },
      },
      {
        guard: { type: "gotOn", params: ({ event }) => event },
        actions: [
          { type: "onRestart", params: ({ event }) => event },
          { type: "dropUnit", params: ({ event }) => event },
          { type: "forgetFailures", params: ({ event }) => event },
          { type: "noteFailure", params: ({ event }) => event },
        ],
      },
      {
        guard: { type: "tooOften", params: ({ event }) => event },
        target: ".failed",
        actions: { type: "keepError", params: ({ event }) => event },
      },
      {
        actions: [
          { type: "onRestart", params: ({ event }) => event },
          { type: "dropUnit", params: ({ event }) => event },
          { type: "noteFailure", params: ({ event }) => event },
        ],
      },
    ],
  },
  states: {
    starting: {
      invoke: {
        src: "claim",
        onDone: {
          target: "catchingUp",
          actions: [assign({ version: ({ event }) => event.output.version }), "spawnNodes"],
        },
        onError: { target: "failed", actions: { type: "keepError", params: ({ event }) => event } },
      },
      on: { DRAIN: "stopped" },
    },
    catchingUp: {
      entry: "planAssignment",
      invoke: {
        src: "assignUnits",
        input: ({ context, self }) => ({
          version: context.version,
          units: [
            ...Object.entries(context.ownership).map(([unit, node]) => ({ unit, node })),
            ...[...context.doors, ...context.sinks].map((unit) => ({ unit, node: self.id })),
          ],
        }),
        onDone: { target: "running", actions: "handOut" },
        onError: { target: "failed", actions: { type: "keepError", params: ({ event }) => event } },
      },
      on: { DRAIN: "draining" },
    },
    running: {
      always: [
        {
          guard: "noNodeLeft",
          target: "failed",
          actions: { type: "keepError", params: { error: new Error("no node is left") } },
        },
      ],
      after: { [RESTART_DELAY_MS]: { guard: "someHomeless", target: "catchingUp" } },
      on: {
        DRAIN: "draining",
        NODE_LOST: [
          {
            guard: { type: "lostTooOften", params: ({ event }) => event },
            target: "failed",
            actions: { type: "keepError", params: ({ event }) => ({ error: event.error }) },
          },
          {
            target: "running",
            reenter: true,
            actions: { type: "loseNode", params: ({ event }) => event },
          },
        ],
        UNIT_FAILED: [
          {
            guard: { type: "fatal", params: ({ event }) => event },
            target: "failed",
            actions: { type: "keepError", params: ({ event }) => event },
          },
          {
            guard: { type: "gotOn", params: ({ event }) => event },
            target: "running",
            reenter: true,
            actions: [
              { type: "onRestart", params: ({ event }) => event },
              { type: "dropUnit", params: ({ event }) => event },
              { type: "forgetFailures", params: ({ event }) => event },
              { type: "noteFailure", params: ({ event }) => event },
            ],
          },
          {
            guard: { type: "tooOften", params: ({ event }) => event },
            target: "failed",
            actions: { type: "keepError", params: ({ event }) => event },
          },
          {
            target: "running",
            reenter: true,
            actions: [
              { type: "onRestart", params: ({ event }) => event },
              { type: "dropUnit", params: ({ event }) => event },
              { type: "noteFailure", params: ({ event }) => event },
            ],
          },
        ],
      },
    },
    draining: {
      initial: "doors",
      onDone: "stopped",
      on: {
        // A node that is lost while everything stops is not replaced: what it had is left to the next start.
        NODE_LOST: {
          actions: { type: "loseNode", params: ({ event }) => ({ type: "NODE_LOST", node: event.node }) },
        },
        // So is what fails.
        UNIT_FAILED: {
          actions: [
            { type: "keepError", params: ({ event }) => event },
            { type: "dropUnit", params: ({ event }) => event },
          ],
        },
      },
      states: {
        doors: { entry: "drainDoors", always: { guard: "doorsDrained", target: "nodes" } },
        nodes: { entry: "drainNodes", always: { guard: "nodesDrained", target: "sinks" } },
        sinks: { entry: "drainSinks", always: { guard: "sinksDrained", target: "drained" } },
        drained: { type: "final" },
      },
    },
    stopped: { type: "final" },
    failed: { type: "final", entry: "stopAll" },
  },
});

function without<T>(record: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  const { [key]: _gone, ...rest } = record;
  return rest;
}

function withoutUnits(ownership: Ownership, units: readonly string[]): Ownership {
  return units.reduce((rest, unit) => without(rest, unit), ownership);
}
