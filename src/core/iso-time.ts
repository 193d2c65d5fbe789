const TIME = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?:(Z)|([+-]\d\d):?(\d\d))?)?$/;

/** What almost all times look like; it needs no second look, and costs half as much. */
const USUAL = /^\d{4}-\d\d-(?:[01]\d|2[0-8])T\d\d:\d\d:\d\d(?:\.\d+)?Z$/;

/** Days. */
const SHORTEST_MONTH = 28;

/**
 * What ISO 8601 text says in milliseconds since 1970, rounded down: a date, or a date and time of day with or without
 * an offset. Without one it is UTC, so that it means the same on every machine; a space may stand for the `T`.
 * `undefined` for anything else, also for a day that its month does not have. `Date.parse` alone would read
 * "channel 12" as a month, and text without offset in the machine's time zone.
 */
export function parseIsoTime(text: string): number | undefined {
  if (USUAL.test(text)) return known(Date.parse(text));
  const match = TIME.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, time = "00:00", , hours = "+00", minutes = "00"] = match;
  // A day that the month does not have would be one of the next month.
  if (Number(day) > SHORTEST_MONTH) {
    const midnight = new Date(`${year}-${month}-${day}T00:00Z`);
    if (midnight.getUTCDate() !== Number(day)) return undefined;
  }
  return known(Date.parse(`${year}-${month}-${day}T${time}${hours}:${minutes}`));
}

function known(ms: number): number | undefined {
  return Number.isNaN(ms) ? undefined : ms;
}
