import { expect, test } from "vitest";
import { withoutCredentials } from "./log-spec.ts";

test.each([
  ["lmdb:.headwater", "lmdb:.headwater"],
  ["esdb://host:2113?tls=false", "esdb://host:2113?tls=false"],
  ["esdb://admin:secret@host:2113?tls=false", "esdb://host:2113?tls=false"],
  ["esdb+discover://a:secr@et@host", "esdb+discover://host"],
  ["esdb://a:secr/et@host", "…"],
  ["esdb://a:?secret@host", "…"],
  ["esdb:/a:secret@host", "…"],
])("%s is shown as %s", (spec, shown) => {
  expect(withoutCredentials(spec)).toBe(shown);
});
