import { decodeDeltas } from "../src/core/columns.ts";
import { deploymentIdentity } from "../src/core/deployment-identity.ts";
import { DIGEST_BYTES, equalBytes, toHex } from "../src/core/digest.ts";
import type {
  Chunk,
  PipelineDeployed,
  RecordsAccepted,
  SnapshotReference,
  StepsRecorded,
} from "../src/core/events.ts";
import { besideStream, codeStream } from "../src/core/streams.ts";
import { type Audit, type AuditedEvent, emptyTally, fail, isAudited, type Tally } from "./audit.ts";
import { blockDigests } from "./block-digests.ts";
import { CodeDigests } from "./code-digests.ts";
import { EventsBeside } from "./events-beside.ts";
import { KeptStreams } from "./kept-streams.ts";
import { SnapshotDigests } from "./snapshot-digests.ts";
import { digestAt, rowNumbers, SEGMENT_INPUTS, stepRowsOf } from "./step-rows.ts";

const BESIDES = ["payload", "transit"] as const;

interface State extends Tally {
  readonly samples: Record<string, number>;
  readonly pipeline: string | undefined;
  readonly kept: KeptStreams;
  readonly beside: EventsBeside;
  readonly snapshots: SnapshotDigests;
  readonly code: CodeDigests;
  /** By partition: the snapshot that was named last. */
  readonly named: Map<string, string>;
}

/** Where the digests of a block's records have to be found: rows of a stage. */
interface Expected {
  readonly stage: number;
  /** A column of digests; `undefined` if the event does not have them. */
  readonly digests: Uint8Array | undefined;
  readonly rows: readonly number[];
  readonly addressOf: (row: number) => string;
}

/**
 * Records that are kept have the digests that the events which refer to them say. Counts records; those that were let
 * go are unverifiable, and so are those that were never kept. Those that a segment keeps as they came in have their
 * digests further up: they are looked at by the check of continuity. Snapshots of state have the digests that events
 * say when they name them, code has the one that its stream is named by, and deployments the identity of their content.
 */
export const payloadAudit: Audit<State> = {
  name: "payload",
  version: 3,
  init: ({ pipeline }) => {
    const kept = new KeptStreams();
    return {
      ...emptyTally(),
      samples: {},
      pipeline,
      kept,
      beside: new EventsBeside(kept),
      snapshots: new SnapshotDigests(kept),
      code: new CodeDigests(kept),
      named: new Map(),
    };
  },
  apply: (state, item) => {
    state.kept.see(item);
    if (item.kind !== "event") return state;
    // Code is of no pipeline: it may be that of several.
    if (item.typed?.type === "CodeChunk") applyCode(state, item, item.typed.data);
    else if (isAudited(state.pipeline, item)) applyEvent(state, item);
    return state;
  },
};

function applyEvent(state: State, event: AuditedEvent): void {
  const { stream, revision, typed } = event;
  if (typed?.type === "RecordsStored") {
    state.beside.add(stream, revision, typed);
  } else if (typed?.type === "PipelineDeployed") {
    checkDeployment(state, event, typed.data);
    for (const { name, sample } of [...typed.data.sources, ...typed.data.stages]) {
      const key = `${stream.slice("pipeline_".length)}/${name}`;
      if (sample !== undefined) state.samples[key] = Math.min(sample, state.samples[key] ?? 1);
    }
  } else if (typed?.type === "RecordsAccepted") {
    const { data } = typed;
    if (data.count === 0) return;
    for (const beside of BESIDES)
      compare(state, stream, beside, data, [acceptedRecords(stream, data, beside)]);
  } else if (typed?.type === "SnapshotChunk") {
    state.snapshots.add(stream, revision, typed.data);
  } else if (typed?.type === "PartitionClaimed") {
    checkSnapshot(state, event, typed.data.snapshot, typed.data.first);
  } else if (typed?.type === "StepsRecorded") {
    const { data } = typed;
    checkSnapshot(state, event, data.snapshot, data.first + data.count);
    if (data.count === 0) return;
    for (const beside of BESIDES) compare(state, stream, beside, data, storedRecords(stream, data, beside));
  }
}

/** Code that is audited for its own sake is told where it is; that of a pipeline, at the deployment that names it. */
function applyCode(state: State, { stream, revision }: AuditedEvent, chunk: Chunk): void {
  if (!state.code.add(stream, revision, chunk) || state.pipeline !== undefined) return;
  const message = "the code is not that whose digest its stream is named by: it was replaced";
  fail(state, `${stream}@${revision}`, "BadCode", message);
}

