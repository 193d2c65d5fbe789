import type { EventType } from "./events.ts";

/** The data of an event of any version. */
export interface Versioned {
  readonly v: number;
  readonly [field: string]: unknown;
}

/** Makes the data of version `v` of a type of event from that of version `v - 1`; what is at index 0 makes version 2. */
type Upcasters = readonly ((data: Versioned) => Versioned)[];

/**
 * Version 1 kept the running maximum of event time where version 2 has a watermark: it knew no bound by which
 * records may be out of order. The maximum is in `maxTime`, too, from which a door goes on.
 */
function withoutWatermark({ watermark: _, ...data }: Versioned): Versioned {
  return { ...data, v: 2 };
}

/** Nothing of version 1 means anything else in version 2. */
function unchanged(data: Versioned): Versioned {
  return { ...data, v: 2 };
}

const UPCASTERS: Partial<Record<EventType, Upcasters>> = {
  DoorClaimed: [withoutWatermark],
  RecordsAccepted: [withoutWatermark],
  InputEnded: [withoutWatermark],
  PartitionClaimed: [unchanged],
  StepsRecorded: [unchanged],
};

/**
 * The data of an event as its newest version, `to`, has it. What is kept and hashed stays as it was written: only
 * readers see this.
 */
export function upcast(type: EventType, data: Versioned, to: number): Versioned {
  let now = data;
  for (const upcaster of (UPCASTERS[type] ?? []).slice(data.v - 1, to - 1)) now = upcaster(now);
  return now;
}
