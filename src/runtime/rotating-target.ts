import { basename, dirname, extname, join } from "node:path";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { ordinalToTime } from "../core/ordinal.ts";
import type { Files } from "../ports/files.ts";
import { FileTarget } from "./file-target.ts";
import {
  type DeliveredPart,
  type OutputBatch,
  type OutputRecord,
  type Preparation,
  type SinkTarget,
  type TargetPlace,
  toJson,
} from "./sink-target.ts";

/** When a new file is begun: before one would have more bytes than this, or with the records of each such time. */
export type Rotation =
  | { readonly by: "size"; readonly bytes: number }
  | { readonly by: "time"; readonly ms: number };

/** How a target's name says it: `4096 bytes`, `3600000 ms`. */
export function divisionOf(rotation: Rotation): string {
  return rotation.by === "size" ? `${rotation.bytes} bytes` : `${rotation.ms} ms`;
}

const DIGITS = 6;

/** A record's line, and the file that it belongs into. */
interface PlacedLine {
  readonly line: string;
  readonly part: string;
}

/**
 * JSON lines into files whose names, in order, give the order of the records: `sums-000001.jsonl` and on, or
 * `sums-20260102T100000Z.jsonl` by the time at which records were accepted. Which file a record is in depends on the
 * records alone. A file that is complete is not looked at any more; whoever reads it may take it away.
 */
export class RotatingTarget implements SinkTarget {
  readonly id: string;
  readonly wantsRecords = true;
  readonly fills = true;
  readonly refills = false;
  readonly #files: Files;
  readonly #path: string;
  readonly #rotation: Rotation;
  /** The file that is written, its name, and its bytes with those that are not flushed. */
  #target: FileTarget | undefined;
  #part: string | undefined;
  #bytes = 0;
  #placed: { readonly batch: OutputBatch; readonly lines: readonly PlacedLine[] } | undefined;
  /** Files that a batch which is written again had begun, or gone on with, and that were complete, and taken away. */
  #taken: ReadonlySet<string> = new Set();
  #confirm: () => Promise<void> = () => Promise.resolve();

  /** `path` is absolute: the name without what tells the files apart. */
  constructor(files: Files, path: string, rotation: Rotation) {
    this.#files = files;
    this.#path = path;
    this.#rotation = rotation;
    this.id = `files:${path} (${divisionOf(rotation)})`;
  }

