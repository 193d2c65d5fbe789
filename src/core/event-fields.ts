import type {
  Assignment,
  CapturedRows,
  Cursors,
  DeployedFork,
  DeployedOutput,
  DeployedRuntime,
  DeployedSelection,
  DeployedSource,
  DeployedStage,
  EffectRange,
  EventRange,
  EventType,
  EventTypes,
  InputProgress,
  OutletColumns,
  PayloadBlock,
  QuarantinedFiring,
  QuarantinedInput,
  QuarantinedRecord,
  RecordsAccepted,
  RejectedRecord,
  ReplayAsk,
  RetentionPolicy,
  RetentionRule,
  RetryItem,
  Section,
  SnapshotReference,
  StageColumns,
  StreamAdvance,
  TimesAhead,
  VerificationInputs,
  VerificationProgressed,
} from "./events.ts";
import {
  type Fields,
  fieldsOf,
  type Is,
  isBytes,
  isFlag,
  isInteger,
  isNatural,
  isNumber,
  isText,
  listOf,
  mapOf,
  maybe,
  oneOf,
  wrongField,
} from "./field-checks.ts";
import { LIMITS } from "./limits.ts";
import type { Value } from "./value.ts";
import type { WatermarkColumns } from "./watermark.ts";

/** Milliseconds from 1970 that a date can have: metadata repeats them as text. */
const MOST_WALL = 8.64e15;
const isWall: Is<number> = (value): value is number => isNumber(value) && Math.abs(value) <= MOST_WALL;
/** As many rows as an event can be about: whoever reads it makes room for them. */
const isCount: Is<number> = (value): value is number => isNatural(value) && value <= LIMITS.eventRows;
/** The index of a stage, or −1 for the inputs. */
const isPlace: Is<number> = (value): value is number => isInteger(value) && value >= -1;
/** Any record, or a part of one. */
const isValue: Is<Value> = (value): value is Value => value !== undefined;
const isNone = oneOf(0);
const isTrue = oneOf(true);
const isCursors: Is<Cursors> = mapOf(isNatural);
const isTexts = listOf(isText);

const range: Fields<EventRange> = { revision: isNatural, events: isNatural };
const isRange = fieldsOf<EventRange>(range);
const isSection: Is<Section> = (value): value is Section =>
  Array.isArray(value) && value.length === 2 && isNatural(value[0]) && isBytes(value[1]);
const isWatermark = fieldsOf<WatermarkColumns>({ ordinals: isBytes, times: isBytes, status: maybe(isBytes) });
const isAhead = fieldsOf<TimesAhead>({ records: isNatural, least: isNumber });
const isCaptured = fieldsOf<CapturedRows>({ stage: isPlace, rows: maybe(isBytes), rate: maybe(isNumber) });
const isInput = fieldsOf<InputProgress>({
  name: isText,
  identity: maybe(isText),
  bytes: isNatural,
  digest: isBytes,
  read: isNatural,
  accepted: isNatural,
  duplicate: isNatural,
  rejected: isNatural,
  round: isNatural,
  ended: isFlag,
  unfinished: maybe(isBytes),
});
const isSnapshot = fieldsOf<SnapshotReference>({
  revision: isNatural,
  chunks: isNatural,
  digest: isBytes,
  next: isNatural,
});
const isEffects = fieldsOf<EffectRange>({ ...range, next: maybe(isNatural) });

const common = { v: isNatural as Is<1>, wall: isWall };
const common2 = { v: isNatural as Is<2>, wall: isWall };
const extent = { first: isNatural, through: isInteger };
const owner = { epoch: isNatural, node: isText };
const claim = { ...owner, process: isText, assignment: isNatural, deployment: isBytes };

