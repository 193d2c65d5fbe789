import type { StandardSchemaV1 } from "@standard-schema/spec";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { HeadwaterError } from "../core/errors.ts";
import type { StageContext } from "./context.ts";
import { parameter } from "./parameters.ts";
import { pipeline } from "./pipeline.ts";

const Order = z.object({ customer: z.string(), sum: z.number() });

function orders() {
  return pipeline("p").source("orders", { schema: Order, key: (order) => order.customer });
}

describe("the types of parameters", () => {
  const least = parameter(z.number(), 100);
  const unit = parameter(z.enum(["EUR", "USD"]), "EUR");

  it("are those of their schemas in map, filter, flatMap and reduce", () => {
    const parameters = { least, unit };
    orders().filter("filter", (order, ctx) => order.sum >= ctx.parameters.least, { parameters });
    orders()
      .map("map", (_, ctx) => ({ unit: ctx.parameters.unit }), { parameters, onError: "fail" })
      .map("next", ({ unit }) => unit satisfies "EUR" | "USD");
    orders().flatMap("flat-map", (_, { parameters: { unit } }) => [unit satisfies "EUR" | "USD"], {
      parameters,
    });
    orders().reduce("before", {
      parameters,
      init: () => 0,
      step: (total, order, ctx) => total + Math.max(order.sum, ctx.parameters.least),
      emit: (total, customer) => ({ customer: customer satisfies string, total: total satisfies number }),
    });
    orders().reduce("after", {
      init: () => 0,
      step: (total, order, ctx) => total + Math.max(order.sum, ctx.parameters.least),
      emit: (total) => total,
      parameters,
    });
    const own = (order: z.infer<typeof Order>, ctx: StageContext<{ least: number }>) =>
      order.sum >= ctx.parameters.least;
    orders().filter("own-function", own, { parameters });
    const plain = (order: z.infer<typeof Order>, ctx: StageContext) => order.sum > (ctx.eventTime ?? 0);
    orders().filter("needs-none", plain, { parameters });
  });

  it("refuse a name that is not declared, and another type", () => {
    // @ts-expect-error there is no parameter of this name
    orders().filter("wrong-name", (order, ctx) => order.sum > ctx.parameters.most, { parameters: { least } });
    // @ts-expect-error the stage declares none
    orders().filter("none", (order, ctx) => order.sum > ctx.parameters.least);
    // @ts-expect-error the options declare none
    orders().filter("still-none", (o, ctx) => o.sum > ctx.parameters.least, { onError: "fail" });
    orders().map(
      "wrong-type",
      // @ts-expect-error it is a text
      (_, ctx) => ctx.parameters.unit.toFixed(),
      { parameters: { unit } },
    );
    const own = (order: z.infer<typeof Order>, ctx: StageContext<{ least: number }>) =>
      order.sum >= ctx.parameters.least;
    // @ts-expect-error the function wants a parameter that is not declared
    orders().filter("not-declared", own);
    orders().reduce("reduce", {
      parameters: { least },
      init: () => 0,
      // @ts-expect-error there is no parameter of this name
      step: (total, _, ctx) => total + ctx.parameters.most,
      emit: (total: number) => total,
    });
    const filtered = orders().filter("a", () => true, { parameters: { least } });
    // @ts-expect-error another stage's parameters are not this one's
    filtered.map("b", (_, ctx) => ctx.parameters.least);
  });

  it("refuse a default that does not fit, and values that no record may hold", () => {
    const refused = () => [
      // @ts-expect-error not a number
      parameter(z.number(), "100"),
      // @ts-expect-error not one of them
      parameter(z.enum(["EUR", "USD"]), "GBP"),
      // @ts-expect-error a part is missing
      parameter(z.object({ from: z.number(), to: z.number() }), { from: 1 }),
      // @ts-expect-error a Date cannot be kept
      parameter(z.date(), new Date(0)),
      // @ts-expect-error neither can a Map
      parameter(z.map(z.string(), z.number()), new Map()),
      // @ts-expect-error absent is no value; null is
      parameter(z.number().optional(), undefined),
    ];
    expect(refused()).toHaveLength(6);
  });

  it("are read-only", () => {
    const list = parameter(z.array(z.object({ name: z.string() })), []);
    orders().map(
      "list",
      (_, ctx) => {
        // @ts-expect-error it cannot be added to
        ctx.parameters.list.push({ name: "x" });
        for (const entry of ctx.parameters.list) {
          // @ts-expect-error nor can its parts be changed
          entry.name = "y";
        }
        // @ts-expect-error nor can it be replaced
        ctx.parameters.list = [];
        return ctx.parameters.list.map(({ name }) => name.length);
      },
      { parameters: { list } },
    );
  });

  it("refuse parameters of a stage whose function gets no context, and those not made by parameter()", () => {
    // @ts-expect-error a keyBy has none
    expect(() => orders().keyBy("key", (order) => order.sum, { parameters: { least } })).toThrow(
      "a keyBy has no parameters",
    );
    // @ts-expect-error a default alone is not a parameter
    expect(() => orders().filter("least", () => true, { parameters: { least: 100 } })).toThrow(
      "not made by parameter()",
    );
  });
});

