import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { InputRecord } from "../../ports/files.ts";
import { CsvFramer } from "./csv.ts";
import { type Framer, FramingError } from "./framer.ts";
import { jsonFramer } from "./json-elements.ts";
import { JsonSurvey } from "./json-survey.ts";
import { JSON_LINES } from "./line-kinds.ts";
import { LineFramer } from "./lines.ts";
import { FRAME_BYTES } from "./pieces.ts";

const lines = (from = 0) => new LineFramer(JSON_LINES, from, { offset: 0, lines: 0 });

/** Feeds `bytes` in chunks cut at `cuts`, each a copy of its own. */
function feed(framer: Framer, bytes: Uint8Array, cuts: readonly number[] = []): InputRecord[] {
  const records: InputRecord[] = [];
  const take = (found: readonly InputRecord[]) => {
    for (const record of found) records.push({ ...record, frame: new Uint8Array(record.frame) });
  };
  const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])];
  places.sort((a, b) => a - b);
  for (const [index, from] of places.entries()) {
    const to = places[index + 1];
    if (to !== undefined) take(framer.push(bytes.slice(from, to)));
  }
  take(framer.end());
  return records;
}

function json(bytes: Uint8Array, cuts: readonly number[] = [], from = 0): InputRecord[] {
  const survey = new JsonSurvey();
  const size = Math.max(1, cuts[0] ?? bytes.length);
  for (let at = 0; at < bytes.length; at += size) {
    const layout = survey.push(bytes.subarray(at, at + size));
    if (layout !== undefined) return feed(jsonFramer(layout, from), bytes, cuts);
  }
  return feed(jsonFramer(survey.end(), from), bytes, cuts);
}

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));
const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const values = (records: readonly InputRecord[]) => records.map((record) => record.value);
const problems = (records: readonly InputRecord[]) =>
  records.flatMap(({ line, problem }) =>
    problem ? [`${line}: ${problem.message}${problem.field ? ` (${problem.field})` : ""}`] : [],
  );

const cutsOf = fc.array(fc.nat({ max: 2_000 }), { maxLength: 12 });
/** Without integers beyond 2^53, which are refused. */
const jsonValue = fc
  .jsonValue({ maxDepth: 3 })
  .map((value): unknown => JSON.parse(JSON.stringify(value, (_, part) => (beyond(part) ? 2 ** 53 : part))));
const beyond = (part: unknown) =>
  typeof part === "number" && Math.abs(part) > 2 ** 53 && Math.abs(part) < 1e21;
const lineEnd = fc.constantFrom("\n", "\r\n", "\n\n", "\n  \r\n");

