import type {
  DiffTotals,
  ForkProgress,
  NewlyRefused,
  OutputsDiff,
  WhatIfReport,
} from "../app/what-if-types.ts";
import { formatNumber, formatSeconds, shortJson, table } from "./format.ts";
import type { Io } from "./io.ts";
import { Bar } from "./progress.ts";
import { refusedLines, selectionLines, unknownKeyLines } from "./selection.ts";

/** Says how far a replay is: a bar on a terminal, else a line from time to time. */
export class ReplayProgress {
  readonly #bar: Bar;

  constructor(io: Io, quiet: boolean) {
    this.#bar = new Bar(io, quiet, "{records} records, {rate} records/s{left}");
  }

  update({ records, of, recordsPerSecond, secondsLeft }: ForkProgress): void {
    this.#bar.update(records, of, {
      records: formatNumber(records),
      rate: formatNumber(recordsPerSecond),
      left: secondsLeft === undefined ? "" : `, ${formatSeconds(secondsLeft)} left`,
    });
  }

  stop(): void {
    this.#bar.stop();
  }
}

/** Differences that are shown to people. */
const SHOWN_EXAMPLES = 3;
/** Fields that are named to people. */
const SHOWN_FIELDS = 5;

/** What came of a replay with a fork, for people. */
export function whatIfLines(report: Omit<WhatIfReport, "seconds"> & { readonly seconds?: number }): string[] {
  const { diff } = report;
  const reused = report.reused === 0 ? "" : `, ${formatNumber(report.reused)} taken as they were recorded`;
  return [
    `pipeline   ${report.pipeline}  what-if ${report.id}  against version ${report.version}, ordinals ${report.from} to ${report.to}`,
    ...selectionLines(report.only),
    `records    ${formatNumber(report.records)}`,
    ...unknownKeyLines(report),
    ...goneLines(report),
    ...effectsGoneLines(report),
    ...putBackLines(report),
    ...refusedLines(report.quarantined),
    ...newlyRefusedLines(report),
    `steps      ${formatNumber(report.reexecuted)} run${reused}`,
    `outputs    ${countsText(diff)}`,
    ...table(
      ["", "same", "changed", "added", "gone", ...(diff.unverifiable === undefined ? [] : ["unverifiable"])],
      [
        ...diff.sinks.map(({ sink, ...counts }) => row(`sink ${sink}`, counts, diff)),
        ...diff.stages.map(({ stage, ...counts }) => row(`stage ${stage}`, counts, diff)),
      ],
      new Set([1, 2, 3, 4, 5]),
    ).map((line) => `  ${line}`),
    ...diff.sinks.flatMap(fieldLines),
    ...exampleLines(diff),
    ...stillOpenLines(report),
    ...(report.seconds === undefined ? [] : [`time       ${formatSeconds(report.seconds)}`]),
  ];
}

/** What of the window was not there any more. */
function goneLines({ gone, from }: Omit<WhatIfReport, "seconds">): string[] {
  if (gone === undefined) return [];
  const begun =
    gone.asked === undefined ? "" : `, so that it begins at ordinal ${from}, not at ${gone.asked}`;
  return [
    `let go of  ${formatNumber(gone.records)} records are not kept, the first is ${gone.first}${begun}`,
  ];
}

function effectsGoneLines({ effectsGone, from }: Omit<WhatIfReport, "seconds">): string[] {
  if (effectsGone === undefined) return [];
  const { first, asked, records } = effectsGone;
  return [
    `let go of  results of effects are not kept, the first are those of ${first}: it begins at ordinal ${from}, not at ${asked}, ${formatNumber(records)} records later`,
    "  --new-effects call runs all, and calls them again",
  ];
}

function putBackLines({ putBack }: Omit<WhatIfReport, "seconds">): string[] {
  if (putBack === undefined) return [];
  const { records, first, earlier, refused } = putBack;
  return [
    ...(first === undefined
      ? []
      : [
          `put back   ${formatNumber(records)} refused records were put back then, the first is ${first}: each is compared where it had failed`,
        ]),
    ...refused.map((one) => `  refused now, so that what came of it is gone: ${refusedAt(one)}`),
    ...(earlier === 0
      ? []
      : [
          `put back   ${formatNumber(earlier)} records that had failed before the window were put back in it: they are not in the replay`,
        ]),
  ];
}

function stillOpenLines({ stillOpen, to }: Omit<WhatIfReport, "seconds">): string[] {
  if (stillOpen === undefined) return [];
  return [
    `open       ${stillOpen.join(", ")}: what was open at ordinal ${to} has given nothing yet, and is not compared`,
  ];
}

/** What fails now, and had not. */
function newlyRefusedLines({ newlyRefused, pipeline, id }: Omit<WhatIfReport, "seconds">): string[] {
  if (newlyRefused === undefined) return [];
  const records = newlyRefused.reduce((sum, one) => sum + one.records, 0);
  return [
    `refused    ${formatNumber(records)} records that were not refused then: headwater quarantine list ${pipeline}~${id}`,
    ...newlyRefused.map((one) => `  ${refusedAt(one)}`),
  ];
}

function refusedAt({ stage, records, first }: NewlyRefused): string {
  return `stage ${stage}: ${formatNumber(records)}, the first is of ${first.address}: ${first.message}`;
}

function row(
  name: string,
  { same, changed, added, gone, unverifiable = 0 }: DiffTotals,
  all: DiffTotals,
): string[] {
  const counts = [same, changed, added, gone, ...(all.unverifiable === undefined ? [] : [unverifiable])];
  return [name, ...counts.map((count) => formatNumber(count))];
}

function countsText({ same, changed, added, gone, unverifiable }: DiffTotals): string {
  const more =
    unverifiable === undefined
      ? ""
      : `, ${formatNumber(unverifiable)} cannot be compared: they are made of records that are not kept`;
  return `${formatNumber(same)} same, ${formatNumber(changed)} changed, ${formatNumber(added)} added, ${formatNumber(gone)} gone${more}`;
}

function fieldLines({ sink, fields }: OutputsDiff["sinks"][number]): string[] {
  const most = Object.entries(fields).sort(([, a], [, b]) => b - a);
  if (most.length === 0) return [];
  const named = most
    .slice(0, SHOWN_FIELDS)
    .map(([field, count]) => `${nameOf(field)} ${formatNumber(count)}`);
  const more = most.length > SHOWN_FIELDS ? `, and ${most.length - SHOWN_FIELDS} more` : "";
  return [`fields     of ${sink}: ${named.join(", ")}${more}`];
}

function nameOf(field: string): string {
  return field === "" ? "(the record)" : field;
}

function exampleLines({ examples }: OutputsDiff): string[] {
  return examples
    .slice(0, SHOWN_EXAMPLES)
    .flatMap(({ kind, sink, from, before, after, fields }) => [
      `${kind.padEnd(10)} ${sink}: ${from}${fields === undefined ? "" : ` in ${fields.map(nameOf).join(", ")}`}`,
      ...(before === undefined ? [] : [`  then     ${shortJson(before)}`]),
      ...(after === undefined ? [] : [`  now      ${shortJson(after)}`]),
    ]);
}
