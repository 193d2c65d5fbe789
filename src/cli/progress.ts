import type { SingleBar } from "cli-progress";
import type { RunProgress } from "../app/run-types.ts";
import { formatBytes, formatNumber, onOneLine } from "./format.ts";
import type { Io } from "./io.ts";

/** A run that is done by then shows no bar. */
const PATIENCE_MS = 1_000;

/** Shows how far a run is. */
export class Progress {
  private readonly bar: Bar;

  constructor(io: Io, quiet: boolean) {
    this.bar = new Bar(io, quiet, "{accepted} records accepted, {delivered} through, {read} read{held}");
  }

  update(progress: RunProgress): void {
    this.bar.update(progress.bytesRead, progress.bytes, {
      accepted: formatNumber(progress.accepted),
      delivered: formatNumber(progress.delivered),
      read: formatBytes(progress.bytesRead),
      held: heldBack(progress),
    });
  }

  /** Prints a line on standard error without tearing the bar. */
  note(line: string): Promise<void> {
    return this.bar.note(line);
  }

  stop(): void {
    this.bar.stop();
  }
}

function heldBack({ heldBackBy }: RunProgress): string {
  if (heldBackBy === undefined) return "";
  const { by, reason } = heldBackBy;
  return `; held back by ${by}${reason === undefined ? "" : ` (${onOneLine(reason)})`}`;
}

/** A bar on a terminal, shown once the work takes longer than a second. */
export class Bar {
  private readonly io: Io;
  private readonly format: string;
  private readonly shown: boolean;
  private readonly started: number;
  private bar: SingleBar | undefined;
  private loading = false;
  private stopped = false;

  /** `format` stands behind the bar; it names what {@link update} is given in braces. */
  constructor(io: Io, quiet: boolean, format: string) {
    this.io = io;
    this.format = format;
    this.shown = !quiet && io.stderr.terminal !== undefined;
    this.started = io.monotonic();
  }

  /** `of`: where the work ends; without it there is only text. */
  update(at: number, of: number | undefined, texts: Readonly<Record<string, string>>): void {
    if (!this.shown || this.stopped || this.io.monotonic() - this.started < PATIENCE_MS) return;
    if (this.bar === undefined) void this.begin(at, of, texts);
    else this.bar.update(at, texts);
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

  private async begin(
    at: number,
    of: number | undefined,
    texts: Readonly<Record<string, string>>,
  ): Promise<void> {
    const stream = this.io.stderr.terminal;
    if (this.loading || stream === undefined) return;
    this.loading = true;
    const { default: library } = await import("cli-progress");
    if (this.stopped) return;
    const known = of !== undefined && of > 0;
    const bar = new library.SingleBar({
      stream,
      format: `${known ? "{bar} {percentage}% " : ""}${this.format}`,
      barsize: 24,
      barCompleteChar: "=",
      barIncompleteChar: "-",
      hideCursor: true,
      clearOnComplete: true,
      fps: 10,
    });
    bar.start(Math.max(of ?? 1, 1), at, texts);
    this.bar = bar;
  }
}