  async files(): Promise<string> {
    return join(await this.#files.fileAt(dirname(this.#path)), basename(this.#path));
  }

  async writes(path: string): Promise<boolean> {
    const folder = dirname(this.#path);
    const at = await this.#files.fileAt(path);
    if (this.#isPart(basename(at)) && at === join(await this.#files.fileAt(folder), basename(at)))
      return true;
    const found = (await this.#files.filesIn(folder)) ?? [];
    return found.some(({ path: part, identity }) => identity === at && this.#isPart(basename(part)));
  }

  async hasContent(): Promise<boolean> {
    return (await this.firstContent()) !== undefined;
  }

  async firstContent(): Promise<string | undefined> {
    const found = (await this.#files.filesIn(dirname(this.#path))) ?? [];
    const parts = found.map(({ path }) => path).filter((path) => this.#isPart(basename(path)));
    for (const path of parts.sort()) if (await this.#files.hasContent(path)) return path;
    return undefined;
  }

  async mustHold(place: TargetPlace, last: DeliveredPart | undefined): Promise<void> {
    const target = await this.#opened(place);
    if (target !== undefined) await target.mustHold(place, last);
  }

  async open(
    place: TargetPlace,
    last: DeliveredPart | undefined,
    confirm: () => Promise<void>,
  ): Promise<void> {
    this.#confirm = confirm;
    this.#placed = undefined;
    this.#taken = new Set();
    this.#part = place.part;
    this.#target = await this.#opened(place);
    this.#bytes = place.bytes;
    await this.#target?.open(place, last, confirm);
  }

  async prepare(batch: OutputBatch, before: Preparation | undefined): Promise<Preparation | undefined> {
    this.#taken = await this.#takenOf(before?.parts ?? []);
    const lines = this.#place(batch.records);
    this.#placed = { batch, lines };
    const parts = [...new Set(lines.map(({ part }) => part))].filter(
      (part) => part !== this.#part || this.#target === undefined,
    );
    if (parts.length === 0) return undefined;
    for (const part of parts) {
      // What an owner wrote that had said so is written again.
      if (before?.parts?.includes(part)) continue;
      if (!(await this.#files.hasContent(this.#pathOf(part)))) continue;
      // It may be a successor's, of an owner that was asleep.
      await this.#confirm();
      throw foreign(this.#pathOf(part));
    }
    return { parts };
  }

  async write(batch: OutputBatch): Promise<boolean> {
    if (this.#placed?.batch !== batch) {
      throw new HeadwaterError("Internal", "a batch is written that was not prepared", { where: this.id });
    }
    for (const { line, part } of this.#placed.lines) {
      if (this.#taken.has(part)) continue;
      if (part !== this.#part || this.#target === undefined) await this.#begin(part);
      await this.#target?.writeLine(line);
      this.#bytes += Buffer.byteLength(line);
    }
    return true;
  }

  async missing(
    { part, bytes, through }: TargetPlace & { readonly through: number },
    pending: Preparation | undefined,
  ) {
    if (part === undefined || bytes === 0) return undefined;
    const { by } = this.#rotation;
    // Of a time that is over nothing more can come.
    if (by === "time" && part < timeOf(Math.max(0, through), this.#rotation.ms)) return undefined;
    for (const later of pending?.parts ?? []) if (await this.#isBegun(later)) return undefined;
    const path = this.#pathOf(part);
    return (await this.#files.hasContent(path)) ? undefined : path;
  }

  async rewrite(
    place: TargetPlace,
    last: DeliveredPart | undefined,
    lines: AsyncIterable<readonly string[]>,
    confirm: () => Promise<void>,
  ): Promise<boolean> {
    const path = this.#pathOf(place.part ?? "");
    // Nobody is to take it away before it is whole.
    const beside = join(dirname(path), `.${basename(path)}.new`);
    const target = new FileTarget(this.#files, beside);
    try {
      await target.open({ bytes: 0 }, undefined, confirm);
      for await (const some of lines) for (const line of some) await target.writeLine(line);
      const { bytes } = await target.flush();
      const same = bytes === place.bytes && (await holds(target, place, last));
      await confirm();
      if (same) await this.#files.nameOutput(beside, path);
      else await this.#files.deleteOutput(beside);
      return same;
    } finally {
      await target.close();
    }
  }

  async flush() {
    const { bytes, digest } = (await this.#target?.flush()) ?? { bytes: 0, digest: undefined };
    return {
      bytes,
      ...(digest !== undefined && { digest }),
      ...(this.#part !== undefined && { part: this.#part }),
    };
  }

  async close(): Promise<void> {
    await this.#target?.close();
    this.#target = undefined;
  }

  /** The file of a place; `undefined` if there is none yet, or it was taken away. */
  async #opened({ part, bytes }: TargetPlace): Promise<FileTarget | undefined> {
    if (part === undefined || (bytes > 0 && !(await this.#files.hasContent(this.#pathOf(part))))) {
      return undefined;
    }
    return new FileTarget(this.#files, this.#pathOf(part));
  }

  /**
   * Which files of a batch that is written again are not there though one that comes later is: when that was begun they
   * were complete.
   */
  async #takenOf(parts: readonly string[]): Promise<ReadonlySet<string>> {
    const taken = new Set<string>();
    const current = this.#target === undefined && this.#part !== undefined ? [this.#part] : [];
    let isLater = false;
    for (const part of [...current, ...parts].reverse()) {
      if (await this.#isBegun(part)) isLater = true;
      else if (isLater) taken.add(part);
    }
    return taken;
  }

  #isBegun(part: string): Promise<boolean> {
    return this.#files.isThere(this.#pathOf(part));
  }

  /** What is complete becomes durable before the next file is begun. */
  async #begin(part: string): Promise<void> {
    await this.#target?.flush();
    await this.#target?.close();
    this.#target = new FileTarget(this.#files, this.#pathOf(part));
    this.#part = part;
    this.#bytes = 0;
    await this.#target.open({ bytes: 0 }, undefined, this.#confirm);
  }

  #place(records: readonly OutputRecord[]): PlacedLine[] {
    let part = this.#part;
    // Who does not know what became of a file goes on with the next.
    const isLost = part !== undefined && this.#target === undefined && !this.#taken.has(part);
    let bytes = isLost ? Number.POSITIVE_INFINITY : this.#bytes;
    return records.map(({ value, ordinal }) => {
      const line = `${toJson(value)}\n`;
      const size = Buffer.byteLength(line);
      if (this.#rotation.by === "time") part = timeOf(ordinal, this.#rotation.ms);
      else if (part === undefined || (bytes > 0 && bytes + size > this.#rotation.bytes)) {
        part = String(Number(part ?? 0) + 1).padStart(DIGITS, "0");
        bytes = 0;
      }
      bytes += size;
      return { line, part };
    });
  }

  #pathOf(part: string): string {
    const { stem, ending } = this.#name();
    return join(dirname(this.#path), `${stem}-${part}${ending}`);
  }

  #isPart(name: string): boolean {
    const { stem, ending } = this.#name();
    const part = name.slice(stem.length + 1, name.length - ending.length);
    return name === `${stem}-${part}${ending}` && /^(\d{6,}|\d{8}T\d{6}Z)$/.test(part);
  }

  #name(): { readonly stem: string; readonly ending: string } {
    const ending = extname(this.#path);
    return { stem: basename(this.#path, ending), ending };
  }
}

function timeOf(ordinal: number, everyMs: number): string {
  const at = Math.floor(ordinalToTime(ordinal) / everyMs) * everyMs;
  return new Date(at)
    .toISOString()
    .replace(/\.\d+Z$/, "Z")
    .replace(/[-:]/g, "");
}

/** Whether what was written to a file is what `last` says that it ends with. */
async function holds(target: FileTarget, place: TargetPlace, last: DeliveredPart | undefined) {
  try {
    await target.mustHold(place, last);
    return true;
  } catch (error) {
    if (isHeadwaterError(error, "ForeignOutput")) return false;
    throw error;
  }
}

function foreign(path: string): HeadwaterError {
  return new HeadwaterError(
    "ForeignOutput",
    "the next output file is there already, and not of this pipeline",
    {
      where: path,
      hint: "Move it away, and run again.",
    },
  );
}
