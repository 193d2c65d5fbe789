import { Command } from "commander";
import type { AuditReport, CheckAssurance } from "../app/audit-types.ts";
import { badUsage, EXIT } from "./errors.ts";
import { formatNumber, onOneLine, paint, table } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { type CommonOptions, collect, commonOptions, mustGoWith } from "./options.ts";
import { Bar } from "./progress.ts";

/** Streams that are named of which it is not known how many records were let go of. */
const UNCOUNTED_SHOWN = 3;

interface AuditOptions {
  readonly checkpoint?: readonly string[];
  readonly verifier?: readonly string[];
  readonly check?: readonly string[];
  readonly reexecute?: string;
  readonly seed?: string;
}

const EXAMPLES = `
Checks:
  chain         each stream's events, none missing, each as it was written
  checkpoint    the log still goes on from what was signed
  continuity    each step goes on from what the one before it gave
  payload       the records that are kept have the digests that the steps have, and deployments and code their own
  conservation  every accepted record comes to an end, and none twice
  reexecution   with --reexecute: a sample of inputs, run again, gives in every step what was recorded. That runs code
                from the log: only for logs that you trust. With a --seed that nobody knew when the log was written, nobody
                could know which inputs are in the sample.

Examples:
  headwater audit
  headwater audit --checkpoint monday.note --verifier example.com/audit+12345678+AbC…
  headwater audit --check few-failures.ts`;

/** The command `headwater audit`. `done` is told the exit code. */
export function auditCommand(io: Io, done: (code: number) => void): Command {
  return new Command("audit")
    .summary("check that nothing in the log was changed")
    .description("Checks the log, and exits with 1 when something in it is not as it was written.")
    .argument("[pipeline]", "only the records of this pipeline, where a check is about records")
    .option("--checkpoint <file>", "a note that headwater checkpoint signed; repeat it for several", collect)
    .option("--verifier <key>", "whose notes are believed: name+id+base64; repeat it for several", collect)
    .option("--check <module>", "a check of your own, run besides; repeat it for several", collect)
    .option("--reexecute <rate>", "run this share of all inputs again, such as 0.01, and compare")
    .option("--seed <text>", "reexecute: decides which inputs (default: the log's id)")
    .addHelpText("after", EXAMPLES)
    .action(async (pipeline: string | undefined, own: AuditOptions, command: Command) => {
      done(await audit(io, pipeline, own, commonOptions(command.optsWithGlobals(), io)));
    });
}

function shareOf(text: string): number {
  const share = Number(text);
  if (text.trim() !== "" && share > 0 && share <= 1) return share;
  const hint = "Give a number above 0, and at most 1: 0.01 is one in a hundred.";
  throw badUsage(`not a share of all inputs: ${JSON.stringify(text)}`, "--reexecute", hint);
}

async function audit(
  io: Io,
  pipeline: string | undefined,
  { checkpoint = [], verifier = [], check = [], reexecute, seed }: AuditOptions,
  common: CommonOptions,
): Promise<number> {
  mustGoWith("--seed", seed, { "--reexecute": reexecute });
  if (checkpoint.length > 0 && verifier.length === 0) {
    const hint = "Give the key that headwater keygen printed: without it the note proves nothing.";
    throw badUsage("a checkpoint needs the key that verifies it", "--verifier", hint);
  }
  const share = reexecute === undefined ? undefined : shareOf(reexecute);
  const app = await io.loadAudit();
  const bar = new Bar(io, common.quiet, "{events} events read");
  const interrupt = listenForInterrupt(io, { second: () => bar.stop() });
  let report: AuditReport;
  try {
    report = await app.audit({
      log: common.log,
      ...(pipeline !== undefined && { pipeline }),
      checkpoints: checkpoint,
      verifiers: verifier,
      checks: check,
      ...(share !== undefined && { reexecute: share }),
      ...(seed !== undefined && { seed }),
      signal: interrupt.signal,
      onProgress: (events, of) => bar.update(events, of, { events: formatNumber(events) }),
    });
  } finally {
    interrupt.release();
    bar.stop();
  }
  if (common.json) await io.stdout.write(`${JSON.stringify(report)}\n`);
  else if (!common.quiet)
    await io.stdout.write(`${reportLines(io, report, checkpoint.length > 0).join("\n")}\n`);
  return report.ok ? EXIT.ok : EXIT.problem;
}