/** A deployment is what its identity says, and its code is there. */
function checkDeployment(state: State, { stream, revision }: AuditedEvent, deployed: PipelineDeployed): void {
  const address = `${stream}@${revision}`;
  if (!equalBytes(deployed.deployment, deploymentIdentity(deployed))) {
    const message = "the deployment's identity is not that of its content: one of them was replaced";
    fail(state, address, "BadDeployment", message);
  }
  if (deployed.code === undefined) return;
  const code = codeStream(toHex(deployed.code));
  const found = state.code.look(code);
  if (found === "gone") state.unverifiable++;
  else if (found === "missing") fail(state, address, "Missing", `its code is missing: ${code}`);
  else if (found === "other" && state.pipeline !== undefined) {
    fail(state, address, "BadCode", `its code was replaced: ${code}`);
  }
}

/** The state that the partition had at some place before. */
function checkSnapshot(
  state: State,
  { stream, revision }: AuditedEvent,
  snapshot: SnapshotReference | undefined,
  next: number,
): void {
  if (snapshot === undefined) return;
  const said = `${snapshot.revision} ${snapshot.next} ${toHex(snapshot.digest)}`;
  // An event names the latest one, whether it was taken with it or before; a fault is told once.
  if (state.named.get(stream) === said) return;
  state.named.set(stream, said);
  const kept = `${besideStream(stream, "state")}@${snapshot.revision}`;
  const address = `${stream}@${revision}`;
  const found = state.snapshots.look(stream, snapshot);
  if (found === "missing") {
    fail(state, address, "Missing", `the snapshot of its state is missing: ${kept}`);
  } else if (found === "other") {
    fail(state, address, "BadSnapshot", `the snapshot of its state is not the one that was taken: ${kept}`);
  } else if (snapshot.next > next) {
    fail(state, address, "BadSnapshot", `the snapshot of its state is of inputs that come after it: ${kept}`);
  }
}

function acceptedRecords(
  stream: string,
  { first, count, digests, captured }: RecordsAccepted,
  beside: "payload" | "transit",
): Expected {
  const kept = captured?.[0]?.rows;
  const all = rowNumbers(count);
  const inPayload = kept === undefined ? all : decodeDeltas(kept);
  const known = new Set(inPayload);
  return {
    stage: SEGMENT_INPUTS,
    digests,
    rows: beside === "payload" ? inPayload : all.filter((row) => !known.has(row)),
    addressOf: (row) => `${stream}@${first + row}`,
  };
}

function storedRecords(stream: string, event: StepsRecorded, beside: "payload" | "transit"): Expected[] {
  const rows = stepRowsOf(event);
  return rows.storedStages.map((stage) => ({
    stage,
    digests: event.stages?.[stage]?.digests,
    rows: rows.kept(stage, beside),
    addressOf: (row) => rows.address(stream, stage, row),
  }));
}

/** Compares what the event of `main` refers to with what has been read, and lets go of that. */
function compare(
  state: State,
  main: string,
  beside: "payload" | "transit",
  event: RecordsAccepted | StepsRecorded,
  expected: readonly Expected[],
): void {
  const records = expected.reduce((sum, { rows }) => sum + rows.length, 0);
  if (records === 0) return;
  const payload = event[beside];
  const stream = besideStream(main, beside);
  if (payload === undefined) {
    const [address] = expected.flatMap(({ rows, addressOf }) => rows.slice(0, 1).map(addressOf));
    fail(state, address ?? main, "Missing", `nothing says where in ${stream} the record is`);
    return;
  }
  const stored = state.beside.take(main, beside, payload);
  if (stored === "gone") state.unverifiable += records;
  if (stored === "missing") {
    fail(state, `${stream}@${payload.revision}`, "Missing", "records that were kept are missing");
  }
  if (typeof stored === "string") return;
  for (const { stage, digests, rows, addressOf } of expected) {
    if (digests === undefined) {
      if (stage !== SEGMENT_INPUTS) state.unverifiable += rows.length;
      continue;
    }
    const found = stored.flatMap(({ type, data }) =>
      type === "RecordsStored" ? data.blocks.filter((block) => block.stage === stage) : [],
    );
    const actual = Buffer.concat(found.map(blockDigests));
    state.checked += rows.length;
    if (actual.length !== rows.length * DIGEST_BYTES) {
      fail(
        state,
        `${stream}@${payload.revision}`,
        "BadPayload",
        "it keeps more or fewer records than there are",
      );
      continue;
    }
    // All at once, as a rule: whatever is kept is kept in the order of the rows.
    if (rows.length * DIGEST_BYTES === digests.length && equalBytes(actual, digests)) continue;
    for (const [at, row] of rows.entries()) {
      if (equalBytes(digestAt(actual, at), digestAt(digests, row))) continue;
      fail(state, addressOf(row), "BadPayload", "the record that is kept is not the one that was processed");
      break;
    }
  }
}
