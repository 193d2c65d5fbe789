import { execFileSync } from "node:child_process";

/** A python3 that has what a script imports. */
export interface Python {
  /** Runs a script with its arguments, and answers what it printed. Throws where it fails. */
  run(args: readonly string[]): string;
  /**
   * Runs a script once for each of `files`, with the arguments `more` after it, in one process: what it printed last, or
   * `undefined` where it ended with an error, and what that was.
   */
  verdicts(script: string, files: readonly string[], more: readonly string[]): Verdict[];
}

export interface Verdict {
  readonly accepted: string | null;
  readonly refused: string | null;
}

const SHIM =
  "import sys\ntry:\n import msgpack\nexcept ImportError:\n import pip._vendor.msgpack as msgpack\n sys.modules['msgpack'] = msgpack\nimport cryptography.hazmat.primitives.asymmetric.ed25519\n";
const RUN = `${SHIM}import runpy\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')`;
const RUN_EACH = `${SHIM}import contextlib, io, json, runpy
script, files, more = sys.argv[1], json.load(sys.stdin), sys.argv[2:]
found = []
for file in files:
    sys.argv, printed, refused = [script, file, *more], io.StringIO(), None
    try:
        with contextlib.redirect_stdout(printed): runpy.run_path(script, run_name='__main__')
    except SystemExit as error: refused = str(error.code)
    except Exception as error: refused = type(error).__name__ + ": " + str(error)
    accepted = None if refused is not None else (printed.getvalue().splitlines() or [""])[-1]
    found.append({"accepted": accepted, "refused": refused})
print(json.dumps(found))`;

/** pip's own copy of msgpack will do. `undefined`: there is none. */
export function pythonWithLibraries(): Python | undefined {
  for (const python of ["python3", "/usr/bin/python3"]) {
    try {
      execFileSync(python, ["-c", SHIM], { stdio: "ignore" });
      return {
        run: (args) => execFileSync(python, ["-c", RUN, ...args], { encoding: "utf8", stdio: "pipe" }),
        verdicts: (script, files, more) =>
          JSON.parse(
            execFileSync(python, ["-c", RUN_EACH, script, ...more], {
              encoding: "utf8",
              input: JSON.stringify(files),
            }),
          ) as Verdict[],
      };
    } catch {
      // The next one may have them.
    }
  }
  return undefined;
}
