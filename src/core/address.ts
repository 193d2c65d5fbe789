import { HeadwaterError } from "./errors.ts";

/**
 * What an address says: see "Addresses" in docs/format.md. A record of a source (`stream@N`), an input of a partition
 * (`stream@N`), an output of it (`stream@N.K`), or a stage's result for it (`stream@N.K/T`).
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

const ADDRESS = /^((?:source|steps)_[^@\s]+)@(\d{1,16})(?:\.(\d{1,16})(?:\/([a-z0-9-]+))?)?$/;
const STREAM = /^(?:source_([a-z0-9~-]+)\.([a-z0-9-]+)|steps_([a-z0-9~-]+)\.([a-z0-9-]+)\.(\d{4}))$/;

/** Whether a text begins as addresses do: then nothing else can be meant. */
export function looksLikeAddress(text: string): boolean {
  return /^(?:source|steps)_.*@/.test(text);
}

/** Throws `BadUsage` for what is no address. */
export function parseAddress(text: string): Address {
  const [, stream = "", n, k, stage] = ADDRESS.exec(text) ?? [];
  const unit = parseUnitStream(stream);
  const numbers = [n, k].every((digits) => digits === undefined || Number.isSafeInteger(Number(digits)));
  if (unit === undefined || !numbers || (unit.kind === "source" && k !== undefined)) {
    throw new HeadwaterError("BadUsage", `not an address of a record: ${JSON.stringify(text)}`, {
      hint: "Addresses are source_PIPELINE.SOURCE@N, steps_PIPELINE.SEGMENT.PARTITION@N, …@N.K for an output and …@N.K/STAGE for a stage's result; partitions have four digits.",
    });
  }
  return {
    stream,
    n: Number(n),
    ...(k !== undefined && { k: Number(k) }),
    ...(stage !== undefined && { stage }),
  };
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
