import { existsSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeEvent } from "../../src/core/event-codec.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { canonicalJson, digestOfJson } from "./canonical-json.ts";
import { headwater, projectFile, Workplace } from "./command.ts";

const MINUTES = 60_000;
const WIKITICKER = projectFile("../shared/data/wikiticker/wikiticker-2015-09-12-sampled.jsonl.gz");
const missing = existsSync(WIKITICKER) ? "" : ` [skipped: there is no ${WIKITICKER}]`;
const SOURCE = "source_wikipedia-edits.edits";
/** An edit in the middle of the day: the line of the file, from 0, and N of the record. */
const EDIT = 20_000;

describe.skipIf(missing !== "")(`an audit of a day of Wikipedia edits${missing}`, () => {
  const place = new Workplace();
  let cwd = "";
  let edit: unknown;
  let verifier = "";

  const audit = async () => {
    const signed = ["--checkpoint", "now.note", "--verifier", verifier];
    const { code, stdout, stderr } = await headwater(["audit", ...signed, "--json"], { cwd });
    expect(stderr).toBe("");
    return { code, checks: JSON.parse(stdout).checks };
  };

  beforeAll(async () => {
    cwd = await place.folder();
    edit = JSON.parse(gunzipSync(readFileSync(WIKITICKER)).toString().split("\n")[EDIT] ?? "");
    const files = ["--input", `edits=${WIKITICKER}`, "--output", "channels=channels.jsonl", "--quiet"];
    const ended = await headwater(["run", projectFile("examples/wikipedia-edits.ts"), ...files], { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    verifier = (await headwater(["keygen", "k"], { cwd })).stdout.trimEnd();
    await headwater(["checkpoint", "--key", "k.key", "--out", "now.note"], { cwd });
  }, 3 * MINUTES);
  afterAll(() => place.clear());

  it("is clean, and digests in the log are those of the lines of the file", {
    timeout: 2 * MINUTES,
  }, async () => {
    const { code, checks } = await audit();
    expect(code).toBe(0);
    for (const check of checks) expect(check).toMatchObject({ ok: true, failed: 0 });
    expect(await digestInLog()).toBe(digestOfJson(edit));
  });

  it("names the record of which a byte was changed in the file, until that is undone", {
    timeout: 4 * MINUTES,
  }, async () => {
    const file = join(cwd, ".headwater", "data.mdb");
    const whole = await readFile(file);
    const record = canonicalJson(edit);
    const at = whole.indexOf(record);
    expect(at).toBeGreaterThan(0);
    const changed = Buffer.from(whole);
    // In a text in it, so that it is a record still.
    const inside = at + record.indexOf("wikipedia");
    changed[inside] = "W".charCodeAt(0);
    await writeFile(file, changed);
    const { code, checks } = await audit();
    expect(code).toBe(1);
    const failures = (name: string) => checks.find((check: { name: string }) => check.name === name).failures;
    expect(failures("chain")[0].address).toMatch(/^payload_wikipedia-edits\.edits@\d+$/);
    expect(failures("payload")).toMatchObject([{ address: `${SOURCE}@${EDIT}`, code: "BadPayload" }]);

    await writeFile(file, whole);
    expect(await audit()).toMatchObject({ code: 0 });
  });

  /** What the log has for the edit's digest. */
  async function digestInLog(): Promise<string> {
    const log = await openLog(`lmdb:${join(cwd, ".headwater")}`, { readOnly: true });
    try {
      for await (const event of log.read(SOURCE)) {
        const { type, data } = decodeEvent(event);
        if (type !== "RecordsAccepted" || data.digests === undefined || EDIT >= data.first + data.count)
          continue;
        const row = EDIT - data.first;
        return Buffer.from(data.digests.subarray(32 * row, 32 * row + 32)).toString("hex");
      }
      throw new Error("the record is not there");
    } finally {
      await log.close();
    }
  }
});
