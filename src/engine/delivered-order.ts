import { decodePlain, encodePlain } from "../core/columns.ts";
import { type Cursors, type OutputsDelivered, TAKEN_OF_GROUP } from "../core/events.ts";

/** Where a delivered record is among those of its stream, seen from the cursor at which the delivery ended. */
export interface DeliveredPlace {
  readonly stream: string;
  /**
   * `before`: among the records before the cursor; `after`: from the cursor on, where a delivery ended between records of
   * one ordinal.
   */
  readonly side: "before" | "after";
  /** How many of them lie between it and the cursor. */
  readonly rank: number;
}

/** The streams among the names of cursors, in the order in which a delivery counts them. */
export function streamsOf(names: readonly string[]): string[] {
  return names.filter((name) => name !== TAKEN_OF_GROUP).sort();
}

/** The column `order` of a delivery whose records came from these of {@link streamsOf}; absent where it says nothing. */
export function encodeOrder(to: Cursors, order: readonly number[]): Uint8Array | undefined {
  return order.length === 0 || streamsOf(Object.keys(to)).length < 2 ? undefined : encodePlain(order);
}

/**
 * Which of a sink's outputs is which record of the streams that it reads, as a delivery says it. What is counted is
 * what comes between a record and the end of the delivery: what came before it may have been let go of.
 */
export class DeliveredOrder {
  readonly #streams: readonly string[];
  /** For each record which of the streams it came from. */
  readonly #order: readonly number[];
  /** Records from here on come at or after the cursors. */
  readonly #parted: number;
  /** How many had been delivered before, of those at or after the cursors. */
  readonly #before: number;

  private constructor(streams: readonly string[], order: readonly number[], parted: number) {
    this.#streams = streams;
    this.#order = order;
    this.#parted = Math.max(0, parted);
    this.#before = Math.max(0, -parted);
  }

  /**
   * `undefined`: the event does not say it, or it ends between records of one ordinal that other deliveries have, too.
   */
  static of({ count, to, order }: OutputsDelivered): DeliveredOrder | undefined {
    const streams = streamsOf(Object.keys(to));
    const parted = count - (to[TAKEN_OF_GROUP] ?? 0);
    if (streams.length > 1 && (order === undefined || parted < 0)) return undefined;
    const from = order === undefined ? new Array<number>(count).fill(0) : decodePlain(order, count);
    return new DeliveredOrder(streams, from, parted);
  }

  /** Where the delivery's record `index` is. */
  placeOf(index: number): DeliveredPlace | undefined {
    const of = this.#order[index];
    const stream = of === undefined ? undefined : this.#streams[of];
    if (of === undefined || stream === undefined) return undefined;
    return index < this.#parted
      ? { stream, side: "before", rank: this.#count(of, index + 1, this.#parted) }
      : { stream, side: "after", rank: this.#before + this.#count(of, this.#parted, index) };
  }

  /** The index of a record among the delivery's; `undefined`: the delivery does not have it. */
  indexOf({ stream, side, rank }: DeliveredPlace): number | undefined {
    const of = this.#streams.indexOf(stream);
    const [from, end, by] =
      side === "before" ? [this.#parted - 1, -1, -1] : [this.#parted, this.#order.length, 1];
    let left = side === "before" ? rank : rank - this.#before;
    for (let index = from; index !== end; index += by) {
      if (this.#order[index] === of && left-- === 0) return index;
    }
    return undefined;
  }

  #count(of: number, from: number, end: number): number {
    let count = 0;
    for (let index = from; index < end; index++) if (this.#order[index] === of) count++;
    return count;
  }
}
