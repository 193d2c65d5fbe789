import { generate } from "./shapes.ts";

/** Longer ASCII texts are left to Node, whose call costs as much as some thirty characters here. */
const SHORT_TEXT = 31;

type ShortReader = (u8: Uint8Array, at: number) => string | undefined;

/** For each length, code that reads that many ASCII characters; it returns undefined for other bytes. */
const shortReaders: (ShortReader | undefined)[] = [];

/** The UTF-8 text in `length` bytes at `at` of a whole buffer (they must be there), or undefined when it is not UTF-8. */
export function readText(u8: Uint8Array, at: number, length: number): string | undefined {
  if (length <= SHORT_TEXT) {
    const text = (shortReaders[length] ?? shortReader(length))(u8, at);
    if (text !== undefined) return text;
  }
  const text = Buffer.from(u8.buffer, at, length).toString("utf8");
  // Node puts U+FFFD in the place of what is wrong; it may also really be there.
  return text.includes("\uFFFD") ? strictText(u8.subarray(at, at + length)) : text;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function strictText(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

function shortReader(length: number): ShortReader {
  const names = Array.from({ length }, (_, index) => `c${index}`);
  const source = `"use strict";
return function readShort(u8, at) {
  ${names.map((name, index) => `const ${name} = u8[at + ${index}];`).join("\n  ")}
  if ((${names.join(" | ") || "0"}) > 127) return undefined;
  return String.fromCharCode(${names.join(", ")});
};`;
  const reader = (generate([], source)?.() as ShortReader | undefined) ?? (() => undefined);
  shortReaders[length] = reader;
  return reader;
}
