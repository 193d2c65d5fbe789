import type { RejectedRecord } from "../core/events.ts";

/** The batch that a door is filling. */
export class OpenBatch {
  readonly ordinals: number[] = [];
  readonly partitions: number[] = [];
  readonly times: number[] = [];
  readonly ids: string[] = [];
  readonly rejected: RejectedRecord[] = [];
  /** Rows whose event time is far ahead of all before. */
  readonly ahead: number[] = [];
  readonly settle: (() => void)[] = [];
  /** Of what was put back: rows, and the I of each. Present where the batch has nothing else. */
  retried: { readonly rows: number[]; readonly items: number[] } | undefined;
  read = 0;
  duplicate = 0;
  idChars = 0;
  /** Digest of a refused last line that may still grow. */
  unfinished: Uint8Array | undefined;
  /** When its first record was read, by the monotonic clock. */
  openedAt = 0;
  /** `end` of the last record read, whatever became of it. */
  end: number | undefined;

  get empty(): boolean {
    return this.read === 0;
  }
}
