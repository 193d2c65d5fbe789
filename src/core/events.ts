import type { Value } from "./value.ts";
import type { WatermarkColumns } from "./watermark.ts";

/**
 * The events as they are in memory, each in the newest version of its type. docs/format.md is the definition, field
 * by field; these types follow it, and `upcast.ts` brings older versions to them.
 */

/** N that is next, for each upstream stream, and under {@link TAKEN_OF_GROUP} how many records from there are taken. */
export type Cursors = Readonly<Record<string, number>>;

/** The name, of no stream, under which cursors say that records of one ordinal were parted. */
export const TAKEN_OF_GROUP = "";

interface Common<V extends number = 1> {
  readonly v: V;
  readonly wall: number;
}

interface Claim<V extends number = 1> extends Common<V> {
  readonly epoch: number;
  readonly node: string;
  readonly process: string;
  readonly assignment: number;
  readonly deployment: Uint8Array;
}

interface Extent {
  readonly first: number;
  readonly through: number;
}

/** Times that are far ahead of all before them, and not believed yet: see "Watermarks" in docs/format.md. */
export interface TimesAhead {
  /** How many records in a row have had such times. */
  readonly records: number;
  /** The least of their times. */
  readonly least: number;
}

export interface DoorClaimed extends Claim<2>, Extent {
  readonly maxTime?: number;
  readonly ahead?: TimesAhead;
  readonly watermark?: WatermarkColumns;
  readonly retry?: number;
  readonly inputs: readonly InputProgress[];
  /** The others are in the claims from this epoch on. */
  readonly inputsSince?: number;
  readonly input?: InputProgress;
}

/** `events` events of a stream beside, the first of them at `revision`. */
export interface EventRange {
  readonly revision: number;
  readonly events: number;
}

/** Which rows of a stage are in its blocks of the payload: see "Capture" in docs/format.md. */
export interface CapturedRows {
  readonly stage: number;
  /** Deltas; absent: all. */
  readonly rows?: Uint8Array;
  /** The share that is kept; absent if it is 1. */
  readonly rate?: number;
}

/** How much of an identified input has been taken in. */
export interface InputProgress {
  readonly name: string;
  /** Which file it is, of a folder or followed: its device and inode. */
  readonly identity?: string;
  readonly bytes: number;
  readonly digest: Uint8Array;
  readonly read: number;
  readonly accepted: number;
  readonly duplicate: number;
  readonly rejected: number;
  readonly round: number;
  /** Whether its end was reached; it may have grown since. */
  readonly ended: boolean;
  /** SHA-256 of a last line without a line end that was refused and does not count as taken: it may grow. */
  readonly unfinished?: Uint8Array;
}

/** [partition, rows as deltas] */
export type Section = readonly [number, Uint8Array];

export interface RecordsAccepted extends Common<2>, Extent {
  readonly epoch: number;
  readonly node: string;
  readonly deployment: Uint8Array;
  readonly scheme: 1;
  readonly count: number;
  readonly ordinals?: Uint8Array;
  readonly digests?: Uint8Array;
  readonly sections?: readonly Section[];
  readonly times?: Uint8Array;
  readonly maxTime?: number;
  readonly ahead?: TimesAhead;
  readonly aheadRows?: Uint8Array;
  readonly watermark?: WatermarkColumns;
  readonly ids?: Uint8Array;
  readonly payload?: EventRange;
  readonly transit?: EventRange;
  readonly captured?: readonly CapturedRows[];
  readonly rejected?: EventRange & { readonly count: number };
  readonly retried?: { readonly rows: Uint8Array; readonly items: Uint8Array };
  readonly retry?: number;
  readonly input?: InputProgress;
}

export type InputEnded = RecordsAccepted;

/** Where a snapshot of a partition's state is. */
export interface SnapshotReference {
  readonly revision: number;
  readonly chunks: number;
  readonly digest: Uint8Array;
  readonly next: number;
}

/** Where the results of a step event's effects are: see `effects` of StepsRecorded in docs/format.md. */
export interface EffectRange extends EventRange {
  /** Where the range of the next step event begins; behind this one if absent. */
  readonly next?: number;
}

export interface PartitionClaimed extends Claim<2>, Extent {
  readonly cursors: Cursors;
  readonly watermark?: WatermarkColumns;
  readonly snapshot?: SnapshotReference;
  readonly effects?: EffectRange;
}

