import type { StandardSchemaV1 } from "@standard-schema/spec";

/** A record of five small fields, as the benchmarks take them in. */
export interface Order {
  readonly id: number;
  readonly customer: string;
  readonly item: string;
  readonly price: number;
  readonly count: number;
}

const CUSTOMERS = 10_000;
const ITEMS = ["apple", "bolt", "candle", "drum", "engine", "flute", "glove", "hammer"];
/** Multiplier and increment of Knuth's MMIX generator, cut to 32 bits. */
const LCG_FACTOR = 1_664_525;
const LCG_STEP = 1_013_904_223;

/** `count` orders, the same for the same `seed`. */
export function* orders(count: number, seed = 1): Iterable<Order> {
  let state = seed >>> 0;
  const next = (most: number) => {
    state = (Math.imul(state, LCG_FACTOR) + LCG_STEP) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
  for (let id = 0; id < count; id++) {
    yield {
      id,
      customer: `customer-${next(CUSTOMERS)}`,
      item: ITEMS[next(ITEMS.length)] as string,
      price: next(10_000) / 100,
      count: 1 + next(9),
    };
  }
}

/** What both contestants check of each record. */
export const orderSchema: StandardSchemaV1<unknown, Order> = {
  "~standard": {
    version: 1,
    vendor: "headwater-bench",
    validate: (value) => {
      const order = value as Order;
      if (
        typeof order === "object" &&
        order !== null &&
        Number.isSafeInteger(order.id) &&
        typeof order.customer === "string" &&
        typeof order.item === "string" &&
        typeof order.price === "number" &&
        Number.isSafeInteger(order.count)
      ) {
        return { value: order };
      }
      return { issues: [{ message: "not an order" }] };
    },
  },
};

/** The three stages, as a user writes them. */
const priced = (order: Order) => ({ ...order, total: order.price * order.count });
const taxed = (order: ReturnType<typeof priced>) => ({ ...order, tax: order.total * 0.19 });
const billed = (order: ReturnType<typeof taxed>) => ({
  id: order.id,
  customer: order.customer,
  text: `${order.count} x ${order.item}`,
  due: order.total + order.tax,
  large: order.total > 500,
});
export const stages = { priced, taxed, billed };
