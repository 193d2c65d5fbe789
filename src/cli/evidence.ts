import { Command } from "commander";
import type { VerifyReport } from "../app/evidence-types.ts";
import { EXIT } from "./errors.ts";
import { formatNumber, onOneLine, paint } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { collect, commonOptions } from "./options.ts";

interface EvidenceOptions {
  readonly checkpoint: string;
  readonly out: string;
}

/** The command `headwater evidence`. `done` is told the exit code. */
export function evidenceCommand(io: Io, done: (code: number) => void): Command {
  return new Command("evidence")
    .summary("prove where a record came from, in one file")
    .description(
      "Writes one file with a record's lineage, from which headwater verify shows that it is what was signed.",
    )
    .argument("<record>", "an address, [PIPELINE/]SOURCE:ID, [PIPELINE/]SINK#N, or [PIPELINE/]SINK@KEY")
    .requiredOption("--checkpoint <file>", "a note that headwater checkpoint signed after the record")
    .requiredOption("--out <file>", "where the evidence goes, in place of older evidence")
    .action(async (record: string, own: EvidenceOptions, command: Command) => {
      const common = commonOptions(command.optsWithGlobals(), io);
      const interrupt = listenForInterrupt(io);
      try {
        const app = await io.loadEvidence();
        const report = await app.evidence({ log: common.log, record, ...own, signal: interrupt.signal });
        if (common.json) await io.stdout.write(`${JSON.stringify(report)}\n`);
        else if (!common.quiet) {
          const { vertices, values, events, bytes, file } = report;
          await io.stdout.write(
            `${report.record}: ${formatNumber(vertices)} records on its way, ${formatNumber(values)} of them with their values, ` +
              `proven by ${formatNumber(events)} events: ${file} (${formatNumber(bytes)} bytes)\n`,
          );
        }
      } finally {
        interrupt.release();
      }
      done(EXIT.ok);
    });
}

/** The command `headwater verify`. */
export function verifyCommand(io: Io, done: (code: number) => void): Command {
  return new Command("verify")
    .summary("check evidence, without the log")
    .description(
      "Checks a file that headwater evidence wrote, and exits with 1 when it does not prove what it says.",
    )
    .argument("<file>", "the evidence")
    .requiredOption(
      "--verifier <key>",
      "whose checkpoints are believed: name+id+base64; repeat it for several",
      collect,
    )
    .action(async (file: string, own: { readonly verifier: readonly string[] }, command: Command) => {
      const common = commonOptions(command.optsWithGlobals(), io);
      const report = await (await io.loadEvidence()).verify({ file, verifiers: own.verifier });
      if (common.json) await io.stdout.write(`${JSON.stringify(report, shown)}\n`);
      else if (!common.quiet) await io.stdout.write(`${lines(io, report).join("\n")}\n`);
      done(report.ok ? EXIT.ok : EXIT.problem);
    });
}

/** JSON has no bytes and no 64-bit integers. */
function shown(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}

function lines(io: Io, report: VerifyReport): string[] {
  const { checkpoint, record, events, values, records, failures } = report;
  if (!report.ok) {
    return failures.map(
      ({ address, message }) => `${paint(io, io.stdout, "red", address)}: ${onOneLine(message)}`,
    );
  }
  return [
    `${onOneLine(record)} is proven: ${formatNumber(events)} events, all among the ${formatNumber(checkpoint.size)} that ${checkpoint.signer.split("+")[0]} has signed; ${formatNumber(values)} of ${formatNumber(records.length)} records have their values`,
    ...records.map(({ address, digest, value }) =>
      onOneLine(
        [`  ${address}`, digest ?? "", value === undefined ? "" : JSON.stringify(value, shown)]
          .join("  ")
          .trimEnd(),
      ),
    ),
  ];
}
