import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The command in this checkout. */
const COMMAND = fileURLToPath(new URL("../../bin/headwater.js", import.meta.url));

/** The path of a file of this project. */
export function projectFile(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

/** How a run of the command ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What it reads from standard input; nothing if absent. */
  readonly stdin?: string;
}

/** One `headwater …` at work. */
export class Command {
  readonly #child: ChildProcess;
  readonly ended: Promise<Ended>;
  #stdout = "";
  #stderr = "";
  #exited = false;
  #changed: () => void = () => {};

  constructor(args: readonly string[], { cwd, env = {}, stdin }: CommandOptions) {
    const { HEADWATER_LOG: _log, HEADWATER_FAIL_AT: _point, ...inherited } = process.env;
    this.#child = spawn(process.execPath, [COMMAND, ...args], {
      cwd,
      env: { ...inherited, NO_COLOR: "1", ...env },
      stdio: [stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
      this.#changed();
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
      this.#changed();
    });
    // A process that reads nothing of it closes it early.
    this.#child.stdin?.on("error", () => {}).end(stdin);
    this.ended = once(this.#child, "close").then(([code, signal]) => {
      this.#exited = true;
      this.#changed();
      return { code, signal, stdout: this.#stdout, stderr: this.#stderr };
    });
  }

  get exited(): boolean {
    return this.#exited;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error("the command was not started");
    return pid;
  }

  /** What it has printed on standard error so far. */
  get said(): string {
    return this.#stderr;
  }

  /** Stops the process, without ending it; resolves when it stands still. */
  async freeze(): Promise<void> {
    this.kill("SIGSTOP");
    const still = () => /^State:\s+T/m.test(readFileSync(`/proc/${this.pid}/status`, "utf8"));
    while (!this.#exited && !still()) await new Promise((resolve) => setTimeout(resolve, 1));
    if (this.#exited) throw new Error(`the command ended before it was stopped:\n${this.#stderr}`);
  }

  /** Resolves when `text` was printed on standard error. Throws if the command ends without it. */
  async says(text: string): Promise<void> {
    while (!this.#stderr.includes(text)) {
      if (this.#exited) throw new Error(`the command ended without saying ${text}:\n${this.#stderr}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}

/** Runs the command to its end. */
export function headwater(args: readonly string[], options: CommandOptions): Promise<Ended> {
  return new Command(args, options).ended;
}

/** The error that `--json` prints on standard error, which is its last line. */
export function jsonError({ stderr }: Ended): {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly where: string | null;
} {
  const last = stderr.trimEnd().split("\n").at(-1) ?? "";
  return JSON.parse(last).error;
}

/** Makes folders that are gone after the test, and ends commands that are still at work then. */
export class Workplace {
  readonly #folders: string[] = [];
  readonly #commands: Command[] = [];

  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "headwater-e2e-"));
    this.#folders.push(folder);
    return folder;
  }

  start(args: readonly string[], options: CommandOptions): Command {
    const command = new Command(args, options);
    this.#commands.push(command);
    return command;
  }

  /** The logs that commands have left in the folders, where they leave them unless they are told otherwise. */
  logs(): string[] {
    return this.#folders.map((folder) => join(folder, ".headwater")).filter((log) => existsSync(log));
  }

  /** Ends commands that are still at work. */
  async end(): Promise<void> {
    for (const command of this.#commands.splice(0)) {
      if (!command.exited) command.kill("SIGKILL");
      await command.ended;
    }
  }

  async clear(): Promise<void> {
    await this.end();
    for (const folder of this.#folders.splice(0)) await rm(folder, { recursive: true, force: true });
  }
}
