import type { RunNotice } from "../app/run-types.ts";
import { formatNumber, jsonable, onOneLine } from "./format.ts";

/** Notices of one kind that are printed; the rest is counted. */
const MOST_OF_A_KIND = 10;

/** Characters of a parameter's value that are shown. */
const SHOWN_CHARS = 60;

const MS_PER_SECOND = 1_000;

/** What is said of many notices of a kind: "and 5 more rejected records". */
const MORE: Readonly<Record<RunNotice["kind"], string>> = {
  rejected: "rejected records",
  quarantined: "quarantined records",
  deployed: "deployments",
  resumed: "inputs gone on with",
  "standing-by": "times of standing by",
  "begun-again": "new beginnings",
  checkpoint: "messages about checkpoints",
  log: "messages of the log",
  restarted: "restarts",
  "node-lost": "nodes lost and replaced",
  "no-input": "sources without input",
  "input-failed": "inputs that failed",
  "sink-left-out": "sinks that are left out",
  "time-ahead": "records whose time is far ahead",
  "output-waits": "messages of outputs that wait",
  "output-missing": "output files that are gone",
  "stage-waits": "messages of stages that wait",
  "drain-timeout": "stops before all was finished",
  file: "messages about input files",
};

/** Turns a run's notices into lines, at most ten of a kind. */
export class Notices {
  private readonly counts = new Map<RunNotice["kind"], number>();

  /** The line to print now; `undefined` when there have been enough of its kind. */
  line(notice: RunNotice): string | undefined {
    const count = (this.counts.get(notice.kind) ?? 0) + 1;
    this.counts.set(notice.kind, count);
    return count <= MOST_OF_A_KIND ? onOneLine(`headwater: ${describe(notice)}`) : undefined;
  }

  /** What was left out, one line a kind. */
  rest(): string[] {
    return [...this.counts]
      .filter(([, count]) => count > MOST_OF_A_KIND)
      .map(([kind, count]) => `headwater: and ${formatNumber(count - MOST_OF_A_KIND)} more ${MORE[kind]}`);
  }
}

type Deployed = Extract<RunNotice, { readonly kind: "deployed" }>;

/** `, big.least=5 (its default)`, for each. */
function inForce(parameters: Deployed["parameters"]): string {
  return parameters
    .map(({ stage, name, value, isDefault }) => {
      const text = JSON.stringify(jsonable(value, true));
      const shown = text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
      return `, ${stage}.${name}=${shown}${isDefault ? " (its default)" : ""}`;
    })
    .join("");
}

function describe(notice: RunNotice): string {
  switch (notice.kind) {
    case "deployed":
      return `deployed ${notice.pipeline} version ${notice.version} (${notice.deployment.slice(0, 12)})${inForce(notice.parameters)}`;
    case "rejected":
      return `${notice.where}: ${notice.error.message}`;
    case "quarantined":
      return `quarantined in ${notice.stage}: ${notice.message}: ${notice.address}`;
    case "resumed":
      return `${notice.input}: ${formatNumber(notice.records)} records were taken in before; going on after them`;
    case "standing-by":
    case "begun-again":
    case "checkpoint":
    case "log":
      return notice.message;
    case "no-input":
      return `the source ${notice.source} has no input: name one with --input ${notice.source}=FILE`;
    case "input-failed": {
      const { source, error } = notice;
      const what = error.where === undefined ? error.message : `${error.message}: ${error.where}`;
      return `the input of ${source} failed: ${what}; the others go on, and then the run ends with this`;
    }
    case "sink-left-out":
      return aboutLeftOut(notice);
    case "time-ahead":
      return `${notice.source}: the event time ${new Date(notice.time).toISOString()} is far ahead of all before it (by more than the watermark's maxAhead), and moves no window: ${notice.where}`;
    case "output-waits":
      return notice.reason === undefined
        ? `the receiver of the sink ${notice.sink} takes records again`
        : `the sink ${notice.sink} is kept waiting, and tries again: ${notice.reason}`;
    case "output-missing":
      return aboutMissing(notice);
    case "stage-waits":
      return `${notice.what}, and has for ${notice.ms / MS_PER_SECOND} s: ${notice.why ?? "what its function promised has not come"}`;
    case "drain-timeout":
      return `not finished within ${notice.drainMs / MS_PER_SECOND} s: stopped at once; the rest is left to the next start`;
    case "file":
      return aboutFile(notice);
    case "restarted":
      return `${notice.node} was started again: ${notice.message}`;
    case "node-lost":
      return `${notice.message}${notice.where === undefined ? "" : `: ${notice.where}`}. ${notice.replacement} takes its place. ${notice.hint ?? ""}`.trimEnd();
  }
}

function aboutLeftOut(notice: Extract<RunNotice, { readonly kind: "sink-left-out" }>): string {
  const { sink, to, output, rotate, mayBeLost } = notice;
  const option = `--output ${sink}=${output}${rotate === undefined ? "" : ` --rotate ${sink}=${rotate}`}`;
  const what = `the sink ${sink} is left out this time, and had ${option} before`;
  if (to === "receiver") {
    return `${what}: nothing is sent there, and what comes meanwhile never will be, also when it is named again`;
  }
  const later = "it goes on where it was when it is named again";
  return mayBeLost
    ? `${what}: nothing is written there; ${later}, as far as history is kept. This pipeline lets go of history: what comes meanwhile can be lost to the file, which then cannot go on`
    : `${what}: nothing is written there; ${later}`;
}

function aboutMissing(notice: Extract<RunNotice, { readonly kind: "output-missing" }>): string {
  const { file, sink, bytes, rewritten } = notice;
  const what = `${file} was gone, the last file of the sink ${sink}, of ${formatNumber(bytes)} bytes, and may not have been complete`;
  return rewritten
    ? `${what}: it was written again from the log, and is gone on with`
    : `${what}. The log does not have any more what it had: what comes now goes into the next one. If nobody has it, stop, put it back from a copy, and run again; or give --output ${sink}= another name, under which all that is kept is written anew`;
}

function aboutFile(notice: Extract<RunNotice, { readonly kind: "file" }>): string {
  switch (notice.event) {
    case "rotated":
      return `${notice.file} is another file now: the one before is read to its end, then this one from its beginning`;
    case "truncated":
      return `${notice.file} was truncated: it is read from its beginning`;
    case "found-rotated":
      return `${notice.file} has what the last run had begun to read: the rest of it comes first`;
    case "rotated-between":
      return `${notice.file} had come and was rotated before it was looked at: it is read before the file that has the name now`;
    case "changed":
      return `${notice.file} does not begin any more with what was taken of it before: it is read from its beginning`;
    case "same-content":
      return `${notice.file} has the content of ${notice.as}, which was taken: it is not taken again (--again takes all inputs again)`;
    case "empty-folder":
      return `there are no files in the folder ${notice.file}${notice.follow ? " yet; those that come are read" : ""}`;
    case "left-out":
      return `${notice.file} is left out${notice.follow ? " until it changes" : ""}: ${notice.reason}`;
    case "awaited":
      return `${notice.file} is not there yet: it is read when it comes`;
    case "unreadable":
      return `${notice.file} cannot be read, and is tried again: ${notice.reason}`;
    case "many-files":
      return `the folder ${notice.file} has ${formatNumber(notice.files)} files: at most ${formatNumber(notice.most)} are read. Move those that were taken in to another folder`;
  }
}
