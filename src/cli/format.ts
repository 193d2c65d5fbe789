import type { Value } from "../core/canonical.ts";
import type { Io, Out } from "./io.ts";

const CODES = { red: [31, 39], dim: [2, 22], bold: [1, 22] } as const;

/** `text`, as {@link onOneLine} has it, in colour where `out` is a terminal and NO_COLOR (no-color.org) does not forbid it. */
export function paint(io: Pick<Io, "env">, out: Out, colour: keyof typeof CODES, text: string): string {
  const forbidden = io.env["NO_COLOR"];
  const shown = onOneLine(text);
  if (out.terminal === undefined || (forbidden !== undefined && forbidden !== "")) return shown;
  const [on, off] = CODES[colour];
  return `\u001b[${on}m${shown}\u001b[${off}m`;
}

/** 1234567 as `1,234,567`; at most `digits` after the point. */
export function formatNumber(value: number, digits = 0): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: digits });
}

/** 1536 as `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${formatNumber(value, unit === 0 ? 0 : 1)} ${units[unit]}`;
}

/** Seconds as `0.42 s`, `12.3 s` or `3 min 5 s`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${formatNumber(seconds, 2)} s`;
  if (seconds < 120) return `${formatNumber(seconds, 1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** Rows under headings, each on one line, columns as wide as their widest cell; columns in `right` are flush right. */
export function table(
  headings: readonly string[],
  cells: readonly (readonly string[])[],
  right: ReadonlySet<number>,
): string[] {
  const rows = cells.map((row) => row.map(onOneLine));
  const widths = headings.map((heading, index) =>
    Math.max(heading.length, ...rows.map((row) => (row[index] ?? "").length)),
  );
  return [headings, ...rows].map((row) =>
    row
      .map((cell, index) =>
        right.has(index) ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
}

/** Bytes of a value that are shown to people. */
const SHOWN_BYTES = 32;

/**
 * A record or event as JSON can hold it: bytes as `{"$bytes": hex}`, BigInt as `{"$bigint": digits}`, NaN,
 * infinities and −0 as `{"$float": name}`. With `shorten` only the first 32 bytes, and `length` says how many.
 */
export function jsonable(value: Value, shorten: boolean): unknown {
  if (typeof value === "bigint") return { $bigint: String(value) };
  if (typeof value === "number") {
    if (Object.is(value, -0)) return { $float: "-0" };
    return Number.isFinite(value) ? value : { $float: String(value) };
  }
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) {
    const cut = shorten && value.length > SHOWN_BYTES;
    const hex = Buffer.from(cut ? value.subarray(0, SHOWN_BYTES) : value).toString("hex");
    return cut ? { $bytes: `${hex}…`, length: value.length } : { $bytes: hex };
  }
  if (Array.isArray(value)) return value.map((part: Value) => jsonable(part, shorten));
  const fields = Object.entries(value as Readonly<Record<string, Value | undefined>>);
  return Object.fromEntries(
    fields.map(([key, part]) => [key, part === undefined ? null : jsonable(part, shorten)]),
  );
}

/**
 * Text from outside, as a terminal may have it: on one line, and with control characters written out, also those that
 * turn the direction of writing, so that it can neither move the cursor nor pretend to be another message. Whatever
 * people are shown of records, ids, names of inputs, or errors that were thrown goes through this, and whatever is made
 * by {@link paint}, {@link table}, {@link prettyJson}, {@link shortJson},
 * {@link stackLines} or {@link asLines} has.
 */
export function onOneLine(text: string): string {
  return text.replace(
    /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (character) => WRITTEN[character] ?? written(character),
  );
}

/** Lines without colours, each of which stays one. */
export function asLines(lines: readonly string[]): string {
  return lines.map((line) => `${onOneLine(line)}\n`).join("");
}

const WRITTEN: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function written(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The lines of a stack; what its message wrote on lines of its own is told from what others say by standing further in. */
export function stackLines(stack: string): readonly string[] {
  return stack.split("\n").map((line, index) => onOneLine(index === 0 ? line : `    ${line.trimStart()}`));
}

/** A value for people, on one line. */
export function shortJson(value: Value): string {
  return onOneLine(JSON.stringify(jsonable(value, true)));
}

/** JSON for people: indented, but what fits into a line stays in one. */
export function prettyJson(value: unknown, indent = "", width = 100): string {
  const flat = onOneLine(JSON.stringify(value) ?? "null");
  if (flat.length + indent.length <= width || typeof value !== "object" || value === null) return flat;
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    return `[\n${value.map((part) => inner + prettyJson(part, inner, width)).join(",\n")}\n${indent}]`;
  }
  const parts = Object.entries(value).map(
    ([key, part]) => `${inner}${onOneLine(JSON.stringify(key))}: ${prettyJson(part, inner, width)}`,
  );
  return `{\n${parts.join(",\n")}\n${indent}}`;
}
