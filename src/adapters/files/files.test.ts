import { createHash } from "node:crypto";
import { appendFile, chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Input, InputRecord } from "../../ports/files.ts";
import { createFiles } from "./files.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-files-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const hex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString("hex");

async function put(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** All records of an input, and the error that ended it, if one did. */
async function drain(input: Input, options?: { from?: number; signal?: AbortSignal }) {
  const records: InputRecord[] = [];
  try {
    for await (const batch of input.read(options)) records.push(...batch);
  } catch (error) {
    return { records, values: records.map(({ value }) => value), error };
  }
  return { records, values: records.map(({ value }) => value), error: undefined };
}

const rows = Array.from({ length: 5_000 }, (_, id) => ({ id: String(id), text: `text ${id}` }));
const jsonLines = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const contents: Record<string, string> = {
  "a.jsonl": jsonLines,
  "a.ndjson": jsonLines,
  "a.json": JSON.stringify(rows),
  "b.json": JSON.stringify({ type: "FeatureCollection", features: rows }),
  "a.csv": `id,text\n${rows.map(({ id, text }) => `${id},${text}\n`).join("")}`,
};

describe("inputs", () => {
  for (const [name, content] of Object.entries(contents)) {
    for (const zipped of [false, true]) {
      const file = zipped ? `${name}.gz` : name;
      const bytes = Buffer.from(content);

      it(`reads ${file}, and from any record on, with the digest up to any record`, async () => {
        const path = await put(file, zipped ? gzipSync(bytes) : bytes);
        const files = createFiles();
        const input = await files.openInput(path);
        expect(input).toMatchObject({ name: path, repeatable: true, bytes: (await readFile(path)).length });
        const { records, values, error } = await drain(input);
        expect(error).toBeUndefined();
        expect(values).toEqual(rows);
        expect(input.bytesRead()).toBe(input.bytes);
        for (const at of [0, 1, 2_500, 4_999]) {
          const end = records[at]?.end ?? 0;
          expect(hex(input.digestUpTo(end))).toBe(sha(bytes.subarray(0, end)));
          for (const other of [files, createFiles()]) {
            const again = await other.openInput(path);
            const digestOf = (to: number) => createHash("sha256").update(bytes.subarray(0, to)).digest();
            const beginnings = [
              { bytes: 10, digest: digestOf(10) },
              { bytes: end, digest: digestOf(end - 1) },
              { bytes: end, digest: digestOf(end) },
              { bytes: bytes.length, digest: digestOf(bytes.length) },
              { bytes: bytes.length + 1, digest: digestOf(bytes.length) },
            ];
            expect(await again.beginsWith(beginnings)).toEqual([true, false, true, true, false]);
            expect(await again.start(10)).toEqual(Uint8Array.from(bytes.subarray(0, 10)));
            const tail = await drain(again, { from: end });
            expect(tail.values).toEqual(rows.slice(at + 1));
            expect(tail.records.map(({ line }) => line)).toEqual(
              records.slice(at + 1).map(({ line }) => line),
            );
            const last = tail.records.at(-1)?.end ?? end;
            expect(hex(again.digestUpTo(last))).toBe(sha(bytes.subarray(0, last)));
          }
        }
      });
    }
  }

  it("reads on a file that grew, also when its last line had no end", async () => {
    const files = createFiles();
    const path = await put("a.jsonl", '{"a":1}\n{"a":2}');
    const first = await drain(await files.openInput(path));
    expect(first.records.map(({ end }) => end)).toEqual([8, 15]);
    for (const [index, more] of ['\n{"a":3}\n', '{"a":4}\n{"a"', ":5}\n"].entries()) {
      if (index === 2) break;
      const before = (await readFile(path)).length;
      await appendFile(path, more);
      const input = await files.openInput(path);
      const { records } = await drain(input, { from: before });
      expect(records[0]).toMatchObject({ line: index + 3, value: { a: index + 3 } });
      const content = await readFile(path);
      const end = records.at(-1)?.end ?? 0;
      expect(hex(input.digestUpTo(end))).toBe(sha(content.subarray(0, end)));
    }
  });

  it("reads nothing again of a file that did not grow, and still knows its digest", async () => {
    const files = createFiles();
    const path = await put("a.jsonl", jsonLines);
    await drain(await files.openInput(path));
    const input = await files.openInput(path);
    expect((await drain(input, { from: jsonLines.length })).records).toEqual([]);
    expect(hex(input.digestUpTo(jsonLines.length))).toBe(sha(Buffer.from(jsonLines)));
  });

  it("digests content between records that is larger than it keeps", async () => {
    const content = `{"a":1}\n${" ".repeat(9_000_000)}\n${'{"b":"'}${"x".repeat(6_000_000)}"}\n\n{"a":2}\n`;
    const path = await put("a.jsonl", content);
    const input = await createFiles().openInput(path);
    const { records } = await drain(input);
    expect(records.map(({ line, problem }) => [line, problem?.message])).toEqual([
      [1, undefined],
      [2, "longer than 3 MiB, which no record may be"],
      [3, "longer than 3 MiB, which no record may be"],
      [5, undefined],
    ]);
    for (const { end } of records) {
      expect(hex(input.digestUpTo(end))).toBe(sha(Buffer.from(content.slice(0, end))));
    }
  });

  it("reads a gzip file of several members", async () => {
    const members = [jsonLines.slice(0, 1_001), jsonLines.slice(1_001, 70_000), "", jsonLines.slice(70_000)];
    const path = await put("a.jsonl.gz", Buffer.concat(members.map((member) => gzipSync(member))));
    expect((await drain(await createFiles().openInput(path))).values).toEqual(rows);
  });

  it.each(["a.jsonl.gz", "a.json.gz", "b.json.gz", "a.csv.gz"])(
    "gives all that a truncated %s holds, then fails",
    async (file) => {
      const zipped = gzipSync(contents[file.slice(0, -3)] ?? "");
      for (const length of [zipped.length - 1, zipped.length - 9, Math.floor(zipped.length / 2)]) {
        const path = await put(file, zipped.subarray(0, length));
        const { records, error } = await drain(await createFiles().openInput(path));
        expect(error).toMatchObject({
          code: "InputFailed",
          message: "the gzip file breaks off",
          where: path,
        });
        if (length > zipped.length - 9) expect(records).toHaveLength(rows.length);
        expect(records.length).toBeGreaterThan(rows.length / 4);
      }
    },
  );

  it("gives what comes before a damaged place of a gzip file, then fails", async () => {
    const zipped = gzipSync(jsonLines.repeat(5));
    zipped.fill(0xff, zipped.length - 400, zipped.length - 300);
    const path = await put("a.jsonl.gz", zipped);
    const { values, error } = await drain(await createFiles().openInput(path));
    expect(error).toMatchObject({ code: "InputFailed", where: path });
    expect(values.length).toBeGreaterThan(rows.length * 4);
    expect(values.slice(0, rows.length)).toEqual(rows);
  });

  it("says that a file is not gzip before reading it", async () => {
    const path = await put("a.jsonl.gz", jsonLines);
    const { records, error } = await drain(await createFiles().openInput(path));
    expect(records).toEqual([]);
    expect(error).toMatchObject({
      code: "BadInput",
      where: path,
      hint: expect.stringContaining("without .gz"),
    });
  });

  it.each(["[1,2", "", "true"])("names the file whose JSON is broken: %j", async (text) => {
    const path = await put("a.json", text);
    expect((await drain(await createFiles().openInput(path))).error).toMatchObject({ where: path });
  });

  it("ends when the signal aborts, also while it waits", async () => {
    const stdin = new PassThrough();
    const input = await createFiles({ stdin }).openInput("-");
    const controller = new AbortController();
    stdin.write('{"a":1}\n{"a":');
    const seen: unknown[] = [];
    for await (const batch of input.read({ signal: controller.signal })) {
      seen.push(...batch.map(({ value }) => value));
      setImmediate(() => controller.abort());
    }
    expect(seen).toEqual([{ a: 1 }]);
    const path = await put("a.jsonl", jsonLines.repeat(10));
    const aborted = await drain(await createFiles().openInput(path), { signal: AbortSignal.abort() });
    expect(aborted).toMatchObject({ records: [], error: undefined });
  });

  it("reads standard input as JSON lines", async () => {
    const stdin = new PassThrough();
    stdin.end('\n{"a":1}\r\n{"a":2}');
    const input = await createFiles({ stdin }).openInput("-");
    expect(input).toMatchObject({ name: "standard input", bytes: undefined, repeatable: false });
    expect((await drain(input)).values).toEqual([{ a: 1 }, { a: 2 }]);
    expect(input.bytesRead()).toBe(17);
  });

  it("reads no further than it is asked", async () => {
    const path = await put("a.jsonl", jsonLines.repeat(100));
    const input = await createFiles().openInput(path);
    for await (const batch of input.read()) {
      expect(batch.length).toBeGreaterThan(0);
      break;
    }
    expect(input.bytesRead()).toBeLessThan(200_000);
  });

  it("does not open what it cannot read", async () => {
    const files = createFiles();
    const open = (name: string) => files.openInput(join(folder, name));
    await mkdir(join(folder, "dir.jsonl"));
    await symlink(join(folder, "gone"), join(folder, "link.jsonl"));
    await expect(open("a.jsonl")).rejects.toMatchObject({ code: "BadInput", where: join(folder, "a.jsonl") });
    await expect(open("link.jsonl")).rejects.toMatchObject({ code: "BadInput" });
    await expect(open("dir.jsonl")).rejects.toMatchObject({
      code: "BadInput",
      message: expect.stringContaining("folder"),
    });
  });

  it("takes what it does not know for text, unless it is seen to be none", async () => {
    const files = createFiles();
    const text = await drain(await files.openInput(await put("notes", "one\n\n  two\r\nthré€")));
    expect(text.values).toEqual([{ line: "one" }, { line: "" }, { line: "  two" }, { line: "thré€" }]);
    const binary = await drain(await files.openInput(await put("a.parquet", "PAR1\u0000\u0015")));
    expect(binary).toMatchObject({
      records: [],
      error: { code: "BadInput", hint: expect.stringContaining(".jsonl") },
    });
    // A log may hold what a crash left in it.
    const log = await drain(await files.openInput(await put("a.log", "one\n\u0000\u0000\n")));
    expect(log.values).toEqual([{ line: "one" }, { line: "\u0000\u0000" }]);
  });

  it.each([
    ["a.log", "lines"],
    ["a.jsonl.1", "jsonl"],
    ["a.jsonl-2026-01-02.gz", "jsonl"],
    ["a.csv.12", "csv"],
    ["a.csv.old", "lines"],
    ["access_log", "lines"],
  ])("takes %s for %s", async (name, format) => {
    const file = await createFiles().openGrowing(await put(name, ""));
    expect(file.format).toBe(format);
    await file.close();
  });

  it("reads what it is told to read, whatever the name says", async () => {
    const path = await put("a.jsonl", '{"a":1}\n');
    expect((await drain(await createFiles().openInput(path, "lines"))).values).toEqual([{ line: '{"a":1}' }]);
    const stdin = new PassThrough();
    stdin.end("a,b\n1,2\n");
    expect((await drain(await createFiles({ stdin }).openInput("-", "csv"))).values).toEqual([
      { a: "1", b: "2" },
    ]);
    await expect(createFiles({ stdin }).openInput("-", "json")).rejects.toMatchObject({ code: "BadInput" });
  });

  it("takes the end of a line that had none for its end, and not for a blank line", async () => {
    for (const ending of ["\n", "\r\n"]) {
      const path = await put("a.log", "one\ntwo");
      const files = createFiles();
      expect((await drain(await files.openInput(path))).values).toHaveLength(2);
      await appendFile(path, `${ending}${ending}three${ending}`);
      for (const other of [files, createFiles()]) {
        const { records } = await drain(await other.openInput(path), { from: 7 });
        expect(records.map(({ line, value }) => [line, value])).toEqual([
          [3, { line: "" }],
          [4, { line: "three" }],
        ]);
      }
    }
  });

  it("refuses a line that is not UTF-8, and reads on", async () => {
    const path = await put("a.log", Buffer.concat([Buffer.from("one\n"), Buffer.from([0xff, 0x0a, 0x78])]));
    const { records } = await drain(await createFiles().openInput(path));
    expect(records.map(({ line, value, problem }) => [line, value ?? problem?.message])).toEqual([
      [1, { line: "one" }],
      [2, "not valid UTF-8; save the file as UTF-8"],
      [3, { line: "x" }],
    ]);
  });

  it("lists the files of a folder by name, without folders and hidden ones", async () => {
    for (const name of ["b.log", "a.log", ".hidden", "c"]) await put(name, name);
    await mkdir(join(folder, "d.log"));
    const files = createFiles();
    const found = await files.filesIn(folder);
    expect(found?.map(({ path }) => path)).toEqual(["a.log", "b.log", "c"].map((name) => join(folder, name)));
    expect(await files.filesIn(join(folder, "a.log"))).toBeUndefined();
    expect(await files.identify(join(folder, "a.log"))).toBe(found?.[0]?.identity);
    expect(await files.identify(folder)).toBeUndefined();
  });

  it.skipIf(process.getuid?.() === 0)("does not open what it may not read", async () => {
    const path = await put("a.jsonl", "");
    await chmod(path, 0o000);
    await expect(createFiles().openInput(path)).rejects.toMatchObject({ code: "BadInput" });
  });
});

describe("outputs", () => {
  it("writes, reads and truncates at positions, and keeps what is there", async () => {
    const path = await put("out.jsonl", "0123456789");
    const out = await createFiles().openOutput(path);
    expect(out.path).toBe(path);
    await out.write(4, Buffer.from("abc"));
    await out.write(12, Buffer.from("z"));
    expect(await out.length()).toBe(13);
    expect(Buffer.from(await out.read(2, 4)).toString()).toBe("23ab");
    expect((await out.read(11, 100)).length).toBe(2);
    expect((await out.read(50, 100)).length).toBe(0);
    await out.truncate(7);
    await out.sync();
    await out.close();
    await out.close();
    expect(await readFile(path, "utf8")).toBe("0123abc");
  });

  it("says whether a file has content", async () => {
    const files = createFiles();
    expect(await files.hasContent(join(folder, "none"))).toBe(false);
    expect(await files.hasContent(await put("empty", ""))).toBe(false);
    expect(await files.hasContent(await put("some", "x"))).toBe(true);
    const out = await files.openOutput(join(folder, "new.jsonl"));
    await out.sync();
    await out.close();
    expect(await files.hasContent(join(folder, "new.jsonl"))).toBe(false);
  });

  it("says what to do when it cannot write", async () => {
    const files = createFiles();
    const nowhere = join(folder, "no", "out.jsonl");
    await expect(files.openOutput(nowhere)).rejects.toMatchObject({
      code: "OutputFailed",
      where: nowhere,
      message: "cannot open the output: there is no such folder",
      hint: expect.stringContaining("folder"),
    });
    await expect(files.openOutput(folder)).rejects.toMatchObject({ code: "OutputFailed", where: folder });
  });

  it.runIf(process.platform === "linux")("tells of a full disk", async () => {
    const out = await createFiles().openOutput("/dev/full");
    await expect(out.write(0, Buffer.from("x"))).rejects.toMatchObject({
      code: "OutputFailed",
      where: "/dev/full",
      message: "cannot write the output: no space left",
      hint: expect.stringContaining("Free some space"),
    });
    await out.close();
  });

  it("tells of a standard output that nobody reads", async () => {
    const taken: string[] = [];
    const stdout = new Writable({
      write(chunk, _encoding, done) {
        taken.push(String(chunk));
        done(taken.length > 1 ? Object.assign(new Error("broken pipe"), { code: "EPIPE" }) : null);
      },
    });
    const files = createFiles({ stdout });
    await files.writeStdout(Buffer.from("one"));
    await expect(files.writeStdout(Buffer.from("two"))).rejects.toMatchObject({
      code: "OutputFailed",
      where: "standard output",
    });
    expect(taken).toEqual(["one", "two"]);
  });
});
