import { decodePlain, encodePlain } from "../core/columns.ts";
import type { PayloadBlock, QuarantinedRecord, RejectedRecord } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { Draft } from "./stream-tail.ts";

/** The RecordsStored events of a batch's records: as many as it takes to keep each below the limit of an append. */
export function payloadDrafts(blocks: readonly PayloadBlock[], wall: number): Draft[] {
  const total = blocks.reduce((sum, block) => sum + block.bytes.length, 0);
  const groups = total <= LIMITS.batchBytes ? [blocks] : blocks.flatMap(cutBlock).map((block) => [block]);
  return groups
    .filter((group) => group.length > 0)
    .map((group) => ({ type: "RecordsStored", event: { v: 1, wall, blocks: group } }));
}

function cutBlock(block: PayloadBlock): PayloadBlock[] {
  const parts: PayloadBlock[] = [];
  let lengths: number[] = [];
  let start = 0;
  let end = 0;
  const close = () => {
    if (lengths.length > 0) {
      parts.push({
        stage: block.stage,
        lengths: encodePlain(lengths),
        bytes: block.bytes.subarray(start, end),
      });
    }
    lengths = [];
    start = end;
  };
  for (const length of decodePlain(block.lengths)) {
    if (end - start + length > LIMITS.batchBytes) close();
    lengths.push(length);
    end += length;
  }
  close();
  return parts;
}

export function quarantineDrafts(records: readonly QuarantinedRecord[], wall: number): Draft[] {
  return groupBySize(records, sizeOf).map((group) => ({
    type: "RecordsQuarantined",
    event: { v: 1, wall, records: group },
  }));
}

function sizeOf({ record, stack, key, path, firing }: QuarantinedRecord): number {
  const parts = [record, key, path, firing?.key, firing?.members, firing?.total, firing?.left];
  return parts.reduce((sum, part) => sum + (part?.length ?? 0), stack?.length ?? 0);
}

/** `main`: the revision of the source's event that is to refer to them. */
export function rejectedDrafts(records: readonly RejectedRecord[], wall: number, main: number): Draft[] {
  return groupBySize(records, ({ frame, value }) => frame.length + (value?.length ?? 0)).map((group) => ({
    type: "RecordsRejected",
    event: { v: 1, wall, main, records: group },
  }));
}

/** Room for the other fields of a record's entry. */
const ENTRY_BYTES = 8_192;

function groupBySize<T>(items: readonly T[], sizeOf: (item: T) => number): T[][] {
  const groups: T[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const size = sizeOf(item) + ENTRY_BYTES;
    const last = groups.at(-1);
    if (last === undefined || bytes + size > LIMITS.batchBytes) {
      groups.push([item]);
      bytes = size;
    } else {
      last.push(item);
      bytes += size;
    }
  }
  return groups;
}