/** What one stage made of a batch. */
export interface StageColumns {
  readonly input: number;
  readonly indexed?: true;
  readonly branch?: string;
  readonly results?: Uint8Array;
  readonly failed?: Uint8Array;
  readonly digests?: Uint8Array;
  readonly previous?: Uint8Array;
  readonly kinds?: Uint8Array;
  readonly late?: Uint8Array;
  readonly members?: Uint8Array;
  readonly membersIn?: EventRange;
  readonly labels?: readonly string[];
  readonly label?: Uint8Array;
  readonly select?: string;
}

/** Where a segment's outputs leave it. */
export interface OutletColumns {
  readonly stage: number;
  readonly stored: number;
  readonly sections?: readonly Section[];
  readonly keys?: Uint8Array;
}

export interface StepsRecorded extends Common<2>, Extent {
  readonly epoch: number;
  readonly node: string;
  readonly deployment: Uint8Array;
  readonly scheme: 1;
  readonly count: number;
  readonly from: Cursors;
  readonly to: Cursors;
  readonly entry?: string;
  readonly streams?: readonly string[];
  readonly upstream?: Uint8Array;
  readonly parents?: Uint8Array;
  readonly parentKs?: Uint8Array;
  readonly ordinals?: Uint8Array;
  readonly sources?: readonly string[];
  readonly source?: Uint8Array;
  readonly roots?: Uint8Array;
  readonly paths?: Uint8Array;
  readonly times?: Uint8Array;
  readonly timeless?: Uint8Array;
  readonly firings?: Uint8Array;
  readonly watermark?: WatermarkColumns;
  readonly stages?: readonly StageColumns[];
  readonly outlets?: readonly OutletColumns[];
  readonly payload?: EventRange;
  readonly transit?: EventRange;
  readonly captured?: readonly CapturedRows[];
  readonly quarantine?: EventRange;
  readonly snapshot?: SnapshotReference;
  readonly effects?: EffectRange;
}

export interface PayloadBlock {
  readonly stage: number;
  readonly lengths: Uint8Array;
  readonly bytes: Uint8Array;
}

export interface RecordsStored extends Common {
  readonly blocks: readonly PayloadBlock[];
}

/** One part of something that is too large for one event. */
export interface Chunk extends Common {
  readonly index: number;
  readonly of: number;
  readonly bytes: Uint8Array;
}

/** Results' members that are too many for a step event. */
export type MembersNamed = Chunk;

/** What became of effects: each column has a row for each. */
export interface EffectsRecorded extends Common {
  readonly epoch: number;
  readonly node: string;
  readonly deployment: Uint8Array;
  readonly ns: Uint8Array;
  readonly ks?: Uint8Array;
  readonly stages: readonly string[];
  readonly stage?: Uint8Array;
  readonly names: readonly string[];
  readonly name?: Uint8Array;
  readonly keys: Uint8Array;
  readonly turns?: Uint8Array;
  readonly outcomes?: Uint8Array;
  readonly calls?: Uint8Array;
  readonly millis: Uint8Array;
  readonly lengths: Uint8Array;
  readonly bytes: Uint8Array;
}

export interface RejectedRecord {
  readonly input: string;
  readonly line: number;
  readonly code: string;
  readonly message: string;
  readonly where: string;
  readonly frame: Uint8Array;
  readonly cut?: true;
  readonly value?: Uint8Array;
  readonly item?: number;
}

export interface RecordsRejected extends Common {
  readonly main?: number;
  readonly records: readonly RejectedRecord[];
}

export interface QuarantinedRecord {
  readonly n: number;
  readonly stage: string;
  readonly row: number;
  readonly k?: number;
  readonly code: string;
  readonly message: string;
  readonly where?: string;
  readonly stack?: string;
  /** How often the stage's function was called, where its policy tries again. */
  readonly attempts?: number;
  readonly record: Uint8Array;
  /** Address of its root, and its path at the stage (a character a byte, as bytes). */
  readonly root?: string;
  readonly path?: Uint8Array;
  readonly key?: Uint8Array;
  readonly edge?: number;
  readonly firing?: QuarantinedFiring;
  /** Older events leave it to their step events. */
  readonly input?: QuarantinedInput;
}

/** What a step event says of the input that a quarantined record came in as. */
export interface QuarantinedInput {
  /** Address of what it was made of; absent of a firing. */
  readonly parent?: string;
  readonly time?: number;
  readonly firing?: true;
}

