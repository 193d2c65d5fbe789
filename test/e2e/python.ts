import { execFileSync } from "node:child_process";

/** Runs a python3 that has what the script imports; pip's own copy of msgpack will do. `undefined`: there is none. */
export function pythonWithLibraries(): ((args: readonly string[]) => string) | undefined {
  const shim =
    "import sys\ntry:\n import msgpack\nexcept ImportError:\n import pip._vendor.msgpack as msgpack\n sys.modules['msgpack'] = msgpack\nimport cryptography.hazmat.primitives.asymmetric.ed25519\n";
  const start = `${shim}import runpy\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')`;
  for (const python of ["python3", "/usr/bin/python3"]) {
    try {
      execFileSync(python, ["-c", shim], { stdio: "ignore" });
      return (args) => execFileSync(python, ["-c", start, ...args], { encoding: "utf8", stdio: "pipe" });
    } catch {
      // The next one may have them.
    }
  }
  return undefined;
}