describe("JSON lines", () => {
  it("reads back any records, cut anywhere, and says where each ends", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(jsonValue, lineEnd)),
        fc.boolean(),
        fc.boolean(),
        cutsOf,
        (rows, mark, open, cuts) => {
          let text = mark ? "\ufeff" : "";
          const ends: number[] = [];
          for (const [index, [value, end]] of rows.entries()) {
            text += JSON.stringify(value);
            if (!(open && index === rows.length - 1)) text += end;
            ends.push(
              Buffer.byteLength(text) -
                (text.endsWith(end) ? Buffer.byteLength(end.slice(end.indexOf("\n") + 1)) : 0),
            );
          }
          const bytes = bytesOf(text);
          const records = feed(lines(), bytes, cuts);
          expect(values(records)).toEqual(rows.map(([value]) => value));
          expect(records.map(({ end }) => end)).toEqual(ends);
          expect(records.map(({ frame }) => textOf(frame))).toEqual(
            rows.map(([value]) => JSON.stringify(value)),
          );
          for (const [index, end] of ends.entries()) {
            expect(feed(lines(end), bytes, cuts)).toEqual(records.slice(index + 1));
          }
        },
      ),
    );
  });

  it("names line and column of what is broken and goes on", () => {
    const records = feed(
      lines(),
      bytesOf(
        '{"a":1}\n{"a":tru}\n{a:1}\n\n{"a":1,}\n{"b":2} x\n{"s":"a\tb"}\n01\n"\\x"\n{"a":"\n[1,2\n{"ok":1}',
      ),
    );
    expect(values(records).filter((value) => value !== undefined)).toEqual([{ a: 1 }, { ok: 1 }]);
    expect(problems(records)).toEqual([
      '2: broken JSON at column 6: expected a value, found "t"',
      '3: broken JSON at column 2: expected a key in double quotes, found "a"',
      '5: broken JSON at column 8: expected a key in double quotes, found "}"',
      '6: broken JSON at column 9: expected the end, found "x"',
      "7: broken JSON at column 8: a control character inside a string",
      "8: broken JSON at column 1: a number that JSON does not allow",
      "9: broken JSON at column 2: a bad escape inside a string",
      "10: broken JSON at column 7: a string is not closed",
      '11: broken JSON at column 5: expected "," or "]", found the end',
    ]);
  });

  it("names what is broken and cannot be seen by its escape", () => {
    const unseen = ["\ufeff", "\u200b", "\u00a0", "\u2028", "\u{e0001}", "\u{1f600}"];
    const records = feed(lines(), bytesOf(`{"a":1}\n${unseen.map((one) => `${one}{"a":2}`).join("\n")}`));
    expect(problems(records).map((problem) => problem.slice(problem.indexOf("found")))).toEqual([
      'found "\\ufeff" (a byte order mark)',
      'found "\\u200b"',
      'found "\\u00a0"',
      'found "\\u2028"',
      'found "\\udb40\\udc01"',
      'found "\u{1f600}"',
    ]);
  });

  it("refuses integers that would be rounded and numbers that overflow, by path", () => {
    const records = feed(
      lines(),
      bytesOf(
        [
          '{"orders":[{"id":1},{"id":2},{"id":3},{"id":9007199254740993}]}',
          '{"id":9007199254740992,"text":"12345678901234567890","x":1.2345678901234567890}',
          '{"a b":{"c":-9007199254740993}}',
          "[1e400]",
          `{"x":${"9".repeat(400)}}`,
          '{"text":"1e999 : 99999999999999999999"}',
          "12345678901234567890",
        ].join("\n"),
      ),
    );
    expect(problems(records)).toEqual([
      "1: the integer 9007199254740993 is beyond 2^53 and would be rounded; send it as a string ($.orders[3].id)",
      '3: the integer -9007199254740993 is beyond 2^53 and would be rounded; send it as a string ($["a b"].c)',
      "4: the number 1e400 is too large to be kept ($[0])",
      "5: the number 999999999999999999999999… is too large to be kept ($.x)",
      "7: the integer 12345678901234567890 is beyond 2^53 and would be rounded; send it as a string ($)",
    ]);
    expect(records.filter((record) => record.problem === undefined).map(({ line }) => line)).toEqual([2, 6]);
  });

  it("finds every rounded integer, whatever surrounds it", () => {
    const spaced = fc.constantFrom("", " ", "\t");
    const context = fc.constantFrom(
      ["", ""],
      ["[", "]"],
      ['{"a":', "}"],
      ["[1,", "]"],
      ['{"a":[{"b":1,"c":', "}]}"],
    );
    fc.assert(
      fc.property(
        fc.bigInt({ min: 2n ** 53n + 1n, max: 10n ** 40n }),
        fc.boolean(),
        spaced,
        context,
        (n, negative, space, [a, b]) => {
          const [record] = feed(lines(), bytesOf(`${a}${space}${negative ? "-" : ""}${n}${space}${b}`));
          expect(record?.problem?.message).toContain("beyond 2^53");
        },
      ),
    );
  });

  it("refuses only the lines that are not UTF-8", () => {
    const bytes = Buffer.concat([
      bytesOf('{"a":"é"}\n{"a":"'),
      Buffer.from([0xff]),
      bytesOf('"}\n{"a":"ü"}\n'),
    ]);
    const records = feed(lines(), bytes);
    expect(problems(records)).toEqual(["2: not valid UTF-8; save the file as UTF-8"]);
    expect(values(records)).toEqual([{ a: "é" }, undefined, { a: "ü" }]);
  });

  it("keeps only the head of a line that is too long, however it is cut", () => {
    const long = `{"a":"${"x".repeat(FRAME_BYTES)}"}`;
    const bytes = bytesOf(`{"a":1}\n${long}\n{"a":2}\n`);
    const whole = feed(lines(), bytes);
    expect(problems(whole)).toEqual(["2: longer than 3 MiB, which no record may be"]);
    expect(whole[1]?.frame.length).toBeLessThan(100_000);
    expect(feed(lines(), bytes, [5, 70_000, 1_000_000, 2_999_999])).toEqual(whole);
  });

  it("reads very deep and broken texts without running out of stack", () => {
    const [record] = feed(lines(), bytesOf("[".repeat(500_000)));
    expect(record?.problem?.message).toContain("broken JSON at column 500001");
  });
});