function reportLines(io: Io, report: AuditReport, signed: boolean): string[] {
  const rows = report.checks.map(({ name, ok, checked, unverifiable, failed }) => [
    name,
    ok ? "ok" : "FAILED",
    formatNumber(checked),
    unverifiable === 0 ? "" : formatNumber(unverifiable),
    failed === 0 ? "" : formatNumber(failed),
  ]);
  const [head = "", ...lines] = table(
    ["check", "", "checked", "unverifiable", "failures"],
    rows,
    new Set([2, 3, 4]),
  );
  const failures = report.checks.flatMap(({ name, failures: [first] }) =>
    first === undefined
      ? []
      : [`${paint(io, io.stdout, "red", first.address)}: ${onOneLine(first.message)} (${onOneLine(name)})`],
  );
  const counts = report.checks.flatMap(({ counts: found = {} }) => countTexts(found));
  const gone = report.checks.flatMap(({ gone: found = {} }) => countTexts(found));
  const uncounted = report.checks.flatMap(({ uncounted: found = [] }) => found);
  const samples = report.checks.flatMap(({ samples: found = {} }) =>
    Object.entries(found).map(([name, rate]) => `${formatNumber(rate * 100, 2)} % of ${name}`),
  );
  const sure = report.checks.flatMap(({ assurance, unverifiable }) =>
    assurance === undefined ? [] : [assuranceLine(assurance, unverifiable)],
  );
  const kept = gone.length + uncounted.length === 0 ? "" : " that are kept";
  return [
    paint(io, io.stdout, "dim", head),
    ...lines,
    ...(sure.length === 0 ? [] : ["", ...sure]),
    ...(counts.length === 0 ? [] : ["", `What became of the records${kept}: ${counts.join(", ")}.`]),
    ...(gone.length === 0 ? [] : [`Before them, and let go of: ${gone.join(", ")}.`]),
    ...(uncounted.length === 0 ? [] : [uncountedLine(uncounted)]),
    ...(samples.length === 0 ? [] : ["", `Samples are kept, and checked: ${samples.join(", ")}.`]),
    ...(failures.length === 0 ? [] : ["", "The first failure of each check:", ...failures]),
    ...(signed
      ? []
      : ["", "Without --checkpoint a log that was changed and chained anew as a whole is not found."]),
  ];
}

function uncountedLine(streams: readonly string[]): string {
  const more = streams.length - UNCOUNTED_SHOWN;
  const shown = streams.slice(0, UNCOUNTED_SHOWN).join(", ");
  return `How many were let go of in ${shown}${more > 0 ? ` and ${formatNumber(more)} more` : ""} is not known: nothing that is left of it says so.`;
}

function countTexts(counts: Readonly<Record<string, number>>): string[] {
  return Object.entries(counts).flatMap(([name, count]) =>
    count === 0 ? [] : [`${formatNumber(count)} ${name}`],
  );
}

function assuranceLine({ confidence, share, of }: CheckAssurance, unverifiable: number): string {
  const which = unverifiable === 0 ? "inputs" : "inputs that can be run again";
  if (share === 1) return `All ${formatNumber(of)} ${which} give in every step what was recorded.`;
  // Rounded down: what is not sure is not said.
  const percent = Math.floor(share * 1e6) / 1e4;
  return `It is ${formatNumber(confidence * 100, 2)} % sure that at least ${formatNumber(percent, 4)} % of ${formatNumber(of)} ${which} give in every step what was recorded.`;
}