const accepted: Fields<RecordsAccepted> = {
  ...common2,
  ...extent,
  ...owner,
  deployment: isBytes,
  scheme: oneOf(1),
  count: isCount,
  ordinals: maybe(isBytes),
  digests: maybe(isBytes),
  sections: maybe(listOf(isSection)),
  times: maybe(isBytes),
  maxTime: maybe(isNumber),
  ahead: maybe(isAhead),
  aheadRows: maybe(isBytes),
  watermark: maybe(isWatermark),
  ids: maybe(isBytes),
  payload: maybe(isRange),
  transit: maybe(isRange),
  captured: maybe(listOf(isCaptured)),
  rejected: maybe(fieldsOf<EventRange & { readonly count: number }>({ ...range, count: isNatural })),
  retried: maybe(
    fieldsOf<{ readonly rows: Uint8Array; readonly items: Uint8Array }>({ rows: isBytes, items: isBytes }),
  ),
  retry: maybe(isNatural),
  input: maybe(isInput),
};

const isStage = fieldsOf<StageColumns>({
  input: isPlace,
  indexed: maybe(isTrue),
  branch: maybe(isText),
  results: maybe(isBytes),
  failed: maybe(isBytes),
  digests: maybe(isBytes),
  previous: maybe(isBytes),
  kinds: maybe(isBytes),
  late: maybe(isBytes),
  members: maybe(isBytes),
  membersIn: maybe(isRange),
  labels: maybe(isTexts),
  label: maybe(isBytes),
  select: maybe(isText),
});
/** Each comes after the one that it reads: whoever goes from stage to stage comes to the inputs. */
const isStages: Is<readonly StageColumns[]> = (value): value is readonly StageColumns[] =>
  listOf(isStage)(value) && value.every(({ input }, at) => input < at);
const isOutlet = fieldsOf<OutletColumns>({
  stage: isPlace,
  stored: isPlace,
  sections: maybe(listOf(isSection)),
  keys: maybe(isBytes),
});
const isBlock = fieldsOf<PayloadBlock>({ stage: isPlace, lengths: isBytes, bytes: isBytes });
const chunk = { ...common, index: isNatural, of: isNatural, bytes: isBytes };

const isRejected = fieldsOf<RejectedRecord>({
  input: isText,
  line: isNatural,
  code: isText,
  message: isText,
  where: isText,
  frame: isBytes,
  cut: maybe(isTrue),
  value: maybe(isBytes),
  item: maybe(isNatural),
});
const isFiring = fieldsOf<QuarantinedFiring>({
  key: isBytes,
  time: maybe(isNumber),
  start: maybe(isNumber),
  end: maybe(isNumber),
  members: maybe(isBytes),
  total: maybe(isBytes),
  left: maybe(isBytes),
});
const isQuarantined = fieldsOf<QuarantinedRecord>({
  n: isNatural,
  stage: isText,
  row: isNatural,
  k: maybe(isNatural),
  code: isText,
  message: isText,
  where: maybe(isText),
  stack: maybe(isText),
  attempts: maybe(isNatural),
  record: isBytes,
  root: maybe(isText),
  path: maybe(isBytes),
  key: maybe(isBytes),
  edge: maybe(isNatural),
  firing: maybe(isFiring),
  input: maybe(
    fieldsOf<QuarantinedInput>({ parent: maybe(isText), time: maybe(isNumber), firing: maybe(isTrue) }),
  ),
});
const isRetryItem = fieldsOf<RetryItem>({
  n: isNatural,
  k: maybe(isNatural),
  stage: maybe(isText),
  revision: isNatural,
  index: isNatural,
});
const retry = { ...common, host: isText, pid: isNatural, first: isNatural, unit: isText };

const delivery = { ...common, ...extent, ...owner, target: isText, count: isCount };

const captured = { capture: maybe(oneOf("all", "none")), sample: maybe(isNumber) };
const isSource = fieldsOf<DeployedSource>({
  name: isText,
  schema: isFlag,
  key: isFlag,
  eventTime: isFlag,
  id: isFlag,
  digest: isBytes,
  ...captured,
});
const isDeployedStage = fieldsOf<DeployedStage>({
  name: isText,
  kind: isText,
  inputs: isTexts,
  segment: isText,
  digest: isBytes,
  ...captured,
});
const isPartitions: Is<number> = (value): value is number =>
  isNatural(value) && value >= 1 && value <= LIMITS.partitionsMost;
const isKey: Is<string | number | bigint | boolean | null> = (
  value,
): value is string | number | bigint | boolean | null =>
  value === null || ["string", "number", "bigint", "boolean"].includes(typeof value);
