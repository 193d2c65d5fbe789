import { HeadwaterError } from "./errors.ts";
import { isRetryStream } from "./streams.ts";

/**
 * What an address says: see "Addresses" in docs/format.md. A record of a source, or one that it rejected (`stream@N`), an
 * input of a partition (`stream@N`), an output of it (`stream@N.K`), a stage's result for it, or what failed there
 * (`stream@N.K/T`), or a record that was to be put back (`stream@N`).
 */
export interface Address {
  readonly stream: string;
  readonly n: number;
  readonly k?: number;
  readonly stage?: string;
}

/** The parts of a unit's stream: `steps_P.G.Q`, `source_P.S` or `sink_P.K`. */
export type UnitStream =
  | { readonly kind: "source"; readonly pipeline: string; readonly source: string }
  | {
      readonly kind: "steps";
      readonly pipeline: string;
      readonly segment: string;
      readonly partition: number;
    };

const ADDRESS =
  /^((?:source|steps|quarantine|retry)_[^@\s]+)@(\d{1,16})(?:\.(\d{1,16})(?:\/([a-z0-9-]+))?)?$/;
const STREAM = /^(?:source_([a-z0-9~-]+)\.([a-z0-9-]+)|steps_([a-z0-9~-]+)\.([a-z0-9-]+)\.(\d{4}))$/;

/** Whether a text begins as addresses do: then nothing else can be meant. */
export function looksLikeAddress(text: string): boolean {
  return /^(?:source|steps|quarantine|retry)_.*@/.test(text);
}

/** Throws `BadUsage` for what is no address. */
export function parseAddress(text: string): Address {
  const [, stream = "", n, k, stage] = ADDRESS.exec(text) ?? [];
  const numbers = [n, k].every((digits) => digits === undefined || Number.isSafeInteger(Number(digits)));
  if (!numbers || !fits(stream, k, stage)) {
    throw new HeadwaterError("BadUsage", `not an address of a record: ${JSON.stringify(text)}`, {
      hint: "Addresses are source_PIPELINE.SOURCE@N, steps_PIPELINE.SEGMENT.PARTITION@N, …@N.K for an output and …@N.K/STAGE for a stage's result (quarantine_… for what failed there, or was rejected), and retry_PIPELINE@I; partitions have four digits.",
    });
  }
  return {
    stream,
    n: Number(n),
    ...(k !== undefined && { k: Number(k) }),
    ...(stage !== undefined && { stage }),
  };
}

/** Whether records of a stream have addresses with these parts. */
function fits(stream: string, k: string | undefined, stage: string | undefined): boolean {
  if (isRetryStream(stream)) return /^retry_[a-z0-9~-]+$/.test(stream) && k === undefined;
  const quarantine = stream.startsWith("quarantine_");
  const main = (kind: string) => stream.replace(/^quarantine_/, `${kind}_`);
  const unit = parseUnitStream(main("steps")) ?? parseUnitStream(main("source"));
  if (unit?.kind === "source") return k === undefined;
  return unit !== undefined && (!quarantine || stage !== undefined);
}

export function formatAddress({ stream, n, k, stage }: Address): string {
  return `${stream}@${n}${k === undefined ? "" : `.${k}`}${stage === undefined ? "" : `/${stage}`}`;
}

/** What the name of a source's or partition's stream says; `undefined` for any other stream. */
export function parseUnitStream(stream: string): UnitStream | undefined {
  const [, of, source, pipeline, segment, partition] = STREAM.exec(stream) ?? [];
  if (of !== undefined && source !== undefined) return { kind: "source", pipeline: of, source };
  if (pipeline === undefined || segment === undefined) return undefined;
  return { kind: "steps", pipeline, segment, partition: Number(partition) };
}
