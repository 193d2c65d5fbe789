import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../app/run.ts";
import { call } from "./testing/fake-io.ts";

/** A line break, and sequences that clear a terminal: of seven bits and of eight. */
const EVIL = "\nheadwater: all well \u001b[2J\u009b2J\u202e";
const SHOWN = "\\nheadwater: all well \\u001b[2J\\u009b2J\\u202e";

const PIPELINE = `
import { pipeline } from "headwater";
const EVIL = ${JSON.stringify(EVIL)};
const p = pipeline("orders");
p.source("web", { id: (o) => o.id, eventTime: (o) => o.at })
  .filter("dear", (o) => o.price > 1)
  .map("priced", (o) => {
    if (o.price > 5) throw new Error("no price" + EVIL);
    return o.price === 2 ? { [EVIL]: EVIL } : o;
  })
  .sink("prices");
export default p;
`;

let folder = "";
let spec = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-told-"));
  spec = `lmdb:${join(folder, "log")}`;
  const input = join(folder, `orders${EVIL}.jsonl`);
  const module = join(folder, "orders.js");
  await writeFile(module, PIPELINE);
  const orders = [1, 2, 3, 9].map((price) => ({ id: `o${price}${EVIL}`, price, at: 1_700_000_000_000 }));
  const late = `{"id":"x","price":"\\u009b2J`;
  await writeFile(input, `${orders.map((order) => JSON.stringify(order)).join("\n")}\n${late}\n`);
  await run({
    pipeline: module,
    log: spec,
    inputs: new Map([["web", input]]),
    outputs: new Map([["prices", join(folder, `prices${EVIL}.jsonl`)]]),
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const lines = async (...argv: string[]): Promise<readonly string[]> => {
  const { code, stdout, stderr } = await call([...argv, "--log", spec]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.split("\n");
};

/** Neither a line that begins as it likes, nor anything but text. */
function expectPlain(shown: readonly string[]): void {
  for (const line of shown) {
    expect(line).not.toMatch(/^headwater: all well/);
    expect(line).not.toMatch(/[\p{Cc}\u202e]/u);
  }
  expect(shown.join("\n")).toContain(SHOWN);
}

describe("what comes from outside is told on its own line, and tells the terminal nothing", () => {
  it.each([
    ["source_orders.web@1", "--forward"],
    ["source_orders.web@3", "--forward"],
    ["prices#0"],
    ["prices#1"],
  ])("in a lineage: %j", async (...argv) => {
    const shown = await lines("lineage", ...argv);
    expectPlain(shown);
    const { stdout } = await call(["lineage", ...argv, "--log", spec, "--json"]);
    const { vertices } = JSON.parse(stdout) as { readonly vertices: readonly { address: string }[] };
    expect(shown.filter((line) => /^ *\S+@|^ *orders\//.test(line))).toHaveLength(vertices.length);
  });

  it("in a graph", async () => {
    for (const record of ["source_orders.web@1", "source_orders.web@3"]) {
      const dot = await lines("lineage", record, "--forward", "--format", "dot");
      for (const line of dot) {
        expect(line).not.toMatch(/[\p{Cc}\u202e]/u);
        expect(line).toMatch(
          /^$|^[{}]|^digraph lineage \{$|^ {2}(rankdir|node|"\S+" (\[label=".*"\]|-> "\S+");$)/,
        );
      }
      expect(dot.join("\n")).toContain(
        `id o${record.endsWith("1") ? 2 : 9}${SHOWN.replaceAll("\\", "\\\\")}`,
      );
      const mermaid = await lines("lineage", record, "--forward", "--format", "mermaid");
      for (const line of mermaid) {
        expect(line).toMatch(/^$|^flowchart LR$|^ {2}r\d+(\["[\w .,:/@+#;<>-]*"\]| --> r\d+)$/);
        expect(line).not.toContain("#27;");
      }
    }
  });

  it("in a search", async () => {
    expectPlain(await lines("search", "orders", "--id", `o2${EVIL}`));
  });

  it("in the quarantine", async () => {
    expectPlain(await lines("quarantine", "list", "orders"));
    const address = "steps_orders.priced.0000@3.0/priced";
    const { stdout } = await call(["quarantine", "list", "orders", "--log", spec, "--json"]);
    const { records } = JSON.parse(stdout) as { readonly records: readonly { readonly address: string }[] };
    for (const record of records) expectPlain(await lines("quarantine", "show", record.address));
    expect(records).toHaveLength(2);
    const [{ address: first } = { address }] = records;
    await lines("quarantine", "discard", "orders", first, "--reason", `bad${EVIL}`);
    const shown = await lines("quarantine", "show", first);
    expectPlain(shown);
    expect(shown).toContain(`state      discarded: bad${SHOWN}`);
  });

  it("in a comparison, and in an error", async () => {
    const worse = join(folder, "worse.js");
    await writeFile(worse, PIPELINE.replace("o.price > 5", "o.price > 1"));
    expectPlain(await lines("replay", "orders", "--what-if", worse));
    const { stderr } = await call(["lineage", `orders/web:${EVIL}`, "--log", spec, "--verbose"]);
    expectPlain(stderr.trimEnd().split("\n"));
  });
});

describe("a graph says why each way ends", () => {
  it.each(["dot", "mermaid"])("as the text does: %s", async (format) => {
    const plain = (text: string) => text.replace(/#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
    const graph = async (...argv: string[]) =>
      plain((await lines("lineage", ...argv, "--format", format)).join("\n"));
    expect(await graph("source_orders.web@0", "--forward")).toContain("filtered at dear");
    expect(await graph("source_orders.web@1", "--forward")).toContain("delivered to ");
    const failed = await graph("source_orders.web@3", "--forward");
    expect(failed).toMatch(/quarantined at priced: no price.*all well/);
    expect(failed).toMatch(/it has not been put back|discarded: bad/);
  });
});
