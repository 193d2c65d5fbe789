/**
 * What proof costs: records/s of three stages with checkpoints every second, and without, in alternation; and records/s
 * of an audit with all its checks, of the log that is left. Each in a process of its own.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { keygen } from "../src/app/proof.ts";
import type { AuditFigures } from "./audit-contestant.ts";
import { inProcess, median } from "./measure.ts";

const records = Number(process.argv[2] ?? 300_000);
const rounds = Number(process.argv[3] ?? 5);
const contestant = fileURLToPath(new URL("./audit-contestant.js", import.meta.url));

const dir = mkdtempSync(join(tmpdir(), "headwater-bench-"));
try {
  const { file } = await keygen("bench", dir);
  const runs = Array.from({ length: rounds }, (_, round) => {
    const log = (name: string) => `lmdb:${join(dir, `${name}-${round}`)}`;
    const plain = inProcess<AuditFigures>(contestant, ["run", log("plain"), String(records)]);
    const signed = inProcess<AuditFigures>(contestant, ["run", log("signed"), String(records), file]);
    const audited = inProcess<AuditFigures>(contestant, ["audit", log("signed"), String(records)]);
    rmSync(join(dir, `plain-${round}`), { recursive: true });
    rmSync(join(dir, `signed-${round}`), { recursive: true });
    return { plain, signed, audited };
  });
  const rate = (name: "plain" | "signed" | "audited") =>
    median(runs.map((run) => records / run[name].seconds));
  const ratio = median(runs.map(({ plain, signed }) => plain.seconds / signed.seconds));
  const peak = Math.max(...runs.map(({ audited }) => audited.peakMiB));
  const rows: readonly (readonly [string, string, string])[] = [
    ["run without checkpoints", rate("plain").toFixed(0), "records/s"],
    ["run with checkpoints", rate("signed").toFixed(0), "records/s"],
    ["with / without", ratio.toFixed(2), "(mark: at least 0.9)"],
    ["audit", rate("audited").toFixed(0), "records/s (mark: at least 150000)"],
    ["peak RssAnon of the audit", peak.toFixed(0), "MiB"],
  ];
  console.log(`${records} records, ${rounds} rounds, medians\n`);
  for (const [name, value, unit] of rows) console.log(`${name.padEnd(28)} ${value.padStart(10)} ${unit}`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