describe(".json", () => {
  it("reads back the elements of an array, cut anywhere", () => {
    const space = fc.constantFrom("", " ", "\n  ", "\r\n\t");
    fc.assert(
      fc.property(fc.array(jsonValue), fc.boolean(), space, cutsOf, (list, mark, gap, cuts) => {
        const texts = list.map((value) => JSON.stringify(value, undefined, gap.length));
        const bytes = bytesOf(
          `${mark ? "\ufeff" : ""}${gap}[${gap}${texts.join(`${gap},${gap}`)}${gap}]${gap}`,
        );
        const records = json(bytes, cuts);
        expect(values(records)).toEqual(list);
        expect(records.map(({ frame }) => textOf(frame))).toEqual(texts);
        for (const [index, { end }] of records.entries()) {
          expect(textOf(bytes.subarray(0, end)).endsWith(texts[index] ?? "")).toBe(true);
          expect(json(bytes, cuts, end)).toEqual(records.slice(index + 1));
        }
      }),
    );
  });

  it.each([
    [
      '{"type":"FeatureCollection","metadata":{"n":[1]},"bbox":[1,2],"features":[{"a":"]"},{"a":2}]}',
      [{ a: "]" }, { a: 2 }],
    ],
    ['{"features":[{"a":1}],"bbox":[1,2],"type":"FeatureCollection"}', [{ a: 1 }]],
    ['{"count":2,"results":[1,"two",null], "next":{"page":[3]}}', [1, "two", null]],
    ['{"a":[1],"b":[2]}', [{ a: [1], b: [2] }]],
    ['{"a":{"b":[2]}}', [{ a: { b: [2] } }]],
    [" {} ", [{}]],
    ["[]", []],
    ['{"items":[]}', []],
    ['[{"a":"[,]\\\\\\""},[]]', [{ a: '[,]\\"' }, []]],
  ])("finds the records in %s", (text, expected) => {
    for (const cuts of [[], [1], [2, 7, 11], [5]])
      expect(values(json(bytesOf(text), cuts))).toEqual(expected);
  });

  it("refuses single elements and goes on", () => {
    expect(problems(json(bytesOf('[1,tru,{"a" 1},,9007199254740993,{"a":1e999},2]')))).toEqual([
      '2: broken JSON at column 1: expected a value, found "t"',
      '3: broken JSON at column 6: expected ":" after a key, found "1"',
      "4: there is no value beside a comma",
      "5: the integer 9007199254740993 is beyond 2^53 and would be rounded; send it as a string ($)",
      "6: the number 1e999 is too large to be kept ($.a)",
    ]);
  });

  it.each([
    ["", "empty: there is no JSON value in it"],
    ["42", "neither a JSON array nor an object"],
    ['{"a":1}\n{"a":2}', "more than one JSON value"],
  ])("does not begin %j", (text, message) => {
    expect(() => json(bytesOf(text))).toThrow(expect.objectContaining({ message, atStart: true }));
  });

  it.each([
    ['[{"a":1},{"a":', "the JSON breaks off in element 2", 1],
    ['{"rows":[1,2', "the JSON breaks off in element 2", 1],
    ['{"rows":[1,2]', "the JSON breaks off after the last element", 2],
    ["[1,2,[3}]", "element 3 closes a bracket that it did not open", 2],
    ["[1,2]]", "something follows the end of the JSON at byte 6", 2],
    ["[1}", "a bracket too many at byte 3", 0],
  ])("reads what comes before the break in %j", (text, message, before) => {
    const seen: InputRecord[] = [];
    try {
      const survey = new JsonSurvey();
      const framer = jsonFramer(survey.push(bytesOf(text)) ?? survey.end(), 0);
      for (const byte of bytesOf(text)) seen.push(...framer.push(Uint8Array.of(byte)));
      seen.push(...framer.end());
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ message, atStart: false });
      if (error instanceof FramingError) seen.push(...error.earlier);
    }
    expect(seen).toHaveLength(before);
  });
});

