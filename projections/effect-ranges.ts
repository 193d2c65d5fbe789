import { encodeCanonical } from "../src/core/canonical.ts";
import { decodeDeltas, decodePlain, decodeRuns } from "../src/core/columns.ts";
import { sha256, toHex } from "../src/core/digest.ts";
import type { EffectRange, EffectsRecorded, StepsRecorded } from "../src/core/events.ts";
import { besideStream, retryStream, sourceStream } from "../src/core/streams.ts";
import { formatUuid } from "../src/core/uuid.ts";
import type { KeptStreams } from "./kept-streams.ts";
import { SEGMENT_INPUTS, type StepRows } from "./step-rows.ts";
import type { Reader } from "./topology.ts";

interface EffectFault {
  readonly code: "BadEffects" | "Missing";
  readonly message: string;
}

interface Waiting {
  readonly revision: number;
  readonly event: EffectsRecorded;
}

/** The effects that no step event has taken into its range yet, and where the next range of each partition begins. */
export class EffectRanges {
  readonly #kept: KeptStreams;
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #next = new Map<string, number>();

  constructor(kept: KeptStreams) {
    this.#kept = kept;
  }

  add(stream: string, revision: number, event: EffectsRecorded): void {
    const waiting = this.#waiting.get(stream);
    if (waiting === undefined) this.#waiting.set(stream, [{ revision, event }]);
    else waiting.push({ revision, event });
  }

  /** Where the next range of a partition begins is not known any more. */
  forget(main: string): void {
    this.#next.delete(main);
  }

  /**
   * What is wrong with the range of an event of the partition `main`: it goes on where the one before it ended, its
   * events are there. Lets go of what comes before the next range. `found` are the events in it.
   */
  take(
    main: string,
    range: EffectRange | undefined,
  ): { readonly found: readonly EffectsRecorded[]; readonly fault: EffectFault | undefined } {
    const stream = besideStream(main, "effects");
    const expected = this.#next.get(main);
    if (range === undefined) {
      const message = `it names no effects, and the next are ${stream}@${expected}`;
      return { found: [], fault: expected === undefined ? undefined : { code: "BadEffects", message } };
    }
    const { revision, events, next = revision + events } = range;
    const begin = expected ?? (this.#kept.isCut(main) ? revision : 0);
    const waiting = this.#waiting.get(stream) ?? [];
    const found = waiting.filter((one) => one.revision >= revision && one.revision < revision + events);
    this.#next.set(main, next);
    this.#waiting.set(
      stream,
      waiting.filter((one) => one.revision >= next),
    );
    const fault = this.#faultOf(stream, { revision, events, next }, begin, found.length);
    return { found: found.map(({ event }) => event), fault };
  }

  #faultOf(
    stream: string,
    { revision, events, next }: Required<EffectRange>,
    begin: number,
    found: number,
  ): EffectFault | undefined {
    if (revision !== begin) {
      const message = `its effects begin at ${stream}@${revision}, and the next are ${stream}@${begin}`;
      return { code: "BadEffects", message };
    }
    if (next < revision || next > revision + events) {
      return {
        code: "BadEffects",
        message: `the effects after its own are none of its range: ${stream}@${next}`,
      };
    }
    if (found === events || this.#kept.isGone(stream, revision)) return undefined;
    return {
      code: "Missing",
      message: `of its effects, ${events} from ${stream}@${revision} on, ${found} are there`,
    };
  }
}

/**
 * The first effect of an event's own inputs that is none of theirs: of a stage that the segment does not have, or with
 * another key than follows from the place of the row that the stage was given. Of effects that a former owner left it is
 * not known to which inputs they belonged.
 */
export function foreignEffect(
  event: StepsRecorded,
  rows: StepRows,
  found: readonly EffectsRecorded[],
  reader: Reader,
): { readonly n: number; readonly message: string } | undefined {
  for (const effects of found) {
    if (effects.epoch !== event.epoch) continue;
    const ns = decodeDeltas(effects.ns);
    const count = ns.length;
    const ks = effects.ks && decodePlain(effects.ks, count);
    const stage = effects.stage && decodeRuns(effects.stage, count);
    const name = effects.name && decodeRuns(effects.name, count);
    for (const [row, n] of ns.entries()) {
      if (n < event.first || n >= event.first + event.count) continue;
      const stageName = effects.stages[stage?.[row] ?? 0] ?? "";
      const at = reader.stages.indexOf(stageName);
      if (at < 0 || event.stages?.[at] === undefined) {
        return {
          n,
          message: `it is said to have had an effect in the stage ${stageName}, which it did not come to`,
        };
      }
      // What was put back has effects under the keys that it had before.
      if (event.entry !== undefined) continue;
      const place = placeOf(event, rows, at, n - event.first, ks?.[row] ?? 0, reader);
      const effect = effects.names[name?.[row] ?? 0] ?? "";
      const key = place && keyOf(reader.pipeline, place, stageName, effect);
      const kept = toHex(effects.keys.subarray(row * KEY_BYTES, (row + 1) * KEY_BYTES));
      if (key === kept) continue;
      return {
        n,
        message: `its effect ${effect} in the stage ${stageName} has not the key that it has to have`,
      };
    }
  }
  return undefined;
}

const KEY_BYTES = 16;

interface Place {
  readonly root: string;
  readonly path: string;
}

/** Where the `k`-th row stands that a stage was given of an input; `undefined`: there is none. */
function placeOf(
  { sources = [] }: StepsRecorded,
  rows: StepRows,
  stage: number,
  input: number,
  k: number,
  { sources: known, pipeline }: Reader,
): Place | undefined {
  const { input: ahead, branch } = rows.stage(stage);
  const origins = rows.rowsAhead(ahead, SEGMENT_INPUTS);
  const first = origins === undefined ? input : origins.indexOf(input);
  const row = first + k;
  if (first < 0 || (origins === undefined ? k > 0 : origins[row] !== input)) return undefined;
  const { source, roots } = rows.inputs;
  const origin = sources[source?.[input] ?? 0] ?? "";
  const stream =
    origin === ""
      ? retryStream(pipeline)
      : known.has(origin)
        ? sourceStream(pipeline, origin)
        : `firing_${pipeline}.${origin}`;
  const path = `${rows.paths(ahead)?.[row] ?? ""}${branch === undefined ? "" : `${branch}\0`}`;
  return { root: `${stream}@${roots[input]}`, path };
}

function keyOf(pipeline: string, { root, path }: Place, stage: string, name: string): string {
  const digest = sha256(encodeCanonical([pipeline, root, Buffer.from(path, "latin1"), stage, name]));
  return formatUuid(digest, 8).replaceAll("-", "");
}
