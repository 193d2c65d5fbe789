import { expect, test } from "vitest";
import { encodeCanonical, type Value } from "./canonical.ts";
import { decodeEvent } from "./event-codec.ts";

const HEARTBEAT = {
  v: 1,
  wall: 0,
  epoch: 1,
  process: "p",
  host: "h",
  pid: 1,
  instance: "i",
  version: 0,
};

function decoded(type: string, data: Value) {
  return decodeEvent({ stream: "supervisor_p", revision: 3, type, data: encodeCanonical(data) });
}

const damaged = (message: RegExp) =>
  expect.objectContaining({
    code: "LogDamaged",
    where: "supervisor_p@3",
    message: expect.stringMatching(message),
  });

test("an event with all fields of its type is decoded, whatever else a newer program has put into it", () => {
  expect(decoded("Heartbeat", { ...HEARTBEAT, mood: "good" })).toMatchObject({
    type: "Heartbeat",
    data: HEARTBEAT,
  });
});

test.each<[string, Value]>([
  ["pid", "1"],
  ["pid", -1],
  ["pid", 0.5],
  ["pid", 1n],
  ["host", null],
  ["host", new Uint8Array(1)],
  ["wall", 9e15],
  ["wall", Number.NaN],
])("a field %s that is %s is damage, and named", (field, value) => {
  expect(() => decoded("Heartbeat", { ...HEARTBEAT, [field]: value })).toThrow(
    damaged(new RegExp(`Heartbeat, says: ${field}$`)),
  );
});

test("so is one that is not there, or has something wrong far inside of it", () => {
  const { host: _, ...rest } = HEARTBEAT;
  expect(() => decoded("Heartbeat", rest)).toThrow(damaged(/says: host$/));
  const units = [{ unit: "door:s", process: "p", node: "n" }];
  expect(decoded("UnitsAssigned", { ...HEARTBEAT, units }).type).toBe("UnitsAssigned");
  expect(() => decoded("UnitsAssigned", { ...HEARTBEAT, units: [...units, { unit: "door:t" }] })).toThrow(
    damaged(/says: units$/),
  );
});

test.each([0, -1, 1.5, "1", null])("a version %s is none", (v) => {
  expect(() => decoded("Heartbeat", { ...HEARTBEAT, v })).toThrow(damaged(/has no version/));
});