/** What a firing at which a window or join failed is about. Values are canonical bytes. */
export interface QuarantinedFiring {
  readonly key: Uint8Array;
  readonly time?: number;
  readonly start?: number;
  readonly end?: number;
  readonly members?: Uint8Array;
  readonly total?: Uint8Array;
  readonly left?: Uint8Array;
}

export interface RecordsQuarantined extends Common {
  readonly records: readonly QuarantinedRecord[];
}

/** Where a record that a door rejected, or that was quarantined in a stage, is kept. */
export interface RetryItem {
  /** N of the input; of a rejected record its I. */
  readonly n: number;
  /** With `stage`: which row of the input at that stage. Absent for a rejected record. */
  readonly k?: number;
  readonly stage?: string;
  /** Its event in the `quarantine_` stream, and where it is in that. */
  readonly revision: number;
  readonly index: number;
}

/** What every event of a stream of retries says. */
interface RetryMark extends Common {
  /** The process that was asked. */
  readonly host: string;
  readonly pid: number;
  /** I of its first item. */
  readonly first: number;
  /** The stream of the partition or door that refused the records. */
  readonly unit: string;
  readonly items: readonly RetryItem[];
}

export interface RetryAsked extends RetryMark {
  readonly count: number;
}

export interface RecordsDiscarded extends RetryMark {
  readonly count: 0;
  readonly reason: string;
}

/** Records that were asked for, and are not to be put back after all. */
export interface RetriesWithdrawn extends Omit<RetryMark, "items"> {
  readonly count: 0;
  /** The I of each. */
  readonly items: readonly number[];
  readonly reason: string;
}

export interface SinkClaimed extends Claim {}

export interface SinkOpened extends Common {
  readonly epoch: number;
  readonly node: string;
  readonly target: string;
  readonly cursors: Cursors;
}

/** A batch is about to be handed over; if it is not known whether it was, it is handed over again as the same one. */
export interface OutputsPrepared extends Common, Extent {
  readonly epoch: number;
  readonly node: string;
  readonly target: string;
  readonly count: number;
  /** Where the records begin. */
  readonly from: Cursors;
  /** Files that are begun by the batch, of a target that has several. */
  readonly parts?: readonly string[];
}

export interface OutputsDelivered extends Common, Extent {
  readonly epoch: number;
  readonly node: string;
  readonly target: string;
  readonly count: number;
  readonly from: Cursors;
  readonly to: Cursors;
  /** For each record which of the streams in `to` it came from, see `DeliveredOrder`; absent where there is one. */
  readonly order?: Uint8Array;
  readonly bytes: number;
  /** Which file `bytes` is the length of, of a target that has several. */
  readonly part?: string;
  readonly digest?: Uint8Array;
}

export interface DeployedSource {
  readonly name: string;
  readonly schema: boolean;
  readonly key: boolean;
  readonly eventTime: boolean;
  readonly id: boolean;
  readonly digest: Uint8Array;
  readonly capture?: "all" | "none";
  readonly sample?: number;
}

export interface DeployedStage {
  readonly name: string;
  readonly kind: string;
  readonly inputs: readonly string[];
  readonly segment: string;
  readonly digest: Uint8Array;
  readonly capture?: "all" | "none";
  readonly sample?: number;
}

/** Stage → parameter → value, of the stages that have some. */
export type DeployedParameters = Readonly<Record<string, Readonly<Record<string, Value>>>>;

/** The program, and of what it runs on what may change the result of the same code. */
export interface DeployedRuntime {
  readonly headwater: string;
  readonly node: string;
  readonly v8: string;
  readonly icu: string;
  readonly timeZone: string;
  /** The one that Intl takes where none is named; older logs do not have it. */
  readonly locale?: string;
}

/** From here on the version that is deployed is run by a process with another runtime than before. */
export interface RuntimeChanged extends Common {
  readonly version: number;
  readonly runtime: DeployedRuntime;
}

export interface PipelineDeployed extends Common {
  readonly deployment: Uint8Array;
  readonly version: number;
  readonly from: number;
  readonly code?: Uint8Array;
  readonly module?: string;
  readonly partitions: number;
  readonly sources: readonly DeployedSource[];
  readonly stages: readonly DeployedStage[];
  readonly sinks: readonly { readonly name: string; readonly input: string }[];
  readonly parameters: DeployedParameters;
  readonly provenance: "full" | "off";
  readonly runtime: DeployedRuntime;
  /** Only of a fork: see "Forks" in docs/format.md. */
  readonly fork?: DeployedFork;
}

