import type {
  CheckpointSigned,
  Cursors,
  LeavesSequenced,
  QuarantinedRecord,
  RejectedRecord,
  RetryItem,
  TypedEvent,
} from "../src/core/events.ts";
import type { Leaf } from "../src/core/leaves.ts";
import { LIMITS } from "../src/core/limits.ts";

/**
 * An audit is a pure fold over a log: `init`, then `apply` for each item in order. `apply` may change and answer the
 * state that it was given; it does nothing else. The state has the tally that becomes the report, and must not grow
 * with the log, but for a bounded entry for each stream.
 */
export interface Audit<State extends Tally = Tally> {
  readonly name: string;
  /** Goes up when the same log may give another tally. */
  readonly version: number;
  init(about: AuditedLog): State;
  apply(state: State, item: AuditItem): State;
}

/** What an audit is told before it begins. */
export interface AuditedLog {
  readonly id: string;
  /** Checkpoints whose signatures are good, in the order of their sizes. */
  readonly checkpoints: readonly AuditedCheckpoint[];
  /** Only this pipeline's records; of all pipelines if absent. */
  readonly pipeline?: string;
}

export interface AuditedCheckpoint {
  /** The file that it is in. */
  readonly where: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** An event as the log has it. Nothing of it is known to be true. */
export interface AuditedEvent {
  readonly kind: "event";
  readonly stream: string;
  readonly revision: number;
  readonly id: string;
  readonly type: string;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
  /** Decoded; `undefined` if it cannot be. */
  readonly typed: TypedEvent | undefined;
  /** Why not, if it is of a type or version that this program does not know. */
  readonly tooNew?: string;
}

/** An event with records that a partition or sink is the next to take of. */
export interface AuditedUpstream {
  readonly kind: "upstream";
  /** Whoever takes of it: see {@link takerOf}. */
  readonly taker: string;
  readonly stream: string;
  readonly revision: number;
  readonly typed: TypedEvent;
  /** Nothing has been taken of what follows its cursors: it comes before the end, not before an event of the taker. */
  readonly pending: boolean;
}

/**
 * A refused record: one that a partition or door is the next to take back, or one that is about to be decided about.
 * It comes before the event that says so.
 */
export interface AuditedRefused {
  readonly kind: "refused";
  /** Whoever takes it back; the stream of retries, if it is decided about. */
  readonly taker: string;
  /** The stream of the partition or door that refused it. */
  readonly unit: string;
  /** I of the record; of one that is discarded, which of those that the event is about. */
  readonly item: number;
  /** Where it is said to be. */
  readonly place: RetryItem;
  /** `undefined`: it is not there, or what refused it does not refer to it. */
  readonly record: QuarantinedRecord | RejectedRecord | undefined;
  /** How many records are in the event that has it. */
  readonly records: number;
  /** What it was when it came into its partition: the source, window or join that it descends from, and its event time. */
  readonly input?: { readonly origin: string; readonly time: number | undefined };
}

/**
 * What an audit sees, in this order: every stream, then the events in the order of the log, each event that the Merkle
 * tree covers after its leaf, and each that has leaves after those; before an event that takes records from other
 * streams the events that they are in, those of each stream in order, and not again those that came before; before an
 * event that puts refused records back, or decides about them, those records; then those of which nothing was taken,
 * and the end.
 */
export type AuditItem =
  /**
   * A stream as the store knows it: what is below `first` has been let go. `next`, of a source or partition of which
   * something has: the N of the first record that is there, or will be the first. `said`: up to where, and without, the
   * log says that retention lets go of it, also behind what is audited.
   */
  | {
      readonly kind: "stream";
      readonly stream: string;
      readonly first: number;
      readonly last: number;
      readonly next?: number;
      readonly said?: number;
    }
  | AuditedEvent
  | AuditedUpstream
  | AuditedRefused
  /**
   * The tree's next leaf. An event that was let go has a leaf without an event after it. `ends` is the event that it
   * is in, if it is the last one there. `comesAfter`: the event of the leaf has not come before that one, the address of
   * which this is; as it was let go of, or one of them was moved.
   */
  | {
      readonly kind: "leaf";
      readonly leaf: Leaf;
      readonly ends?: Sequenced;
      readonly comesAfter?: string;
    }
  /** The tree was signed when it had the leaves up to here. */
  | { readonly kind: "signed"; readonly address: string; readonly event: CheckpointSigned }
  /** What is stored of the log, or only of the tree in it, cannot be read any further or made sense of. */
  | {
      readonly kind: "damage";
      readonly of: "log" | "tree";
      readonly address: string;
      readonly message: string;
    }
  | { readonly kind: "end" };

/** An event with leaves, and its address. */
export interface Sequenced {
  readonly address: string;
  readonly event: LeavesSequenced;
}

/** Something that is not as it has to be. */
export interface AuditFailure {
  readonly address: string;
  readonly code: string;
  readonly message: string;
}

/** What an audit has found so far. */
export interface Tally {
  /** How many were looked at and are as they have to be, or are among the failures. */
  checked: number;
  /** How many could not be looked at: never counted as good. */
  unverifiable: number;
  /** How many failures there are; the first ones are in `failures`. */
  failed: number;
  readonly failures: AuditFailure[];
  /** What became of what was looked at, by names of the audit's own. */
  readonly counts?: Record<string, number>;
  /** How many there were that were let go of, by names of the audit's own; they are unverifiable. */
  readonly gone?: Record<string, number>;
  /** Streams of which something was let go of, and nothing is left that says how many records it was. */
  readonly uncounted?: string[];
  /** Of which sources and stages (`pipeline/name`) only a share of the records is kept, and which. */
  readonly samples?: Record<string, number>;
}

export function emptyTally(): Tally {
  return { checked: 0, unverifiable: 0, failed: 0, failures: [] };
}

/** Notes a failure. */
export function fail(tally: Tally, address: string, code: string, message: string): void {
  tally.failed++;
  if (tally.failures.length < LIMITS.auditFailures) tally.failures.push({ address, code, message });
}

/** Who takes records from other streams, and from where to where. */
export interface Taker {
  /** A partition's stream; of a sink its stream and a target that is filled from the beginning, which has its own cursors. */
  readonly name: string;
  readonly from: Cursors;
  readonly to: Cursors;
}

/** What an event takes from other streams; `undefined` if it is none that does. */
export function takerOf(stream: string, { type, data }: TypedEvent): Taker | undefined {
  if (type !== "StepsRecorded" && type !== "OutputsDelivered") return undefined;
  if (!areCursors(data.from) || !areCursors(data.to)) return undefined;
  const name = type === "StepsRecorded" ? stream : sinkTaker(stream, data.target);
  return { name, from: data.from, to: data.to };
}

/** Targets without content of their own go on after each other. */
export function sinkTaker(stream: string, target: string): string {
  return isFilled(target) ? `${stream} ${target}` : stream;
}

/** Whether a sink's target is made of files, which are filled from the beginning of history. */
export function isFilled(target: string): boolean {
  return /^files?:/.test(String(target));
}

/** Whether something that an event has for cursors is of their shape. */
export function areCursors(cursors: unknown): cursors is Cursors {
  if (typeof cursors !== "object" || cursors === null) return false;
  return Object.values(cursors).every((n) => Number.isSafeInteger(n) && n >= 0);
}

/**
 * Whether an item is about the pipeline that is asked for. A replay's own streams, `pipeline~id`, belong to its pipeline,
 * and what is brought for a taker is about that one: a replay takes records from its pipeline's streams.
 */
export function isAudited(pipeline: string | undefined, item: AuditItem): boolean {
  if (pipeline === undefined) return true;
  const stream = "taker" in item ? item.taker : "stream" in item ? item.stream : undefined;
  if (stream === undefined) return true;
  const name = stream.slice(stream.indexOf("_") + 1);
  return name === pipeline || name.startsWith(`${pipeline}.`) || name.startsWith(`${pipeline}~`);
}