describe("a stage's parameters", () => {
  function declared(parameters: object) {
    const p = pipeline("p");
    p.source("s").map("m", (x) => x, { parameters: parameters as Record<never, never> });
    return p.definition.stages[0]?.parameters;
  }
  function refusal(parameters: object): Partial<HeadwaterError> {
    try {
      declared(parameters);
    } catch (error) {
      return error as HeadwaterError;
    }
    throw new Error("nothing was refused");
  }
  const schemaOf = (validate: (value: unknown) => unknown) =>
    ({ "~standard": { version: 1, vendor: "test", validate } }) as StandardSchemaV1<unknown, never>;

  it("have their defaults as their schemas answer them, frozen, and apart from what was given", () => {
    const given = { sizes: [3, 1] };
    const found = declared({
      some: parameter(
        z.object({ sizes: z.array(z.number()), unit: z.string().default("m") }),
        given as never,
      ),
      text: parameter(z.string().trim().toLowerCase(), "  ABC "),
      bytes: parameter(z.instanceof(Uint8Array), new Uint8Array([1])),
      big: parameter(z.bigint(), 2n ** 60n),
      nothing: parameter(z.null(), null),
    })?.values;
    given.sizes.push(4);
    expect({ ...found }).toEqual({
      some: { sizes: [3, 1], unit: "m" },
      text: "abc",
      bytes: new Uint8Array([1]),
      big: 2n ** 60n,
      nothing: null,
    });
    expect(Object.isFrozen(found)).toBe(true);
    expect(Object.isFrozen(found?.["some"])).toBe(true);
    expect(Object.isFrozen((found?.["some"] as { sizes?: number[] } | undefined)?.sizes)).toBe(true);
  });

  it("are none where none are declared", () => {
    expect(declared({})).toBeUndefined();
  });

  it("may be called like a property that every object has", () => {
    const one = parameter(z.number(), 1);
    const values = declared({ constructor: one, toString: one, valueOf: one, hasOwnProperty: one })?.values;
    expect({ ...values }).toEqual({ constructor: 1, toString: 1, valueOf: 1, hasOwnProperty: 1 });
    expect(declared({ least: one })?.values).not.toHaveProperty("constructor");
  });

  it.each(["", "1st", "_private", "with-hyphen", "a.b", "a=b", "é", "a b", "__proto__", "a".repeat(65)])(
    "cannot be called %j",
    (name) => {
      expect(refusal({ [name]: parameter(z.number(), 1) })).toMatchObject({
        code: "BadParameter",
        message: `not a name that a parameter can have: ${JSON.stringify(name)}`,
        where: "stage m",
      });
    },
  );

  it("are refused with stage and parameter when the default does not fit", () => {
    const deep = z.object({ list: z.array(z.number()) });
    expect(refusal({ limits: parameter(deep, { list: [1, "2"] } as never) })).toMatchObject({
      code: "BadParameter",
      message: expect.stringMatching(/^the default does not fit: .*number.* at \$\.list\[1\]$/),
      where: "stage m, parameter limits",
    });
    const least = (value: unknown, schema: StandardSchemaV1<unknown, never>) =>
      refusal({ least: parameter(schema, value as never) }).message;
    const same = schemaOf((value) => ({ value }));
    expect(least(new Date(0), same)).toBe(
      "the default does not fit: an object of type Date is not a plain value",
    );
    expect(least({ a: [undefined] }, same)).toMatch(/undefined is not a value at \$\.a\[0\]/);
    expect(least(undefined, same)).toMatch(/undefined is not a value/);
    expect(least(JSON.parse('{"__proto__":1}'), same)).toMatch(/__proto__/);
  });

  it("refuse a schema that answers later, fails, or does not take what it answers", async () => {
    const message = (schema: StandardSchemaV1<unknown, never>, value: unknown = 1) =>
      refusal({ least: parameter(schema, value as never) }).message;
    expect(message(schemaOf(async (value) => ({ value })))).toMatch(/answers a promise/);
    // What such a promise comes to must not end the process.
    expect(message(schemaOf(() => Promise.reject(new Error("later"))))).toMatch(/answers a promise/);
    expect(message(z.number().refine(async () => true) as never)).toMatch(/answers a promise/);
    const failing = schemaOf(() => {
      throw new Error("out of order");
    });
    expect(message(failing)).toMatch(/its schema failed: out of order/);
    expect(message(z.string().transform(Number) as never, "1")).toMatch(/makes another value of what/);
    expect(message(schemaOf((value) => ({ value: (value as number) + 1 })))).toMatch(
      /makes another value of what/,
    );
  });

  it("refuse what was not declared with parameter()", () => {
    const where = "stage m, parameter least";
    for (const least of [5, null, undefined, "5", z.number(), { default: 5 }, { schema: {}, default: 5 }]) {
      expect(refusal({ least })).toMatchObject({
        code: "BadParameter",
        message: "not made by parameter()",
        where,
      });
    }
    for (const all of [[], null, 5, new Map(), JSON.parse('{"a":1}'), Object.create({ a: 1 })]) {
      expect(refusal(all).code).toBe("BadParameter");
    }
  });

  it("take schemas that are functions", () => {
    const schema = Object.assign(
      () => {},
      schemaOf((value) => ({ value })),
    );
    expect({ ...declared({ least: parameter(schema, 7 as never) })?.values }).toEqual({ least: 7 });
  });
});