/** Kinds of streams that are kept equally long: see RetentionSet in docs/format.md. */
export const RETENTION_TIERS = ["payload", "steps", "effects", "state"] as const;

export type RetentionTier = (typeof RETENTION_TIERS)[number];

/** What is beyond any of these bounds is let go of. */
export interface RetentionRule {
  readonly ageMs?: number;
  /** Data and metadata of the events of all streams of the tier. */
  readonly bytes?: number;
  readonly events?: number;
}

/** How long each tier is kept; one that is not in it for ever. */
export type RetentionPolicy = { readonly [Tier in RetentionTier]?: RetentionRule };

export interface RetentionSet extends Common {
  readonly by: "definition" | "command";
  /** Absent: what the definition says is in force again. */
  readonly policy?: RetentionPolicy;
}

/** The events of a stream below a revision are let go of. */
export interface StreamAdvance {
  readonly stream: string;
  readonly before: number;
  /** Of the last event that is let go of. */
  readonly digest: Uint8Array;
  /** Runs of the events in quarantine that are referred to by what is let go of. */
  readonly refused?: Uint8Array;
}

export interface RetentionAdvanced extends Common {
  readonly streams: readonly StreamAdvance[];
}

/** What a fork runs over, and how. */
export interface DeployedFork {
  /** The pipeline whose history it is. */
  readonly pipeline: string;
  /** The last ordinal that it takes. */
  readonly to: number;
  /** Segments that it does not run: their recorded outputs are read. */
  readonly reused: readonly string[];
  /** Stages that begin a segment, though they would join one, so that what comes before them is read. */
  readonly cuts: readonly string[];
  /** What becomes of an effect whose result was not recorded. */
  readonly newEffects: "refused" | "called";
  /** Records of its window were let go of before it began: they are left out. */
  readonly gaps?: true;
  /** The first ordinal that was asked for, where what is needed to begin there was let go of. */
  readonly since?: number;
  /** The first input, `steps_P.G.Q@N`, whose effects have no results any more: then it begins behind all of those. */
  readonly effectsGone?: string;
  /** Which records are told of when it is compared; all if absent. All are run. */
  readonly only?: DeployedSelection;
  /** The path of the file that gets all differences, unless another is named when it is gone on with. */
  readonly diff?: string;
  /** Where its sinks were to write to when it was begun: gone on with, they do so unless others are named. */
  readonly outputs?: readonly DeployedOutput[];
}

/** Where a sink of a fork writes to, as far as that can be written down. */
export interface DeployedOutput {
  readonly sink: string;
  /** `private`: a receiver with a password or headers, which are not written down. */
  readonly to: "file" | "receiver" | "private" | "function" | "stdout";
  /** The absolute path of the file, or the address of the receiver. */
  readonly at?: string;
  /** Size or time after which the next file is begun. */
  readonly rotate?: string;
  /** For one POST and its answer, in milliseconds. */
  readonly timeoutMs?: number;
}

/** Which records of a history a replay tells of. */
export interface DeployedSelection {
  /** What descends from this source. */
  readonly source?: string;
  /** Records with this key, and what comes of them. */
  readonly key?: string | number | bigint | boolean | null;
  /** An address: what it was made of, and what comes of it. */
  readonly record?: string;
  /** What stages refused, and what comes of it where they do not any more. */
  readonly quarantined?: true;
  /** With `key` and `quarantined`: at this stage. */
  readonly stage?: string;
}

/** The first event of a replay that compares and writes nothing else: what it is of. */
export interface VerificationBegun extends Common {
  /** The pipeline whose history is run again. */
  readonly pipeline: string;
  /** The ordinals of its window. */
  readonly begin: number;
  readonly end: number;
  /** What it tells of; everything if absent. */
  readonly only?: DeployedSelection;
  /** Which inputs of each partition are in the window, so that it is known later how many of them were let go of. */
  readonly inputs?: readonly VerificationInputs[];
}

/** Inputs of a partition from N = `first` up to, and without, `end`; what could not be told is absent. */
export interface VerificationInputs {
  readonly segment: string;
  readonly partition: number;
  readonly first?: number;
  readonly end?: number;
}

