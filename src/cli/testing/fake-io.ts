import type { RunReport, RunRequest } from "../../app/run-types.ts";
import type { Io } from "../io.ts";
import { main } from "../main.ts";

/** What a call of the command did. */
export interface Called {
  readonly code: number;
  /** What is not text is there as Latin-1. */
  readonly stdout: string;
  readonly stderr: string;
  /** Requests that reached the fake `run`. */
  readonly requests: readonly RunRequest[];
  /** How often the process was told to end at once. */
  readonly deaths: number;
}

export const REPORT: RunReport = {
  pipeline: "wikipedia-edits",
  deployment: "0123456789abcdef".repeat(4),
  records: {
    read: 1_234,
    accepted: 1_230,
    duplicate: 1,
    rejected: 3,
    quarantined: 0,
    late: 0,
    retried: 0,
    pending: 0,
  },
  late: {},
  steps: 3_690,
  outputs: { channels: 51 },
  backpressure: [],
  nodes: 1,
  seconds: 0.5,
  recordsPerSecond: 2_460,
  log: { position: "C:77/P:77", bytes: 2_097_152 },
};

export interface Fakes {
  readonly env?: Readonly<Record<string, string>>;
  /** What `run` does, with a way to press Ctrl-C. */
  readonly run?: (request: RunRequest, interrupt: () => void) => Promise<RunReport> | RunReport;
  readonly terminal?: NodeJS.WriteStream;
}

/** Calls the command with a fake `run`; the other commands are the real ones. */
export async function call(argv: readonly string[], fakes: Fakes = {}): Promise<Called> {
  const written = { stdout: "", stderr: "" };
  const requests: RunRequest[] = [];
  let deaths = 0;
  const listeners = new Set<() => void>();
  const interrupt = () => {
    for (const listener of [...listeners]) listener();
  };
  const out = (name: "stdout" | "stderr") => ({
    terminal: name === "stderr" ? fakes.terminal : undefined,
    write: async (content: string | Uint8Array) => {
      written[name] += typeof content === "string" ? content : Buffer.from(content).toString("latin1");
    },
  });
  let time = 0;
  const io: Io = {
    stdout: out("stdout"),
    stderr: out("stderr"),
    env: fakes.env ?? {},
    monotonic: () => (time += 600),
    onInterrupt: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    die: () => {
      deaths++;
    },
    refuseExit: () => () => {},
    loadRun: async () => ({
      run: async (request) => {
        requests.push(request);
        return (await fakes.run?.(request, interrupt)) ?? REPORT;
      },
    }),
    loadLog: () => import("../../app/log.ts"),
    loadState: () => import("../../app/state.ts"),
    loadQuarantine: async () => ({
      ...(await import("../../app/quarantine.ts")),
      ...(await import("../../app/quarantine-retry.ts")),
    }),
    loadLineage: () => import("../../app/lineage.ts"),
    loadSearch: () => import("../../app/search.ts"),
    loadProof: () => import("../../app/proof.ts"),
    loadAudit: () => import("../../app/audit.ts"),
    lowerPriority: async () => {},
    loadReplay: () => import("../../app/replay.ts"),
    loadEvidence: async () => ({
      ...(await import("../../app/evidence.ts")),
      ...(await import("../../app/verify.ts")),
    }),
  };
  const code = await main(argv, io);
  if (listeners.size > 0) throw new Error("the command still listens for Ctrl-C");
  return { code, ...written, requests, deaths };
}
