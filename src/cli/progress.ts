import type { SingleBar } from "cli-progress";
import type { RunProgress } from "../app/run-types.ts";
import { formatBytes, formatNumber } from "./format.ts";
import type { Io } from "./io.ts";

/** A run that is done by then shows no bar. */
const PATIENCE_MS = 1_000;

/** Shows how far a run is, on a terminal, once it takes longer than a second. */
export class Progress {
  private readonly io: Io;
  private readonly shown: boolean;
  private readonly started: number;
  private bar: SingleBar | undefined;
  private loading = false;
  private stopped = false;

  constructor(io: Io, quiet: boolean) {
    this.io = io;
    this.shown = !quiet && io.stderr.terminal !== undefined;
    this.started = io.monotonic();
  }

  update(progress: RunProgress): void {
    if (!this.shown || this.stopped || this.io.monotonic() - this.started < PATIENCE_MS) return;
    if (this.bar === undefined) void this.begin(progress);
    else this.bar.update(progress.bytesRead, payload(progress));
  }

  /** Prints a line on standard error without tearing the bar. */
  async note(line: string): Promise<void> {
    // The bar goes back to where it began when it ends: it ends before the line, and begins anew below it.
    this.bar?.stop();
    this.bar = undefined;
    this.loading = false;
    await this.io.stderr.write(`${line}\n`);
  }

  stop(): void {
    this.stopped = true;
    this.bar?.stop();
    this.bar = undefined;
  }

  private async begin(progress: RunProgress): Promise<void> {
    const stream = this.io.stderr.terminal;
    if (this.loading || stream === undefined) return;
    this.loading = true;
    const { default: library } = await import("cli-progress");
    if (this.stopped) return;
    const known = progress.bytes !== undefined && progress.bytes > 0;
    const bar = new library.SingleBar({
      stream,
      format: `${known ? "{bar} {percentage}% " : ""}{accepted} records accepted, {delivered} through, {read} read`,
      barsize: 24,
      barCompleteChar: "=",
      barIncompleteChar: "-",
      hideCursor: true,
      clearOnComplete: true,
      fps: 10,
    });
    bar.start(Math.max(progress.bytes ?? 1, 1), progress.bytesRead, payload(progress));
    this.bar = bar;
  }
}

function payload(progress: RunProgress): Readonly<Record<string, string>> {
  return {
    accepted: formatNumber(progress.accepted),
    delivered: formatNumber(progress.delivered),
    read: formatBytes(progress.bytesRead),
  };
}
