import type { EventLog } from "../ports/event-log.ts";

type Changing = "append" | "appendInOrder" | "setMetadata" | "delete" | "tombstone" | "scavenge";

/** Of a log that can only be read: all by which one is changed, each of which does as `refuse` does. */
export function readingOnly(refuse: () => never): Pick<EventLog, Changing> {
  return {
    append: refuse,
    appendInOrder: refuse,
    setMetadata: refuse,
    delete: refuse,
    tombstone: refuse,
    scavenge: refuse,
  };
}
