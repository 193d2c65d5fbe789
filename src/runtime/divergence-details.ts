import { parseAddress, parseUnitStream } from "../core/address.ts";
import { decodeCanonical } from "../core/canonical.ts";
import { isHeadwaterError } from "../core/errors.ts";
import type { Value } from "../core/value.ts";
import { differingFields } from "../engine/field-differences.ts";
import { keptRecord } from "./kept-record.ts";
import { LineageReader } from "./lineage-reader.ts";
import { type CauseQuery, causesOf, type DivergenceCause } from "./non-determinism.ts";

/** What more is known of a divergence. */
export interface DivergenceDetails {
  /** The recorded result, if it was kept. */
  readonly expectedValue?: Value;
  /** The fields in which the result now is another: see `differingFields`; absent if the recorded one was not kept. */
  readonly fields?: readonly string[];
  readonly causes: readonly DivergenceCause[];
}

/** Looks for the recorded result, and for why it is not what comes out now. */
export async function detailsOf(
  query: Omit<CauseQuery, "segment" | "partition">,
): Promise<DivergenceDetails> {
  const { divergence } = query;
  const unit = parseUnitStream(parseAddress(divergence.address).stream);
  if (unit?.kind !== "steps" || divergence.stage === undefined) return { causes: [] };
  const { segment, partition } = unit;
  const causes = await causesOf({ ...query, segment, partition });
  const expected = await expectedBytes(query);
  if (expected === undefined) return { causes };
  const expectedValue = decodeCanonical(expected);
  const known = { expectedValue, causes };
  if (divergence.actual === undefined) return known;
  return { ...known, fields: differingFields(expectedValue, divergence.value) };
}

async function expectedBytes({
  log,
  bundler,
  divergence: { address, stage, k, expected },
}: Omit<CauseQuery, "segment" | "partition">): Promise<Uint8Array | undefined> {
  if (stage === undefined || expected === undefined) return undefined;
  try {
    const { stream, n } = parseAddress(address);
    const place = await new LineageReader(log, bundler).locate({ stream, n, k, stage });
    return place.kind === "gone" ? undefined : await keptRecord(log, place);
  } catch (error) {
    // A result that is not where it should be is told of by its digest alone.
    if (isHeadwaterError(error)) return undefined;
    throw error;
  }
}
