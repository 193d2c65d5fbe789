import { decodeCanonical, type Value } from "../../src/core/canonical.ts";
import type { RecordedEvent } from "../../src/ports/event-log.ts";
import type { Data } from "./faults.ts";

/** Where a value is in an event's data: names of fields, and places in lists. */
type Place = readonly (string | number)[];

interface Replacement {
  readonly what: string;
  readonly change: (data: Data) => Data;
}

/** Of every type that a value can have, with what is hardest to bear among them. */
const OTHERS: readonly Value[] = [
  null,
  true,
  -1,
  0.5,
  Number.MAX_SAFE_INTEGER,
  1e300,
  Number.NaN,
  2n ** 63n,
  "",
  "text",
  new Uint8Array(0),
  Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 15),
  [],
  [null],
  {},
  { a: null },
];

/** The places of all values in an event's data, but for those of the second and later elements of lists. */
export function placesOf(event: RecordedEvent): readonly Place[] {
  const places: Place[] = [];
  const visit = (value: Value, place: Place) => {
    if (place.length > 0) places.push(place);
    if (Array.isArray(value)) {
      if (value.length > 0) visit(value[0] as Value, [...place, 0]);
    } else if (isMap(value)) {
      for (const [name, field] of Object.entries(value)) visit(field, [...place, name]);
    }
  };
  visit(decodeCanonical(event.data, Number.MAX_SAFE_INTEGER), []);
  return places;
}

/** What can be put into the place of a value: each value of another type, and nothing. */
export function replacementsOf(place: Place): readonly Replacement[] {
  return [...OTHERS, undefined].map((value) => ({
    what: `${place.join(".")} = ${describe(value)}`,
    change: (data) => changed(data, place, value) as Data,
  }));
}

function describe(value: Value | undefined): string {
  return value instanceof Uint8Array ? `bytes ${Buffer.from(value).toString("hex")}` : String(value);
}

function changed(within: Value, [step, ...rest]: Place, value: Value | undefined): Value {
  if (step === undefined) return value as Value;
  if (Array.isArray(within)) {
    const element = changed(within[step as number] as Value, rest, value);
    return element === undefined ? within.toSpliced(step as number, 1) : within.with(step as number, element);
  }
  const map = within as Readonly<Record<string, Value>>;
  return { ...map, [step]: changed(map[step] as Value, rest, value) };
}

function isMap(value: Value): value is Readonly<Record<string, Value>> {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  );
}
