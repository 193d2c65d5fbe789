import { test } from "vitest";
import { simulate } from "./harness.ts";
import { definitionOf, inputsOf } from "./random-pipelines.ts";
test("x", async () => {
  const d = definitionOf({partitions:1,sources:[{keyed:false,timed:false,identified:false}],stages:[],sinks:[]} as never);
  await simulate(d, inputsOf(d, [], true), {seed:0,nodes:1,batchRecords:1,tickMs:1,delayMs:0,interruptions:[]});
});
