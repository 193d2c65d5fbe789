import { writeSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { writeWhole } from "../adapters/files/whole-write.ts";
import type { AuditReport, AuditRequest } from "../app/audit-types.ts";
import type { EvidenceReport, EvidenceRequest, VerifyReport, VerifyRequest } from "../app/evidence-types.ts";
import type { RunReport, RunRequest } from "../app/run-types.ts";
import { fileError, systemCode } from "../core/file-error.ts";

/** Where the command writes to. */
export interface Out {
  /** Resolves when the text was taken, so that whoever writes much can wait. Throws {@link ReaderGone}, and `OutputFailed`. */
  write(text: string): Promise<void>;
  /** The stream, if it is a terminal: bars and colours are only for those. */
  readonly terminal: NodeJS.WriteStream | undefined;
}

/** What `log` and its subcommands do. */
export type LogApp = typeof import("../app/log.ts");

/** What `state` does. */
type StateApp = typeof import("../app/state.ts");

/** What `replay` does. */
type ReplayApp = typeof import("../app/replay.ts");
/** What `quarantine` and its subcommands do. */
type QuarantineApp = typeof import("../app/quarantine.ts") & typeof import("../app/quarantine-retry.ts");
/** What `lineage` does. */
type LineageApp = typeof import("../app/lineage.ts");

/** What `search` does. */
type SearchApp = typeof import("../app/search.ts");

/** What `keygen` and `checkpoint` do. */
export type ProofApp = typeof import("../app/proof.ts");

/** What `audit` does. */
export interface AuditApp {
  audit(request: AuditRequest): Promise<AuditReport>;
}

/** What `evidence` and `verify` do. */
export interface EvidenceApp {
  evidence(request: EvidenceRequest): Promise<EvidenceReport>;
  verify(request: VerifyRequest): Promise<VerifyReport>;
}

/** What `run` does. */
export interface RunApp {
  run(request: RunRequest): Promise<RunReport>;
}

/** How code that is not ours ends the process: by an exit, or by what it throws, or lets reject, and nobody catches. */
export type ForeignEnd =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "uncaught"; readonly error: unknown };

/** Everything that the command has to do with the outside. */
export interface Io {
  readonly stdout: Out;
  readonly stderr: Out;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds from an arbitrary start. */
  monotonic(): number;
  /** Calls `listener` at each Ctrl-C and request to end, until the returned function is called. */
  onInterrupt(listener: () => void): () => void;
  /**
   * Ends the process at once by the signal of Ctrl-C, which a shell shows as 130. An exit would wait for the
   * process's other threads, and one of them may be in the middle of writing the log, or wait for it.
   */
  die(): void;
  /**
   * Until the returned function is called, an end of the process that somebody else's code has made is said to be one,
   * with `text`, and has the code `code`.
   */
  refuseExit(end: (how: ForeignEnd) => { readonly text: string; readonly code: number }): () => void;
  /** Lets other processes go first from now on, where processors are short. `writing`: to the log, too. */
  lowerPriority(of: "reading" | "writing"): Promise<void>;
  /** Loaded only when needed, so that `--help` is fast. */
  loadRun(): Promise<RunApp>;
  loadLog(): Promise<LogApp>;
  loadState(): Promise<StateApp>;
  loadQuarantine(): Promise<QuarantineApp>;
  loadLineage(): Promise<LineageApp>;
  loadSearch(): Promise<SearchApp>;
  loadProof(): Promise<ProofApp>;
  loadAudit(): Promise<AuditApp>;
  loadReplay(): Promise<ReplayApp>;
  loadEvidence(): Promise<EvidenceApp>;
}

/** The program that read our output has ended (`headwater log export | head`): nothing is wrong, and nothing left to do. */
export class ReaderGone extends Error {}

/** The process's own streams and signals. */
export function processIo(): Io {
  return {
    stdout: outOf(process.stdout, "standard output"),
    stderr: outOf(process.stderr, "standard error"),
    env: process.env,
    monotonic: () => performance.now(),
    onInterrupt: (listener) => {
      process.on("SIGINT", listener);
      process.on("SIGTERM", listener);
      return () => {
        process.off("SIGINT", listener);
        process.off("SIGTERM", listener);
      };
    },
    die: () => {
      process.removeAllListeners("SIGINT");
      process.kill(process.pid, "SIGINT");
    },
    refuseExit: (end) => {
      let told = false;
      const tell = (how: ForeignEnd) => {
        told = true;
        const ended = end(how);
        // Nothing else is written any more.
        writeSync(process.stderr.fd, ended.text);
        return ended.code;
      };
      const onUncaught = (error: unknown) => {
        // What fails while the process is ending says nothing new.
        if (!told) process.exit(tell({ kind: "uncaught", error }));
      };
      const onExit = (code: number) => {
        if (!told) process.exitCode = tell({ kind: "exit", code });
      };
      process.on("uncaughtException", onUncaught);
      process.on("exit", onExit);
      return () => {
        process.off("uncaughtException", onUncaught);
        process.off("exit", onExit);
      };
    },
    lowerPriority: async (of) => (await import("../app/replay.ts")).lowerPriority(of),
    loadRun: () => import("../app/run.ts"),
    loadLog: () => import("../app/log.ts"),
    loadState: () => import("../app/state.ts"),
    loadQuarantine: async () => ({
      ...(await import("../app/quarantine.ts")),
      ...(await import("../app/quarantine-retry.ts")),
    }),
    loadLineage: () => import("../app/lineage.ts"),
    loadSearch: () => import("../app/search.ts"),
    loadProof: () => import("../app/proof.ts"),
    loadAudit: () => import("../app/audit-apart.ts"),
    loadReplay: () => import("../app/replay.ts"),
    loadEvidence: async () => ({
      ...(await import("../app/evidence.ts")),
      ...(await import("../app/verify.ts")),
    }),
  };
}

function outOf(stream: NodeJS.WriteStream, name: string): Out {
  // A failed write is told by its callback; without a listener the event would end the process.
  stream.on("error", () => {});
  return {
    terminal: stream.isTTY ? stream : undefined,
    write: async (text) => {
      try {
        await writeWhole(stream, text);
      } catch (error) {
        throw systemCode(error) === "EPIPE"
          ? new ReaderGone()
          : fileError("OutputFailed", "cannot write", name, error);
      }
    },
  };
}
