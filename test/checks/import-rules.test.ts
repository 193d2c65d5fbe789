import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const root = new URL("../..", import.meta.url).pathname;

/** The project's import rules, held to a small tree that breaks them. */
describe("import rules", () => {
  let dir: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "headwater-imports-"));
    symlinkSync(join(root, "node_modules"), join(dir, "node_modules"));
    write("tsconfig.json", "{}");
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  function write(path: string, text: string): void {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }

  function check(): { readonly status: number | null; readonly output: string } {
    const bin = join(root, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
    const config = join(root, ".dependency-cruiser.cjs");
    const done = spawnSync(process.execPath, [bin, "--config", config, "src"], {
      cwd: dir,
      encoding: "utf8",
    });
    return { status: done.status, output: done.stdout + done.stderr };
  }

  it("lets a tree through that keeps them", () => {
    write("src/core/a.ts", "export const a = 1;\n");
    write("src/ports/b.ts", 'import { a } from "../core/a.ts";\nexport const b = a;\n');
    expect(check()).toMatchObject({ status: 0 });
  });

  it("refuses an import against the layers", () => {
    write("src/core/a.ts", 'import { b } from "../ports/b.ts";\nexport const a = b;\n');
    write("src/ports/b.ts", "export const b = 1;\n");
    const { status, output } = check();
    expect(status).not.toBe(0);
    expect(output).toContain("src-core-imports");
  });

  it("refuses an import that leads nowhere", () => {
    write("src/core/a.ts", 'import { b } from "./b.ts";\nexport const a = b;\n');
    const { status, output } = check();
    expect(status).not.toBe(0);
    expect(output).toContain("unresolvable");
  });

  it("refuses a store's package outside of its adapter, and one adapter that knows another", () => {
    write("src/runtime/a.ts", 'import { open } from "lmdb";\nexport const a = open;\n');
    write("src/adapters/x/x.ts", "export const x = 1;\n");
    write("src/adapters/y/y.ts", 'import { x } from "../x/x.ts";\nexport const y = x;\n');
    const { output } = check();
    expect(output).toContain("package-lmdb");
    expect(output).toContain("one-adapter-does-not-know-another");
  });
});
