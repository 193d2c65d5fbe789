import { afterEach, expect, test } from "vitest";
import { parseIsoTime } from "./iso-time.ts";

const zone = process.env["TZ"];
afterEach(() => {
  if (zone === undefined) delete process.env["TZ"];
  else process.env["TZ"] = zone;
});

test.each([
  ["2020-02-29", Date.UTC(2020, 1, 29)],
  ["2020-02-29T12:30", Date.UTC(2020, 1, 29, 12, 30)],
  ["2020-02-29 12:30:15", Date.UTC(2020, 1, 29, 12, 30, 15)],
  ["2020-02-29T12:30:15.5Z", Date.UTC(2020, 1, 29, 12, 30, 15, 500)],
  ["2020-02-29T12:30:15.123999Z", Date.UTC(2020, 1, 29, 12, 30, 15, 123)],
  ["2020-01-28T12:30:15Z", Date.UTC(2020, 0, 28, 12, 30, 15)],
  ["2020-02-29T12:30:15+02:00", Date.UTC(2020, 1, 29, 10, 30, 15)],
  ["2020-02-29T12:30:15-0230", Date.UTC(2020, 1, 29, 15, 0, 15)],
  ["0001-01-01T00:00:00Z", Date.parse("0001-01-01T00:00:00Z")],
])("%s is a time, wherever the machine stands", (text, ms) => {
  for (const zone of ["UTC", "America/New_York", "Asia/Kolkata"]) {
    process.env["TZ"] = zone;
    expect(parseIsoTime(text)).toBe(ms);
  }
});

test.each([
  ["", "nothing"],
  ["yesterday", "a word"],
  ["channel 12", "a word and what might be a month"],
  ["1577836805000", "a number as text"],
  ["12", "a number that might be a month"],
  ["2020-02-30T00:00:00Z", "a day that is not"],
  ["2021-02-29", "a day that is not in that year"],
  ["2020-13-01", "a month that is not"],
  ["2020-00-10T00:00:00Z", "a month that is not"],
  ["2020-01-00T00:00:00Z", "a day that is not"],
  ["2020-01-01T25:00:00Z", "an hour that is not"],
  ["2020-01-01T12:60Z", "a minute that is not"],
  ["2020-01-01T12:00+99:00", "an offset that is not"],
  ["01/02/2020", "another order"],
  ["2020-01-01T12:00Z and more", "more"],
])("%j is none: %s", (text) => {
  expect(parseIsoTime(text)).toBeUndefined();
});
