import { describe, expect, test } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { ProgressBoard } from "./progress-board.ts";

const accepted = (door: string, ordinal: number, records: number, bytes = 0) => ({
  door,
  ordinal,
  records,
  bytes,
});

describe("what is in flight", () => {
  test("is what was accepted and is not through every unit", () => {
    const board = new ProgressBoard();
    board.expect("partition:a.0");
    board.expect("sink:k");
    board.accept(accepted("door:s", 10, 3));
    board.accept(accepted("door:s", 20, 4));
    expect(board.pending).toBe(7);
    board.report("partition:a.0", 20);
    expect(board.pending).toBe(7);
    board.report("sink:k", 15);
    expect(board.pending).toBe(4);
    board.report("sink:k", 20);
    expect(board.pending).toBe(0);
    expect(board.totals.accepted).toBe(7);
  });

  test.each([
    ["records", accepted("door:a", 5, LIMITS.inFlightRecords)],
    ["bytes", accepted("door:a", 5, 1, LIMITS.inFlightBytes)],
  ])("makes its door wait at its limit of %s, and no other door", (_, batch) => {
    const board = new ProgressBoard();
    board.expect("sink:k");
    board.accept(accepted("door:b", 4, 1));
    board.accept(batch);
    expect(board.crowded("door:a")).toBe(true);
    expect(board.crowded("door:b")).toBe(false);
    board.report("sink:k", 5);
    expect(board.crowded("door:a")).toBe(false);
  });
});
