import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createChildren } from "../adapters/system/children.ts";
import type { Children } from "../ports/children.ts";
import { auditIn } from "./audit-apart.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-apart-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Real processes that do what `script` says, whatever is asked of them. */
async function doing(script: string): Promise<Children> {
  const file = join(folder, "child.mjs");
  await writeFile(file, script);
  const { run } = createChildren();
  return { run: (_, request, onMessage, signal) => run(pathToFileURL(file), request, onMessage, signal) };
}

const request = { log: "lmdb:x", checkpoints: [], verifiers: [] };

test("a reader that the log's file ends is reported as damage", async () => {
  const children = await doing(`
    process.on("message", () => {
      process.send({ kind: "progress", events: 512, of: 1000 }, () => process.kill(process.pid, "SIGSEGV"));
    });`);
  const seen: number[][] = [];
  const report = await auditIn(children, { ...request, onProgress: (...at) => seen.push(at) });
  expect(seen).toEqual([[512, 1_000]]);
  expect(report).toMatchObject({ ok: false, checks: [{ name: "chain", ok: false, checked: 512 }] });
  expect(report.checks[0]?.failures[0]).toMatchObject({
    code: "LogDamaged",
    message: expect.stringContaining("SIGSEGV"),
  });
});

test.each(["SIGKILL", "SIGTERM"])(
  "of a reader that is ended from outside nothing is said: %s",
  async (how) => {
    const children = await doing(`process.on("message", () => process.kill(process.pid, "${how}"));`);
    await expect(auditIn(children, request)).rejects.toMatchObject({ code: "NodeLost", where: how });
  },
);

test("a reader that has no memory left says so", async () => {
  const filling = `
    process.on("message", () => {
      const kept = [];
      for (;;) kept.push({ at: kept.length, text: [kept.length] });
    });`;
  const before = process.env["NODE_OPTIONS"];
  process.env["NODE_OPTIONS"] = "--max-old-space-size=20";
  try {
    await expect(auditIn(await doing(filling), request)).rejects.toMatchObject({ code: "LogUnavailable" });
  } finally {
    if (before === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = before;
  }
});

test("a reader that ends without a word has found nothing good", async () => {
  const report = await auditIn(await doing("process.exit(7);"), request);
  expect(report.checks[0]?.failures[0]?.message).toContain("exit code 7");
});

test("what a reader says is what is answered, errors with all that they carry", async () => {
  const error = { kind: "error", error: { code: "LogTooNew", message: "m", hint: "h", where: "w" } };
  const saying = (message: unknown) =>
    doing(`process.on("message", ({ request }) => {
      process.send({ ...${JSON.stringify(message)}, log: request.log }, () => process.disconnect());
    });`);
  await expect(auditIn(await saying(error), request)).rejects.toMatchObject({
    code: "LogTooNew",
    message: "m",
    hint: "h",
    where: "w",
  });
  const report = { ok: true, checks: [] };
  expect(await auditIn(await saying({ kind: "report", report }), request)).toEqual(report);
});

test("a reader is told to stop", async () => {
  const children = await doing(`
    process.on("message", ({ kind }) => {
      if (kind === "begin") process.send({ kind: "progress", events: 1, of: 2 });
      else process.disconnect();
    });`);
  const stop = new AbortController();
  const audited = auditIn(children, { ...request, signal: stop.signal, onProgress: () => stop.abort() });
  await expect(audited).rejects.toMatchObject({ code: "Stopped" });
});
