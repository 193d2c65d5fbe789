import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { equalBytes } from "../../core/digest.ts";
import { HeadwaterError } from "../../core/errors.ts";
import { fileError } from "../../core/file-error.ts";
import type { Beginning, Input, InputFormat, InputRecord } from "../../ports/files.ts";
import { type Chunks, type Count, fileChunks, gunzip, streamChunks } from "./chunks.ts";
import { ContentDigest, type DigestState } from "./content-digest.ts";
import { CsvFramer } from "./csv.ts";
import type { Framer } from "./framer.ts";
import { frame, surveyJson } from "./framing.ts";
import { jsonFramer } from "./json-elements.ts";
import { JSON_LINES, type LineKind, SUPPOSED_TEXT_LINES, TEXT_LINES } from "./line-kinds.ts";
import { LineFramer, type LineStart } from "./lines.ts";

/** Name, perhaps the number or time of a rotation, perhaps `.gz`. */
const ENDING = /\.(jsonl|ndjson|json|csv|log|txt)(?:[.-]\d[-\d.:_TZ]*)?(?:\.gz)?$/i;
const FORMATS: Readonly<Record<string, InputFormat>> = {
  jsonl: "jsonl",
  ndjson: "jsonl",
  json: "json",
  csv: "csv",
  log: "lines",
  txt: "lines",
};

/** What a file holds, and how. */
export interface FileKind {
  readonly format: InputFormat;
  readonly zipped: boolean;
  /** Nothing says that it is text. */
  readonly supposed: boolean;
}

/** What the name of a file says that it holds; `format`, if given, counts before that. */
export function kindOf(path: string, format?: InputFormat): FileKind {
  const zipped = /\.gz$/i.test(path);
  const named = FORMATS[(ENDING.exec(path)?.[1] ?? "").toLowerCase()];
  return { format: format ?? named ?? "lines", zipped, supposed: (format ?? named) === undefined };
}

/** A place in a file's content: what was digested up to there and, in JSON lines, how many lines ended. */
export interface KnownPlace {
  readonly state: DigestState;
  readonly lines?: number;
  /** The line that ends there has no line end. */
  readonly open?: boolean;
}

/**
 * Places in the files of one {@link Files}, by file and byte. Lets a followed file be read on from where it was
 * left, without what comes before.
 */
export type KnownPlaces = Map<string, Map<number, KnownPlace>>;

/** Opens the file at `path`. Throws `BadInput` for what cannot be begun. */
export async function openFile(path: string, known: KnownPlaces, format?: InputFormat): Promise<Input> {
  const absolute = resolve(path);
  try {
    const info = await stat(absolute);
    if (info.isDirectory()) throw Object.assign(new Error("a folder"), { code: "EISDIR" });
    await access(absolute, constants.R_OK);
    const identity = `${identityOf(info)}:${absolute}`;
    const places = known.get(identity) ?? new Map<number, KnownPlace>();
    known.set(identity, places);
    return new FileInput({
      ...kindOf(path, format),
      name: path,
      bytes: info.isFile() ? info.size : undefined,
      places,
      stored: (count, start) => fileChunks(absolute, path, count, start),
    });
  } catch (error) {
    throw fileError("BadInput", "cannot open the input", path, error);
  }
}

/** The same for the same file under any name. */
export function identityOf({ dev, ino }: { readonly dev: number; readonly ino: number }): string {
  return `${dev}:${ino}`;
}

export interface FileOptions extends FileKind {
  readonly name: string;
  readonly bytes: number | undefined;
  readonly places: Map<number, KnownPlace>;
  /** The bytes as they are stored from byte `start` on; absent for what may not be a regular file. */
  stored(count: Count, start?: number): Chunks;
}

/** The content of a file. */
export class FileInput implements Input {
  readonly name: string;
  readonly bytes: number | undefined;
  readonly repeatable: boolean;
  private readonly options: FileOptions;
  private content = new ContentDigest();
  private taken = 0;

  constructor(options: FileOptions) {
    this.options = options;
    this.name = options.name;
    this.bytes = options.bytes;
    // What is not a regular file (a pipe with a name) gives its bytes only once.
    this.repeatable = options.bytes !== undefined;
  }

  bytesRead(): number {
    return this.taken;
  }

  digestUpTo(end: number): Uint8Array {
    return this.content.upTo(end);
  }

  async beginsWith(beginnings: readonly Beginning[]): Promise<readonly boolean[]> {
    const { places, zipped } = this.options;
    const reachable = beginnings.filter(({ bytes }) => zipped || bytes <= (this.bytes ?? 0));
    const last = reachable.at(-1)?.bytes ?? 0;
    const hash = createHash("sha256");
    const found = new Set<Beginning>();
    let at = 0;
    let next = 0;
    /** Sees to all that end here. */
    const mark = () => {
      const digest = hash.copy().digest();
      let matches = false;
      for (let one = reachable[next]; one?.bytes === at; one = reachable[++next]) {
        if (!equalBytes(one.digest, digest)) continue;
        matches = true;
        found.add(one);
      }
      const known = places.get(at);
      if (!matches) places.delete(at);
      else places.set(at, { ...known, state: { at, hash: hash.copy() } });
    };
    if (reachable[0]?.bytes === 0) mark();
    try {
      if (last > 0) {
        for await (const chunk of this.chunks(() => {})) {
          let used = 0;
          for (
            let end = reachable[next]?.bytes;
            end !== undefined && end <= at + chunk.length - used;
            end = reachable[next]?.bytes
          ) {
            const part = chunk.subarray(used, used + end - at);
            hash.update(part);
            used += part.length;
            at = end;
            mark();
          }
          hash.update(chunk.subarray(used));
          at += chunk.length - used;
          if (at >= last) break;
        }
      }
    } catch (error) {
      // A content that breaks off is one that is shorter; reading it will tell.
      if (!(error instanceof HeadwaterError)) throw error;
    }
    return beginnings.map((one) => found.has(one));
  }

