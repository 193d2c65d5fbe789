/** One record as an input holds it. */
export interface InputRecord {
  /** Where it begins: the line from 1; for a JSON array the element from 1. For messages. */
  readonly line: number;
  /** The record's own bytes, without what separates records; kept when it is refused. */
  readonly frame: Uint8Array;
  /** Bytes of the decompressed content up to the end of this record, with the line end if there is one. */
  readonly end: number;
  /** It is the last one and has no line end: if the content grows, it may turn out to be longer. */
  readonly unfinished?: true;
  /** The parsed value; absent where there is a `problem`. */
  readonly value?: unknown;
  /** Why it cannot be a record: broken JSON, an integer beyond 2^53, a missing column. */
  readonly problem?: { readonly message: string; readonly field?: string };
}

/**
 * How an input holds records: JSON texts, one a line; one JSON document; CSV with a header line; or text, of which
 * each line is a record `{line}`.
 */
export type InputFormat = "jsonl" | "json" | "csv" | "lines";

/** What a content begins with: the SHA-256 of so many of its bytes. */
export interface Beginning {
  readonly bytes: number;
  readonly digest: Uint8Array;
}

/** A finite or growing sequence of records from outside. */
export interface Input {
  /** For messages: the path as the user wrote it, or `standard input`. */
  readonly name: string;
  /** Size on the medium, `undefined` if unknown; with {@link bytesRead} it makes a progress bar. */
  readonly bytes: number | undefined;
  /** How much of `bytes` has been read so far. */
  bytesRead(): number;
  /** Whether it can be read a second time from its beginning: a file can, standard input cannot. */
  readonly repeatable: boolean;
  /**
   * Whether the decompressed content begins so, for each of `beginnings`, which ascend in their bytes. Reads the content
   * from its start as far as the last of them; only for a repeatable input. {@link read} goes on behind one of those
   * that it begins with without what comes before.
   */
  beginsWith(beginnings: readonly Beginning[]): Promise<readonly boolean[]>;
  /** The first bytes of the decompressed content, at most so many; fewer where it is shorter, or breaks off. */
  start(bytes: number): Promise<Uint8Array>;
  /** SHA-256 of the content up to `end`, which is the `end` of a record that {@link read} has yielded, ascending. */
  digestUpTo(end: number): Uint8Array;
  /**
   * The records that begin at or after byte `from` of the decompressed content (0, or the `end` of a record), in
   * batches of whatever size is convenient. With `growing`, a last line without a line end is left: its writer may
   * be in the middle of it. What fails in the middle (a truncated gzip) throws `InputFailed` after all whole
   * records before it have been yielded.
   */
  read(options?: {
    readonly from?: number;
    readonly growing?: boolean;
    readonly signal?: AbortSignal;
  }): AsyncIterable<readonly InputRecord[]>;
}

/** A file that is kept open while it grows, whatever becomes of its name. */
export interface GrowingFile {
  /** The path that it has now: whoever finds it under another one says so with {@link moved}. */
  readonly name: string;
  /** The same for the same file under any name. What is deleted may leave it to another one, unless it is open. */
  readonly identity: string;
  readonly format: InputFormat;
  /**
   * What became of its content since it was read last: *replaced* when what was read is not there any more, because
   * it was truncated or written anew. It is then as one that was never read. *empty*: there is nothing to read. One
   * that rested, and is not found under its name, is the *same* until it is.
   */
  look(): Promise<"empty" | "same" | "grown" | "replaced">;
  /** Its content as it is now, to be read once. */
  input(): Promise<Input>;
  moved(path: string): void;
  /** Lets go of the file itself, but not of how far it was read: it is opened by its name when it is asked for. */
  rest(): Promise<void>;
  close(): Promise<void>;
}

/** A file of a folder. */
export interface FoundFile {
  readonly path: string;
  /** See {@link GrowingFile.identity}. */
  readonly identity: string;
  /** When it was written last, in milliseconds since 1970. */
  readonly writtenMs: number;
  /** Its length. */
  readonly bytes: number;
}

/** A file that a sink writes at positions, never in append mode. */
export interface OutputFile {
  /** Absolute path. */
  readonly path: string;
  /** Its length in bytes now. */
  length(): Promise<number>;
  /** The bytes at [position, position + length), fewer at the end of the file. */
  read(position: number, length: number): Promise<Uint8Array>;
  /** Writes all of `bytes` at `position`. */
  write(position: number, bytes: Uint8Array): Promise<void>;
  truncate(length: number): Promise<void>;
  /** Returns when what was written survives a loss of power; the file's folder entry, too. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** The file system and the standard streams, as far as pipelines need them. */
export interface Files {
  /**
   * Opens a file, or `-`, standard input. Without `format` the name tells: `.jsonl`, `.ndjson`, `.json`, `.csv`, all
   * else is text, each also with the number or time of a rotation after it, and then `.gz`, which is unpacked in any
   * case; standard input is JSON lines. Throws `BadInput` for what cannot be begun, such as a missing file.
   */
  openInput(path: string, format?: InputFormat): Promise<Input>;
  /** Opens a regular file to follow it. Throws as {@link openInput}. */
  openGrowing(path: string, format?: InputFormat): Promise<GrowingFile>;
  /** Whether there is anything at `path`, or may be, where that cannot be looked at. */
  isThere(path: string): Promise<boolean>;
  /**
   * Which file `path` stands for, there or not: the same text for all paths that lead to one, over links of whatever kind.
   */
  fileAt(path: string): Promise<string>;
  /** Which file there is at `path` now: see {@link GrowingFile.identity}. `undefined`: none, or not a regular one. */
  identify(path: string): Promise<string | undefined>;
  /**
   * The files of a folder, without folders in it and without those whose name begins with a dot, ordered by name.
   * `undefined`: it is no folder. Throws `BadInput` if it cannot be read.
   */
  filesIn(path: string): Promise<readonly FoundFile[] | undefined>;
  /** Opens a file for writing, made if it is missing; its folder has to exist. Throws `OutputFailed`. */
  openOutput(path: string): Promise<OutputFile>;
  /**
   * Gives a file that is written and closed its name, under which whoever looks finds it whole or not at all; durable
   * when it resolves. Throws `OutputFailed`.
   */
  nameOutput(from: string, to: string): Promise<void>;
  /** Deletes a file, if it is there. Throws `OutputFailed`. */
  deleteOutput(path: string): Promise<void>;
  /** Whether there is a file at `path` with at least one byte. */
  hasContent(path: string): Promise<boolean>;
  /** Writes to standard output; resolves when it was taken. Throws `OutputFailed` when it is closed. */
  writeStdout(bytes: Uint8Array): Promise<void>;
}
