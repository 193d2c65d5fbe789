import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { frame } from "./framing.ts";
import { TEXT_LINES } from "./line-kinds.ts";
import { LineFramer } from "./lines.ts";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

const CHUNKS = 100;

it("keeps nothing of what was read and taken, however long the input goes on", async () => {
  const chunks: WeakRef<Buffer>[] = [];
  async function* input() {
    for (let n = 0; n < CHUNKS; n++) {
      const chunk = Buffer.alloc(1_000, "x".repeat(99).concat("\n"));
      chunks.push(new WeakRef(chunk));
      // As a file does: not at once.
      await new Promise(setImmediate);
      yield chunk;
    }
    collectGarbage();
    expect(chunks.filter((chunk) => chunk.deref() !== undefined).length).toBeLessThan(CHUNKS / 4);
  }
  const framer = new LineFramer(TEXT_LINES, 0, { offset: 0, lines: 0 });
  let records = 0;
  for await (const found of frame(input(), "in", framer, new AbortController().signal))
    records += found.records.length;
  expect(records).toBe(CHUNKS * 10);
});

it("ends at once when it is aborted, while it waits for what never comes", async () => {
  const abort = new AbortController();
  async function* input() {
    yield Buffer.from("a\n");
    await new Promise(() => {});
  }
  const framer = new LineFramer(TEXT_LINES, 0, { offset: 0, lines: 0 });
  const found: number[] = [];
  for await (const { records } of frame(input(), "in", framer, abort.signal)) {
    found.push(records.length);
    setTimeout(() => abort.abort(), 1);
  }
  expect(found).toEqual([1]);
});
