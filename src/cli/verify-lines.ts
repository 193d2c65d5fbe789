import type {
  Divergence,
  ExplainedDivergence,
  ReplayReport,
  ReplayProgress as VerifiedSoFar,
} from "../app/replay-types.ts";
import type { Value } from "../core/canonical.ts";
import { EXIT } from "./errors.ts";
import { formatNumber, formatSeconds, shortJson } from "./format.ts";
import type { Io } from "./io.ts";
import { Bar } from "./progress.ts";
import { refusedLines, selectionLines, unknownKeyLines } from "./selection.ts";

/** Of the thousandths of a bar. */
const PARTS = 1_000;

/** Says how far history that is verified is. */
export class VerifyProgress {
  readonly #bar: Bar;

  constructor(io: Io, quiet: boolean) {
    this.#bar = new Bar(io, quiet, "{steps} steps, {rate} steps/s{left}");
  }

  update({ steps, share, stepsPerSecond, secondsLeft }: VerifiedSoFar): void {
    this.#bar.update(Math.round(share * PARTS), PARTS, {
      steps: formatNumber(steps),
      rate: formatNumber(Math.round(stepsPerSecond)),
      left: secondsLeft === undefined ? "" : `, ${formatSeconds(secondsLeft)} left`,
    });
  }

  stop(): void {
    this.#bar.stop();
  }
}

/** The exit code: something came out differently, or not. */
export function verifyExit({ diverged, quarantined }: ReplayReport): number {
  return diverged + (quarantined?.otherError ?? 0) > 0 ? EXIT.problem : EXIT.ok;
}

/** What came of verifying history, for people. */
export function verifyLines(report: ReplayReport): string[] {
  const { firstDivergence: first, firstGone: gone } = report;
  return [
    `pipeline   ${report.pipeline}  verify  ordinals ${report.from} to ${report.to}`,
    ...selectionLines(report.only),
    `records    ${formatNumber(report.records)}`,
    ...unknownKeyLines(report),
    ...refusedLines(report.quarantined),
    `steps      ${formatNumber(report.steps)}: ${formatNumber(report.matched)} as recorded, ${formatNumber(report.diverged)} not`,
    ...(first === undefined ? [] : divergenceLines(first)),
    ...(gone === undefined
      ? []
      : [
          `gone       ${formatNumber(report.unverifiable)} inputs cannot be run again, the first is ${gone.address}`,
          `  ${gone.reason}`,
        ]),
    `time       ${formatSeconds(report.seconds)}`,
  ];
}

const WHAT: Readonly<Record<Divergence["kind"], string>> = {
  input: "the input is another record, or none comes",
  failed: "it fails and had not, or did and does not",
  results: "it gives another number of results",
  digest: "a result is another record",
  label: "a result goes to another output",
  previous: "it goes on from another step of its key",
  timed: "a result is of another kind or made of other records, or another record is late",
};

function divergenceLines(first: ExplainedDivergence): string[] {
  const shown = (value: unknown) => shortJson(value as Value);
  const recorded = first.expectedValue === undefined ? "" : `  ${shown(first.expectedValue)}`;
  const named = first.fields?.map((field) => (field === "" ? "(the record)" : field));
  return [
    `first      ${first.address}${first.stage === undefined ? "" : ` at stage ${first.stage}`} (version ${first.version}, ordinal ${first.ordinal}): ${WHAT[first.kind]}`,
    ...(first.expected === undefined ? [] : [`  recorded ${first.expected}${recorded}`]),
    ...(first.actual === undefined ? [] : [`  now      ${first.actual}  ${shown(first.value)}`]),
    ...(named === undefined || named.length === 0 ? [] : [`  in       ${named.join(", ")}`]),
    ...first.causes.map(({ kind, where, was, is }) => {
      const places = was === undefined ? "" : `: ${was} then, ${is} now`;
      return `  why      ${WHY[kind]}${places}${where === undefined ? "" : ` (${where})`}`;
    }),
  ];
}

const WHY: Readonly<Record<ExplainedDivergence["causes"][number]["kind"], string>> = {
  clock: "the pipeline's code reads the clock; ctx.now() is the same in every run",
  random: "the pipeline's code draws random numbers; ctx.random() and ctx.uuid() are the same in every run",
  "module-state": "it gives something else each time: its module keeps something between calls",
  "time-zone": "it hangs on the time zone (TZ), and gives what it gave in that of then",
  locale: "it hangs on the locale (LC_ALL, LANG), and gives what it gave in that of then",
  elsewhere: "it gives the same each time now: it depends on something that is another than it was then",
};
