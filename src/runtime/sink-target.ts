import { HeadwaterError } from "../core/errors.ts";

/** A record on its way out, with the identity that it has in every run. */
export interface OutputRecord {
  readonly value: unknown;
  /** The same for the same record in any run: root's address, and the path if there is one. */
  readonly key: string;
  /** Logical time; see `ordinalToTime`. */
  readonly ordinal: number;
}

/** Records that are handed over together. */
export interface OutputBatch {
  readonly records: readonly OutputRecord[];
  /** The sink's `#N` of the first of them. */
  readonly first: number;
  /** UUID that stands for `count` of the records from the index `from` on: the same whenever they are sent again. */
  key(from: number, count: number): string;
}

/** What was delivered since the delivery before: it begins at byte `from`. */
export interface DeliveredPart {
  readonly from: number;
  readonly digest: Uint8Array;
}

/** How far the content of a target goes. */
export interface TargetPlace {
  /** Length of its content. */
  readonly bytes: number;
  /** Which of its files that is the length of; only for a target that has several. */
  readonly part?: string;
}

/** What a target needs to have in the log before it writes a batch. */
export interface Preparation {
  /** Files that are begun by the batch. */
  readonly parts?: readonly string[];
}

/** What became of a file that is gone. */
export interface MissingOutput {
  readonly file: string;
  readonly bytes: number;
  /** Whether it was written again. */
  readonly rewritten: boolean;
}

/** Hears what keeps a target waiting. */
export type Waits = (reason: string | undefined) => void;

/** Where a sink delivers to. */
export interface SinkTarget {
  /** Names the target in events: `file:<path>`, `stdout:`, `callback:`, `count:`, `http:<url>`, `files:<path>`. */
  readonly id: string;
  /** Whether it wants the records, or only their number. */
  readonly wantsRecords: boolean;
  /** Whether what was delivered before has to be delivered again when the target is new: a file is filled. */
  readonly fills: boolean;
  /** Whether it is filled again when all of its content is gone. */
  readonly refills: boolean;
  /** Of one that writes files: a text that tells them from those of others, whatever path leads to them. */
  files?(): Promise<string>;
  /** Of one that writes files: whether the file that an absolute path leads to is one of them, there or not. */
  writes?(path: string): Promise<boolean>;
  /** Whether there is something already where it delivers to. */
  hasContent(): Promise<boolean>;
  /** Of one that has several files: the first of them that has content. */
  firstContent?(): Promise<string | undefined>;
  /** Throws `ForeignOutput` unless its content goes as far as `place`, and its last part has the digest of `last`. */
  mustHold(place: TargetPlace, last: DeliveredPart | undefined): Promise<void>;
  /**
   * Begins or goes on after `place`. Throws as {@link mustHold}. Asks `confirm`, which throws if another owner has
   * taken over, before it cuts anything off.
   */
  open(place: TargetPlace, last: DeliveredPart | undefined, confirm: () => Promise<void>): Promise<void>;
  /**
   * What has to be in the log before `batch` is written, so that it is written again as the same batch if it is not
   * known whether it was; `undefined` if nothing. `before`: what the log has already, of a batch that is written again.
   */
  prepare?(batch: OutputBatch, before: Preparation | undefined): Promise<Preparation | undefined>;
  /**
   * Hands over a batch. Answers `false` if that was given up, wholly or in part, because `signal` aborted. `waits` is
   * told when the receiver does not take it for now, and why; without a reason when it goes on.
   */
  write(batch: OutputBatch, signal: AbortSignal, waits: Waits): Promise<boolean>;
  /** Makes durable what was written; answers the place after it and the digest since the last flush. */
  flush(): Promise<TargetPlace & { readonly digest?: Uint8Array }>;
  /**
   * The file that is gone, of a target whose last file may not be complete, and may be gone nevertheless; `undefined` if
   * it is there, or complete. `pending`: what the log has of a batch of which it is not known whether it was handed over.
   */
  missing?(
    place: TargetPlace & { readonly through: number },
    pending: Preparation | undefined,
  ): Promise<string | undefined>;
  /**
   * Writes the file that is {@link missing} again, of the lines that it had. Answers `false`, and leaves nothing, if they
   * do not come to its length, and what is last in it has not the digest of `last`.
   */
  rewrite?(
    place: TargetPlace,
    last: DeliveredPart | undefined,
    lines: AsyncIterable<readonly string[]>,
    confirm: () => Promise<void>,
  ): Promise<boolean>;
  /** Lets go of everything, also of what is being sent. */
  close(): Promise<void>;
}

/** What the log knows of a target that it does not know as one that its sink delivered to. */
export interface KnownOfOutput {
  /** How its files are divided, if they are this sink's, and divided in another way. */
  readonly otherDivision?: string | undefined;
  /** Whether deliveries of the sink were let go of: it may have been one of theirs. */
  readonly letGo?: boolean;
}

/** Throws `ForeignOutput` for a target with content, of which nothing here knows. */
export async function mustNotBeForeign(
  target: SinkTarget,
  { otherDivision, letGo = false }: KnownOfOutput = {},
): Promise<void> {
  if (!(await target.hasContent())) return;
  const where = (await target.firstContent?.()) ?? target.id.slice(target.id.indexOf(":") + 1);
  if (otherDivision !== undefined) {
    throw new HeadwaterError(
      "ForeignOutput",
      `the files that are there were begun anew after ${otherDivision} each, and cannot be gone on with in another way`,
      {
        where,
        hint: "Keep the --rotate that there was. With another name, or when the files were moved away, all is written anew, divided as you say.",
      },
    );
  }
  if (letGo) {
    throw new HeadwaterError(
      "ForeignOutput",
      "the output has content that may be of this pipeline, whose log has let go of what the sink delivered before: it cannot be gone on with",
      {
        where,
        hint: "If the log still has the beginning of history, move it away, or name another file: it is then written anew. If not, leave it as it is, and have what comes from now on sent to standard output (-) or to a receiver.",
      },
    );
  }
  throw new HeadwaterError(
    "ForeignOutput",
    "the output has content that this pipeline's log knows nothing of",
    { where, hint: "Name another file, or move this one away." },
  );
}

/** JSON as sinks write it: BigInt as a number literal, bytes as base64, what JSON has no literal for as text. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, replacer) ?? "null";
}

/** The same, of values that are compared: −0, which JSON would write as 0, is text, too. */
export function differenceToJson(difference: object): string {
  return JSON.stringify(difference, function (this: unknown, key: string, value: unknown) {
    return Object.is(value, -0) ? "-0" : replacer.call(this, key, value);
  });
}

function replacer(this: unknown, _key: string, value: unknown): unknown {
  switch (typeof value) {
    case "bigint":
      return rawNumber(value);
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "object":
      return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
    default:
      return value;
  }
}

function rawNumber(value: bigint): unknown {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}