const isSelection = fieldsOf<DeployedSelection>({
  source: maybe(isText),
  key: maybe(isKey),
  record: maybe(isText),
  quarantined: maybe(isTrue),
  stage: maybe(isText),
});
const isOutput = fieldsOf<DeployedOutput>({
  sink: isText,
  to: oneOf("file", "receiver", "private", "function", "stdout"),
  at: maybe(isText),
  rotate: maybe(isText),
  timeoutMs: maybe(isNumber),
});
const isFork = fieldsOf<DeployedFork>({
  pipeline: isText,
  to: isInteger,
  reused: isTexts,
  cuts: isTexts,
  newEffects: oneOf("refused", "called"),
  gaps: maybe(isTrue),
  since: maybe(isInteger),
  effectsGone: maybe(isText),
  only: maybe(isSelection),
  diff: maybe(isText),
  outputs: maybe(listOf(isOutput)),
});
const isRuntime = fieldsOf<DeployedRuntime>({
  headwater: isText,
  node: isText,
  v8: isText,
  icu: isText,
  timeZone: isText,
  locale: maybe(isText),
});
const isRule = maybe(
  fieldsOf<RetentionRule>({ ageMs: maybe(isNumber), bytes: maybe(isNumber), events: maybe(isNumber) }),
);
const isPolicy = fieldsOf<RetentionPolicy>({
  payload: isRule,
  steps: isRule,
  effects: isRule,
  state: isRule,
});
const isAdvance = fieldsOf<StreamAdvance>({
  stream: isText,
  before: isNatural,
  digest: isBytes,
  refused: maybe(isBytes),
});
const isAsk: Is<ReplayAsk> = oneOf("pause", "resume", "stop");
type At = NonNullable<VerificationProgressed["at"]>;
type FirstGone = NonNullable<VerificationProgressed["firstGone"]>;

const supervisor = {
  ...common,
  epoch: isNatural,
  process: isText,
  host: isText,
  pid: isNatural,
  instance: isText,
  version: isNatural,
};

