import { describe, expect, test } from "vitest";
import { REFUSED_VALUES } from "../../test/vectors/not-canonical.ts";
import { encodeCanonical } from "./canonical.ts";
import { HeadwaterError } from "./errors.ts";

function refusal(value: unknown): HeadwaterError {
  try {
    encodeCanonical(value);
  } catch (error) {
    if (error instanceof HeadwaterError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("what no record may hold", () => {
  test.each(REFUSED_VALUES)("$name", ({ make, where, message }) => {
    const error = refusal(make());
    expect(error.code).toBe("NotCanonical");
    expect(error.where).toBe(where);
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(/\.$/);
  });
});
