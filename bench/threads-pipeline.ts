import { parameter, pipeline } from "headwater";
import { z } from "zod";
import { orderSchema } from "./workload.ts";

const PARTITIONS = 4;

/** One stage that takes as many rounds of plain arithmetic for each record as its parameter says. */
const p = pipeline("threads-bench", { partitions: PARTITIONS });

p.source("orders", { schema: orderSchema, key: (order) => order.customer })
  .map(
    "priced",
    (order, ctx) => {
      const { rounds } = ctx.parameters;
      let mixed = order.id | 0;
      for (let round = 0; round < rounds; round++) mixed = (Math.imul(mixed, 1_664_525) + round) | 0;
      return { id: order.id, customer: order.customer, total: order.price * order.count, mixed };
    },
    { parameters: { rounds: parameter(z.number(), 0) } },
  )
  .sink("bills");

export default p;