/** How far such a replay is and what has come of it by then: the last one holds. */
export interface VerificationProgressed extends Common {
  /** The first input that is not compared yet, in the order in which partitions are; absent: it is through. */
  readonly at?: { readonly segment: string; readonly partition: number; readonly next: number };
  readonly steps: number;
  readonly diverged: number;
  /** Canonical bytes of the first divergence, without a value that has too many. */
  readonly firstDivergence?: Uint8Array;
  /** Inputs that could not be run again, and the first of them. */
  readonly gone: number;
  readonly firstGone?: { readonly address: string; readonly inputs: number; readonly reason: string };
  /** From 0 to 1. */
  readonly share: number;
  /** Time that it has taken, in seconds. */
  readonly seconds: number;
  /** What had been asked by then. */
  readonly ask?: ReplayAsk;
  /** Canonical bytes of the report, of one that is through. */
  readonly report?: Uint8Array;
}

/** What is wanted of a replay that is in the log, beside how it was begun: the last one holds. */
export interface ReplayAsked extends Common {
  readonly host: string;
  readonly pid: number;
  readonly ask: ReplayAsk;
}

/** To stand still; to go on; to end for good. */
export type ReplayAsk = "pause" | "resume" | "stop";

/** What every event of a supervisor's stream says, so that the last one tells all. */
interface SupervisorMark extends Common {
  readonly epoch: number;
  readonly process: string;
  /** Where the process runs: host, pid, and what tells it from another with that pid. */
  readonly host: string;
  readonly pid: number;
  readonly instance: string;
  /** Version of the latest assignment, 0 if there is none. */
  readonly version: number;
}

export interface SupervisorClaimed extends SupervisorMark {}

export interface SupervisorReleased extends SupervisorMark {}

export interface Heartbeat extends SupervisorMark {}

/** Who works on a unit: `door:S`, `partition:G.Q` or `sink:K`. */
export interface Assignment {
  readonly unit: string;
  readonly process: string;
  readonly node: string;
}

export interface UnitsAssigned extends SupervisorMark {
  readonly units: readonly Assignment[];
}

/** Leaves of the Merkle tree: `first` and `count` are theirs. */
export interface LeavesSequenced extends Common {
  readonly first: number;
  readonly count: number;
  readonly streams: readonly string[];
  readonly stream?: Uint8Array;
  readonly revisions: Uint8Array;
  readonly digests: Uint8Array;
  readonly nodes?: Uint8Array;
  readonly edge: Uint8Array;
}

/** The tree as it is at `first` leaves was signed. */
export interface CheckpointSigned extends Common {
  readonly first: number;
  readonly count: 0;
  readonly root: Uint8Array;
  readonly note: string;
}

/** Every type of event and the shape of its data. */
export interface EventTypes {
  DoorClaimed: DoorClaimed;
  RecordsAccepted: RecordsAccepted;
  InputEnded: InputEnded;
  PartitionClaimed: PartitionClaimed;
  StepsRecorded: StepsRecorded;
  RecordsStored: RecordsStored;
  SnapshotChunk: Chunk;
  MembersNamed: MembersNamed;
  EffectsRecorded: EffectsRecorded;
  RecordsRejected: RecordsRejected;
  RecordsQuarantined: RecordsQuarantined;
  RetryAsked: RetryAsked;
  RecordsDiscarded: RecordsDiscarded;
  RetriesWithdrawn: RetriesWithdrawn;
  SinkClaimed: SinkClaimed;
  SinkOpened: SinkOpened;
  OutputsPrepared: OutputsPrepared;
  OutputsDelivered: OutputsDelivered;
  PipelineDeployed: PipelineDeployed;
  RuntimeChanged: RuntimeChanged;
  RetentionSet: RetentionSet;
  RetentionAdvanced: RetentionAdvanced;
  ReplayAsked: ReplayAsked;
  VerificationBegun: VerificationBegun;
  VerificationProgressed: VerificationProgressed;
  CodeChunk: Chunk;
  SupervisorClaimed: SupervisorClaimed;
  SupervisorReleased: SupervisorReleased;
  Heartbeat: Heartbeat;
  UnitsAssigned: UnitsAssigned;
  LeavesSequenced: LeavesSequenced;
  CheckpointSigned: CheckpointSigned;
}

export type EventType = keyof EventTypes;

/** An event of a known type, decoded. */
export type TypedEvent = { [T in EventType]: { readonly type: T; readonly data: EventTypes[T] } }[EventType];
