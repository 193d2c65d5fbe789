import { spawn } from "node:child_process";
import type { Commands } from "../../ports/commands.ts";

/** Characters of what a command says on standard error that are told. */
const STDERR_CHARS = 500;

/** Commands by the system's shell. */
export function createCommands(): Commands {
  return {
    run: (command, input, mostMs) =>
      new Promise((resolve) => {
        const child = spawn(command, { shell: true, stdio: ["pipe", "ignore", "pipe"], timeout: mostMs });
        let stderr = "";
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
          if (stderr.length < STDERR_CHARS) stderr = (stderr + text).slice(0, STDERR_CHARS);
        });
        // It need not read what it is given.
        child.stdin.on("error", () => {});
        child.stdin.end(input);
        child.on("error", (error) => resolve({ code: error.message, stderr }));
        child.on("close", (code, signal) =>
          resolve({ code: code ?? signal ?? "it was ended", stderr: stderr.trim() }),
        );
      }),
  };
}
