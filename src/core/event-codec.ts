import { decodeCanonical } from "./canonical.ts";
import { HeadwaterError } from "./errors.ts";
import { wrongEventField } from "./event-fields.ts";
import type { EventType, EventTypes, TypedEvent } from "./events.ts";
import { upcast, type Versioned } from "./upcast.ts";

/** The version of each type of event that this program writes. It reads that and all before it. */
const VERSIONS = {
  DoorClaimed: 2,
  RecordsAccepted: 2,
  InputEnded: 2,
  PartitionClaimed: 2,
  StepsRecorded: 2,
  RecordsStored: 1,
  SnapshotChunk: 1,
  MembersNamed: 1,
  EffectsRecorded: 1,
  RecordsRejected: 1,
  RecordsQuarantined: 1,
  RetryAsked: 1,
  RecordsDiscarded: 1,
  RetriesWithdrawn: 1,
  SinkClaimed: 1,
  SinkOpened: 1,
  OutputsPrepared: 1,
  OutputsDelivered: 1,
  PipelineDeployed: 1,
  RuntimeChanged: 1,
  RetentionSet: 1,
  RetentionAdvanced: 1,
  ReplayAsked: 1,
  VerificationBegun: 1,
  VerificationProgressed: 1,
  CodeChunk: 1,
  SupervisorClaimed: 1,
  SupervisorReleased: 1,
  Heartbeat: 1,
  UnitsAssigned: 1,
  LeavesSequenced: 1,
  CheckpointSigned: 1,
} as const satisfies Record<EventType, number>;

/** What is needed of a recorded event to decode it. */
interface Encoded {
  readonly stream: string;
  readonly revision: number;
  readonly type: string;
  readonly data: Uint8Array;
}

/** One event is read by every partition and sink of a process: it is decoded once. */
const decoded = new WeakMap<Encoded, TypedEvent>();

/**
 * Decodes an event of the log. Throws `LogTooNew` for a type or version that a newer program wrote, and
 * `LogDamaged` for data that is not what its type says.
 */
export function decodeEvent(event: Encoded): TypedEvent {
  let typed = decoded.get(event);
  if (typed === undefined) {
    typed = decode(event);
    decoded.set(event, typed);
  }
  return typed;
}

/** Decodes an event that can only be of type `type`. Throws as {@link decodeEvent}, and `LogDamaged` for another type. */
export function decodeEventAs<T extends EventType>(event: Encoded, type: T): EventTypes[T] {
  const typed = decodeEvent(event);
  if (typed.type !== type) {
    throw new HeadwaterError("LogDamaged", `expected an event of type ${type}, found ${typed.type}`, {
      where: `${event.stream}@${event.revision}`,
    });
  }
  return typed.data as EventTypes[T];
}

function decode(event: Encoded): TypedEvent {
  const where = `${event.stream}@${event.revision}`;
  const known = Object.hasOwn(VERSIONS, event.type) ? VERSIONS[event.type as EventType] : undefined;
  if (known === undefined) {
    throw new HeadwaterError(
      "LogTooNew",
      `the log holds an event of a type that is not known: ${event.type}`,
      {
        where,
        hint: "It was written by a newer Headwater, or by another program. Use a newer version.",
      },
    );
  }
  let data: unknown;
  try {
    data = decodeCanonical(event.data, Number.MAX_SAFE_INTEGER);
  } catch (cause) {
    throw new HeadwaterError("LogDamaged", "an event's data cannot be decoded", { where, cause });
  }
  const version = typeof data === "object" && data !== null ? (data as { v?: unknown }).v : undefined;
  if (!Number.isSafeInteger(version) || (version as number) < 1) {
    throw new HeadwaterError("LogDamaged", "an event's data has no version", { where });
  }
  if ((version as number) > known) {
    throw new HeadwaterError(
      "LogTooNew",
      `the log holds ${event.type} in version ${version}, known is ${known}`,
      {
        where,
        hint: "Use a newer version of Headwater.",
      },
    );
  }
  const type = event.type as EventType;
  const now: unknown = upcast(type, data as Versioned, known);
  const field = wrongEventField(type, now);
  if (field !== undefined) {
    throw new HeadwaterError("LogDamaged", `an event's data is not what its type, ${type}, says: ${field}`, {
      where,
      hint: "The event was not written by Headwater, or was changed after it. headwater audit shows what is damaged.",
    });
  }
  return { type: event.type, data: now } as TypedEvent;
}