/** The fields of each type of event, in its newest version: docs/format.md has them. */
const EVENT_FIELDS: { readonly [T in EventType]: Fields<EventTypes[T]> } = {
  DoorClaimed: {
    ...common2,
    ...extent,
    ...claim,
    maxTime: maybe(isNumber),
    ahead: maybe(isAhead),
    watermark: maybe(isWatermark),
    retry: maybe(isNatural),
    inputs: listOf(isInput),
    inputsSince: maybe(isNatural),
    input: maybe(isInput),
  },
  RecordsAccepted: accepted,
  InputEnded: accepted,
  PartitionClaimed: {
    ...common2,
    ...extent,
    ...claim,
    cursors: isCursors,
    watermark: maybe(isWatermark),
    snapshot: maybe(isSnapshot),
    effects: maybe(isEffects),
  },
  StepsRecorded: {
    ...common2,
    ...extent,
    ...owner,
    deployment: isBytes,
    scheme: oneOf(1),
    count: isCount,
    from: isCursors,
    to: isCursors,
    entry: maybe(isText),
    streams: maybe(isTexts),
    upstream: maybe(isBytes),
    parents: maybe(isBytes),
    parentKs: maybe(isBytes),
    ordinals: maybe(isBytes),
    sources: maybe(isTexts),
    source: maybe(isBytes),
    roots: maybe(isBytes),
    paths: maybe(isBytes),
    times: maybe(isBytes),
    timeless: maybe(isBytes),
    firings: maybe(isBytes),
    watermark: maybe(isWatermark),
    stages: maybe(isStages),
    outlets: maybe(listOf(isOutlet)),
    payload: maybe(isRange),
    transit: maybe(isRange),
    captured: maybe(listOf(isCaptured)),
    quarantine: maybe(isRange),
    snapshot: maybe(isSnapshot),
    effects: maybe(isEffects),
  },
  RecordsStored: { ...common, blocks: listOf(isBlock) },
  SnapshotChunk: chunk,
  MembersNamed: chunk,
  EffectsRecorded: {
    ...common,
    ...owner,
    deployment: isBytes,
    ns: isBytes,
    ks: maybe(isBytes),
    stages: isTexts,
    stage: maybe(isBytes),
    names: isTexts,
    name: maybe(isBytes),
    keys: isBytes,
    turns: maybe(isBytes),
    outcomes: maybe(isBytes),
    calls: maybe(isBytes),
    millis: isBytes,
    lengths: isBytes,
    bytes: isBytes,
  },
  RecordsRejected: { ...common, main: maybe(isNatural), records: listOf(isRejected) },
  RecordsQuarantined: { ...common, records: listOf(isQuarantined) },
  RetryAsked: { ...retry, items: listOf(isRetryItem), count: isNatural },
  RecordsDiscarded: { ...retry, items: listOf(isRetryItem), count: isNone, reason: isText },
  RetriesWithdrawn: { ...retry, items: listOf(isNatural), count: isNone, reason: isText },
  SinkClaimed: { ...common, ...claim },
  SinkOpened: { ...common, ...owner, target: isText, cursors: isCursors },
  OutputsPrepared: { ...delivery, from: isCursors, parts: maybe(isTexts) },
  OutputsDelivered: {
    ...delivery,
    from: isCursors,
    to: isCursors,
    order: maybe(isBytes),
    bytes: isNatural,
    part: maybe(isText),
    digest: maybe(isBytes),
  },
  PipelineDeployed: {
    ...common,
    deployment: isBytes,
    version: isNatural,
    from: isInteger,
    code: maybe(isBytes),
    module: maybe(isText),
    partitions: isPartitions,
    sources: listOf(isSource),
    stages: listOf(isDeployedStage),
    sinks: listOf(
      fieldsOf<{ readonly name: string; readonly input: string }>({ name: isText, input: isText }),
    ),
    parameters: mapOf(mapOf(isValue)),
    provenance: oneOf("full", "off"),
    runtime: isRuntime,
    fork: maybe(isFork),
  },
  RuntimeChanged: { ...common, version: isNatural, runtime: isRuntime },
  RetentionSet: { ...common, by: oneOf("definition", "command"), policy: maybe(isPolicy) },
  RetentionAdvanced: { ...common, streams: listOf(isAdvance) },
  ReplayAsked: { ...common, host: isText, pid: isNatural, ask: isAsk },
  VerificationBegun: {
    ...common,
    pipeline: isText,
    begin: isInteger,
    end: isInteger,
    only: maybe(isSelection),
    inputs: maybe(
      listOf(
        fieldsOf<VerificationInputs>({
          segment: isText,
          partition: isNatural,
          first: maybe(isNatural),
          end: maybe(isNatural),
        }),
      ),
    ),
  },
  VerificationProgressed: {
    ...common,
    at: maybe(fieldsOf<At>({ segment: isText, partition: isNatural, next: isNatural })),
    steps: isNatural,
    diverged: isNatural,
    firstDivergence: maybe(isBytes),
    gone: isNatural,
    firstGone: maybe(fieldsOf<FirstGone>({ address: isText, inputs: isNatural, reason: isText })),
    share: isNumber,
    seconds: isNumber,
    ask: maybe(isAsk),
    report: maybe(isBytes),
  },
  CodeChunk: chunk,
  SupervisorClaimed: supervisor,
  SupervisorReleased: supervisor,
  Heartbeat: supervisor,
  UnitsAssigned: {
    ...supervisor,
    units: listOf(fieldsOf<Assignment>({ unit: isText, process: isText, node: isText })),
  },
  LeavesSequenced: {
    ...common,
    first: isNatural,
    count: isCount,
    streams: isTexts,
    stream: maybe(isBytes),
    revisions: isBytes,
    digests: isBytes,
    nodes: maybe(isBytes),
    edge: isBytes,
  },
  CheckpointSigned: { ...common, first: isNatural, count: isNone, root: isBytes, note: isText },
};

const CHECKS = Object.fromEntries(
  Object.entries(EVENT_FIELDS).map(([type, fields]) => [type, wrongField(fields as Fields<object>)]),
) as Record<EventType, (data: unknown) => string | undefined>;

/** The name of the first field of an event's data that its type does not have like that; `undefined` if there is none. */
export function wrongEventField(type: EventType, data: unknown): string | undefined {
  return CHECKS[type](data);
}
