import { assign, fromPromise, setup } from "xstate";

export type VerificationEvent =
  /** Stand still, or end: what is compared is written down first. */
  { readonly type: "HALT" };

interface VerificationContext {
  readonly error: unknown;
}

/** How `work` has come to its end. */
export type VerificationEnd = "done" | "halted";

const notProvided = <T>(what: string) =>
  fromPromise<T>(() => Promise.reject(new Error(`the runtime has to provide ${what}`)));

const failing = {
  target: "failed",
  actions: {
    type: "keepError",
    params: ({ event }: { event: { error: unknown } }) => ({ error: event.error }),
  },
} as const;

/**
 * The life of a replay that compares history and whose progress is in the log. *claiming*: waits until it is the only
 * one. *restoring*: finds how far it is. *active*: compares, *running* or, when it was told to halt, *halting* until it
 * has written down how far it is. *done*: it is through; *halted*: it can be gone on with; *failed*.
 *
 * The runtime provides the actors `claim`, `restore` and `work` and the actions `halt` (tells `work` to come to its
 * end) and `dispose` (lets go of the claim; called exactly once, at the end).
 */
export const verificationMachine = setup({
  types: {
    context: {} as VerificationContext,
    events: {} as VerificationEvent,
  },
  actors: {
    claim: notProvided<void>("claim"),
    restore: notProvided<void>("restore"),
    work: notProvided<VerificationEnd>("work"),
  },
  actions: {
    halt: () => {},
    dispose: () => {},
    keepError: assign({ error: (_, params: { readonly error: unknown }) => params.error }),
  },
}).createMachine({
  id: "verification",
  context: { error: undefined },
  initial: "claiming",
  states: {
    claiming: {
      on: { HALT: "halted" },
      invoke: { src: "claim", onDone: "restoring", onError: failing },
    },
    restoring: {
      on: { HALT: "halted" },
      invoke: { src: "restore", onDone: "active", onError: failing },
    },
    active: {
      invoke: {
        src: "work",
        onDone: [{ target: "halted", guard: ({ event }) => event.output === "halted" }, { target: "done" }],
        onError: failing,
      },
      initial: "running",
      states: {
        running: { on: { HALT: "halting" } },
        halting: { entry: "halt" },
      },
    },
    done: { type: "final", entry: "dispose" },
    halted: { type: "final", entry: "dispose" },
    failed: { type: "final", entry: "dispose" },
  },
});
