import { decodeEventAs } from "../core/event-codec.ts";
import { besideStream } from "../core/streams.ts";
import { decodeEffects, type EffectRow } from "../engine/effect-columns.ts";
import type { EventLog } from "../ports/event-log.ts";
import { readOne } from "./seek.ts";

/** Where what became of an effect is kept. */
export interface EffectPlace {
  readonly revision: number;
  /** Row in that event. */
  readonly row: number;
}

/** Events whose rows are kept decoded. */
const DECODED = 4;

/** Reads what became of the effects of one partition. */
export class EffectEvents {
  readonly #log: EventLog;
  readonly stream: string;
  readonly #decoded = new Map<number, readonly EffectRow[]>();

  /** `steps` is the partition's own stream. */
  constructor(log: EventLog, steps: string) {
    this.#log = log;
    this.stream = besideStream(steps, "effects");
  }

  /** The events from `from` up to, and without, `end`. */
  async *read(
    from: number,
    end: number,
  ): AsyncGenerator<{ revision: number; deployment: Uint8Array; rows: readonly EffectRow[] }> {
    if (end <= from) return;
    for await (const event of this.#log.read(this.stream, { from, limit: end - from })) {
      const data = decodeEventAs(event, "EffectsRecorded");
      yield { revision: event.revision, deployment: data.deployment, rows: decodeEffects(data) };
    }
  }

  async rowAt({ revision, row }: EffectPlace): Promise<EffectRow> {
    let rows = this.#decoded.get(revision);
    if (rows === undefined) {
      const event = await readOne(this.#log, this.stream, revision);
      rows = decodeEffects(decodeEventAs(event, "EffectsRecorded"));
      const [oldest] = this.#decoded.keys();
      if (oldest !== undefined && this.#decoded.size === DECODED) this.#decoded.delete(oldest);
      this.#decoded.set(revision, rows);
    }
    return rows[row] as EffectRow;
  }
}
