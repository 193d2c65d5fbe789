import { createHash } from "node:crypto";
import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { equalBytes, fromHex, sha256, sha256Batch, toHex } from "./digest.ts";
import { LaneHasher } from "./wasm/lane-hasher.ts";

function expectedDigest(message: Uint8Array): string {
  return createHash("sha256").update(message).digest("hex");
}

/** Bytes without a pattern that a lane mixed up with another would share. */
function message(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (Math.imul(index + 1, 2654435761) >>> 13) + 31 * seed);
}

function batched(messages: readonly Uint8Array[], batch = sha256Batch): string[] {
  const offsets = new Uint32Array(messages.length + 1);
  messages.forEach(({ length }, index) => {
    offsets[index + 1] = (offsets[index] ?? 0) + length;
  });
  const digests = batch(new Uint8Array(Buffer.concat(messages)), offsets, messages.length);
  expect(digests.length).toBe(32 * messages.length);
  return messages.map((_, index) => toHex(digests.subarray(32 * index, 32 * index + 32)));
}

describe("sha256", () => {
  test("gives the examples of FIPS 180-4", () => {
    expect(toHex(sha256(new Uint8Array(0)))).toBe(
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
    expect(toHex(sha256(Buffer.from("abc")))).toBe(
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
  });
});

describe("sha256Batch", () => {
  test("runs in SIMD lanes here", () => {
    expect(LaneHasher.create()).toBeInstanceOf(LaneHasher);
  });

  test("is right for each length alone", () => {
    for (let length = 0; length <= 300; length++) {
      const one = message(length, length);
      expect(batched([one])).toEqual([expectedDigest(one)]);
    }
  });

  test("is right for all lengths together, more than the lanes take at once", () => {
    const messages = Array.from({ length: 5_000 }, (_, index) => message((index * 7) % 301, index));
    expect(batched(messages)).toEqual(messages.map(expectedDigest));
  });

  test("is right for any lengths, short and long in between", () => {
    const lengths = fc.oneof(
      { weight: 8, arbitrary: fc.nat(300) },
      { weight: 2, arbitrary: fc.constantFrom(0, 55, 56, 63, 64, 119, 120, 128, 511, 512, 513) },
      { weight: 1, arbitrary: fc.nat(20_000) },
    );
    fc.assert(
      fc.property(fc.array(lengths, { maxLength: 40 }), (all) => {
        const messages = all.map((length, index) => message(length, index));
        expect(batched(messages)).toEqual(messages.map(expectedDigest));
      }),
    );
  });

  test("hashes a part of larger bytes, and refuses offsets that do not fit", () => {
    const bytes = message(100, 1);
    const digest = sha256Batch(bytes, Uint32Array.of(10, 20), 1);
    expect(toHex(digest)).toBe(expectedDigest(bytes.subarray(10, 20)));
    expect(() => sha256Batch(bytes, Uint32Array.of(20, 10), 1)).toThrow(RangeError);
    expect(() => sha256Batch(bytes, Uint32Array.of(20, 101), 1)).toThrow(RangeError);
    expect(() => sha256Batch(bytes, Uint32Array.of(20), 1)).toThrow(RangeError);
  });

  describe("without SIMD", () => {
    afterEach(() => {
      vi.unstubAllGlobals();
      vi.resetModules();
    });

    test.each([
      ["no WebAssembly", undefined],
      [
        "a WebAssembly that refuses the module",
        {
          Module: class {
            constructor() {
              throw new Error("no SIMD");
            }
          },
        },
      ],
    ])("falls back to node:crypto: %s", async (_, wasm) => {
      vi.stubGlobal("WebAssembly", wasm);
      vi.resetModules();
      const { sha256Batch: fallback } = await import("./digest.ts");
      const messages = [0, 1, 64, 1_000, 3].map((length, index) => message(length, index));
      expect(batched(messages, fallback)).toEqual(messages.map(expectedDigest));
    });
  });
});

describe("hexadecimal", () => {
  test("comes back", () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => equalBytes(fromHex(toHex(bytes)), bytes)));
    expect(fromHex("00fFA0")).toEqual(Uint8Array.of(0, 255, 160));
    expect(toHex(new Uint8Array([1, 2, 3, 4]).subarray(1, 3))).toBe("0203");
  });

  test.each(["0", "0g", "0x00", " 00", "00\n"])("refuses %j", (text) => {
    expect(() => fromHex(text)).toThrow(expect.objectContaining({ code: "BadInput" }));
  });

  test("equalBytes compares lengths and bytes", () => {
    expect(equalBytes(Uint8Array.of(1, 2), Buffer.from([1, 2]))).toBe(true);
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1))).toBe(false);
  });
});