  async start(bytes: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let length = 0;
    try {
      for await (const chunk of this.chunks(() => {})) {
        parts.push(chunk.subarray(0, bytes - length));
        length += chunk.length;
        if (length >= bytes) break;
      }
    } catch (error) {
      if (!(error instanceof HeadwaterError)) throw error;
    }
    return Uint8Array.from(Buffer.concat(parts));
  }

  read(
    options: { readonly from?: number; readonly growing?: boolean; readonly signal?: AbortSignal } = {},
  ): AsyncIterable<readonly InputRecord[]> {
    const from = options.from ?? 0;
    const place = this.options.places.get(from);
    this.content = new ContentDigest(place?.state);
    this.taken = 0;
    return this.records(from, place, options.signal, options.growing ?? false);
  }

  private async *records(
    from: number,
    place: KnownPlace | undefined,
    signal: AbortSignal | undefined,
    growing: boolean,
  ): AsyncGenerator<readonly InputRecord[]> {
    const { name, bytes, zipped, format, places } = this.options;
    if (place !== undefined && from > 0 && !zipped && bytes === from) {
      this.taken = from;
      return;
    }
    const byLine = format === "jsonl" || format === "lines";
    const seek = !zipped && byLine && place?.lines !== undefined ? from : 0;
    const framer = await this.framer(
      from,
      { offset: seek, lines: seek > 0 ? (place?.lines ?? 0) : 0, open: seek > 0 && place?.open === true },
      signal,
    );
    if (framer === undefined) return;
    this.taken = seek;
    const { content } = this;
    const chunks = this.digested(seek, Math.max(seek, place?.state.at ?? 0), content);
    let end = from;
    let lines: number | undefined = place?.lines;
    let open = place?.open ?? false;
    for await (const { records, last } of frame(chunks, name, framer, signal)) {
      if (last && growing && format !== "json") break;
      const final = records.at(-1);
      end = final?.end ?? end;
      content.ended(end);
      if (final === undefined) continue;
      // A last line without a line end: what is added to the file may begin with it.
      lines = last ? final.line - 1 : final.line;
      open = last;
      yield last && format !== "json"
        ? records.map((record) => ({ ...record, unfinished: true as const }))
        : records;
    }
    if (signal?.aborted || end === from) return;
    places.delete(from);
    places.set(end, { state: content.stateAt(end), open, ...(lines === undefined ? {} : { lines }) });
  }

  private async framer(
    from: number,
    start: LineStart,
    signal: AbortSignal | undefined,
  ): Promise<Framer | undefined> {
    const { format, name, supposed } = this.options;
    if (format === "csv") return new CsvFramer(from);
    if (format !== "json") return new LineFramer(lineKind(format, supposed), from, start);
    // Which of its arrays holds the records may be clear only at the end of the file.
    const layout = await surveyJson(
      this.chunks(() => {}),
      name,
      signal,
    );
    return layout && jsonFramer(layout, from);
  }

  private chunks(count: Count, start?: number): Chunks {
    const { name, zipped } = this.options;
    const plain = this.options.stored(count, start);
    return zipped ? gunzip(plain, name) : plain;
  }

  /** The content from byte `start` on; what is at `digestFrom` and after it is given to `content`. */
  private async *digested(start: number, digestFrom: number, content: ContentDigest): Chunks {
    let at = start;
    const count = (more: number) => {
      this.taken += more;
    };
    for await (const chunk of this.chunks(count, this.repeatable ? start : undefined)) {
      const known = Math.min(chunk.length, Math.max(0, digestFrom - at));
      if (known < chunk.length) content.add(chunk.subarray(known));
      at += chunk.length;
      yield chunk;
    }
  }
}

function lineKind(format: "jsonl" | "lines", supposed = false): LineKind {
  if (format === "jsonl") return JSON_LINES;
  return supposed ? SUPPOSED_TEXT_LINES : TEXT_LINES;
}

/**
 * Standard input, as JSON lines unless `format` says otherwise. It can be read once, and nothing identifies it. Throws
 * `BadInput` for one JSON document, which may have to be read twice.
 */
export function openStream(stream: Readable, format: InputFormat = "jsonl"): Input {
  const name = "standard input";
  if (format === "json") {
    throw new HeadwaterError("BadInput", "standard input cannot be one JSON document", {
      where: name,
      hint: "Give it as JSON lines, or as a file.",
    });
  }
  let taken = 0;
  const count = (bytes: number) => {
    taken += bytes;
  };
  return {
    name,
    bytes: undefined,
    repeatable: false,
    bytesRead: () => taken,
    beginsWith: (beginnings) => Promise.resolve(beginnings.map(() => false)),
    start: () => Promise.resolve(new Uint8Array(0)),
    digestUpTo: () => new Uint8Array(0),
    read: async function* (options = {}) {
      const framer: Framer =
        format === "csv" ? new CsvFramer(0) : new LineFramer(lineKind(format), 0, { offset: 0, lines: 0 });
      for await (const { records } of frame(
        streamChunks(stream, name, count),
        name,
        framer,
        options.signal,
      )) {
        if (records.length > 0) yield records;
      }
    },
  };
}