describe("CSV", () => {
  const name = fc
    .string({ minLength: 1, maxLength: 6, unit: "binary" })
    .filter((text) => text !== "__proto__");
  const quote = (cell: string) =>
    /[",\r\n]|^\ufeff|^$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
  const wellFormed = (text: string) => text.isWellFormed();

  it("reads back any rows of strings, cut anywhere", () => {
    const cell = fc.oneof(
      fc.string({ unit: "binary", maxLength: 8 }).filter(wellFormed),
      fc.string({ unit: fc.constantFrom('"', ",", "\n", "\r", "a", " "), maxLength: 6 }),
    );
    const table = fc
      .uniqueArray(name.filter(wellFormed), { minLength: 1, maxLength: 4 })
      .chain((header) =>
        fc.tuple(
          fc.constant(header),
          fc.array(fc.array(cell, { minLength: header.length, maxLength: header.length })),
        ),
      );
    fc.assert(
      fc.property(
        table,
        fc.constantFrom("\n", "\r\n"),
        fc.boolean(),
        cutsOf,
        ([header, rows], end, open, cuts) => {
          const all = [header, ...rows].map((row) => row.map(quote).join(","));
          const bytes = bytesOf(all.join(end) + (open ? "" : end));
          const records = feed(new CsvFramer(0), bytes, cuts);
          const expected = rows.map((row) =>
            Object.fromEntries(header.map((key, index) => [key, row[index]])),
          );
          expect(values(records)).toEqual(expected);
          expect(records.map(({ frame }) => textOf(frame))).toEqual(all.slice(1));
          for (const [index, { end }] of records.entries()) {
            expect(feed(new CsvFramer(end), bytes, cuts)).toEqual(records.slice(index + 1));
          }
        },
      ),
    );
  });

  it("names the column of a row that does not fit and goes on", () => {
    const text =
      '\ufeffid,name,note\r\n1,a,x\r\n2\r\n\r\n3,b,y,z\r\n4,b"c,x\r\n5,"d" e,x\r\n6,"multi\nline",x\r\n7,f,"x""y"\r\n8,"open,x\r\n9,g,last';
    const records = feed(new CsvFramer(0), bytesOf(text));
    expect(problems(records)).toEqual([
      '3: 1 column where the header has 3; "name" is missing (name)',
      '5: 4 columns where the header has 3; the first one too many holds "z" (column 4)',
      "6: a quote inside a cell that does not begin with one (name)",
      "7: text after the closing quote of a cell; a quote inside a quoted cell is written twice (name)",
      "11: a quoted cell is not closed (name)",
    ]);
    expect(values(records).filter((value) => value !== undefined)).toEqual([
      { id: "1", name: "a", note: "x" },
      { id: "6", name: "multi\nline", note: "x" },
      { id: "7", name: "f", note: 'x"y' },
      { id: "9", name: "g", note: "last" },
    ]);
    expect(feed(new CsvFramer(0), bytesOf(text), [3, 20, 61, 77, 90])).toEqual(records);
  });

  it("gives up only the line whose quote never closes, even in a large file", () => {
    const rows = Array.from({ length: 300_000 }, (_, index) => `${index},some text`);
    const bytes = bytesOf(`id,text\n0,"open\n${rows.join("\n")}\n`);
    const records = feed(new CsvFramer(0), bytes, [100_000, 3_000_000]);
    expect(problems(records)).toEqual(["2: a quoted cell is not closed (text)"]);
    expect(records).toHaveLength(rows.length + 1);
    expect(records.at(-1)).toMatchObject({
      line: rows.length + 2,
      value: { id: "299999", text: "some text" },
    });
  });

  it.each([
    ["a,,b\n1,2,3", "column 2 has no name"],
    ["a,b,a\n1,2,3", 'two columns are named "a"'],
    ["a,__proto__\n1,2", "column 2 is named __proto__, which no field may be"],
    ['a,"b\n1,2', "the header line cannot be read"],
  ])("does not begin %j", (text, message) => {
    expect(() => feed(new CsvFramer(0), bytesOf(text))).toThrow(
      expect.objectContaining({ message, atStart: true }),
    );
  });
});
