import { FramingError } from "./framer.ts";
import { isSpace, Mismatch, Nesting } from "./json-nesting.ts";

/** Where the records of a `.json` file are: in the array that opens at byte `at`, or the file is one record. */
export type JsonLayout =
  | { readonly kind: "elements"; readonly at: number; readonly inObject: boolean }
  | { readonly kind: "single" };

/** Bytes of a key, or of the value of `type`, that are looked at. */
const LOOKED_AT = 1_024;

const HINT = "A .json file holds one array of records, or one object; for one record a line, name it .jsonl.";

/**
 * Looks through the top level of a JSON text, fed in chunks, for the array that holds the records: the text
 * itself; `features` of a GeoJSON FeatureCollection; the only array among an object's properties.
 */
export class JsonSurvey {
  private readonly nesting = new Nesting();
  private offset = 0;
  private part: "before" | "key" | "value" | "after" = "before";
  private text = "";
  private key: string | undefined;
  private value: { readonly first: number; readonly at: number } | undefined;
  private collection = false;
  private features: number | undefined;
  private arrays: number[] = [];

  /** Answers as soon as it is certain. Throws {@link FramingError} for what is neither array nor object. */
  push(chunk: Uint8Array): JsonLayout | undefined {
    let at = 0;
    while (at < chunk.length) {
      const byte = chunk[at] ?? 0;
      if (this.part === "before") {
        const mark = this.offset + at < 3 && byte === [0xef, 0xbb, 0xbf][this.offset + at];
        if (byte === 0x5b) return { kind: "elements", at: this.offset + at, inObject: false };
        if (byte === 0x7b) this.part = "key";
        else if (!mark && !isSpace(byte)) throw unreadable("neither a JSON array nor an object");
        at++;
      } else if (this.part === "after") {
        if (!isSpace(byte)) throw unreadable("more than one JSON value");
        at++;
      } else {
        const layout = this.property(chunk, at);
        if (typeof layout !== "number") return layout;
        at = layout;
      }
    }
    this.offset += chunk.length;
    return undefined;
  }

  /**
   * What is known at the end, or where reading failed: an object that breaks off inside its only array still has
   * the elements before.
   */
  end(): JsonLayout {
    if (this.part === "before") throw unreadable("empty: there is no JSON value in it");
    if (this.collection && this.features !== undefined) return elements(this.features);
    const [only, second] = this.arrays;
    if (only !== undefined && second === undefined) return elements(only);
    return { kind: "single" };
  }

  /** Reads on in a key or value; answers where to go on, or the layout. */
  private property(chunk: Uint8Array, from: number): number | JsonLayout {
    if (this.part === "value" && this.value === undefined) {
      const at = from + chunk.subarray(from).findIndex((byte) => !isSpace(byte));
      if (at < from) return chunk.length;
      this.value = { first: chunk[at] ?? 0, at: this.offset + at };
      if (this.value.first === 0x5b) {
        if (this.key === "features") this.features = this.value.at;
        this.arrays.push(this.value.at);
        if (this.collection && this.key === "features") return elements(this.value.at);
      }
      return at;
    }
    const to = this.scan(chunk, from);
    if (typeof to !== "number") return to;
    if (this.text.length < LOOKED_AT) {
      this.text += Buffer.from(chunk.subarray(from, Math.min(to, from + LOOKED_AT))).toString("latin1");
    }
    const byte = chunk[to];
    if (byte === undefined) return to;
    if (this.part === "key" && byte === 0x3a) {
      this.key = stringIn(this.text);
      this.part = "value";
    } else {
      if (this.key === "type" && stringIn(this.text) === "FeatureCollection") this.collection = true;
      this.part = byte === 0x7d ? "after" : "key";
      this.key = undefined;
    }
    this.text = "";
    this.value = undefined;
    return to + 1;
  }

  private scan(chunk: Uint8Array, from: number): number | JsonLayout {
    try {
      return this.nesting.scan(chunk, from);
    } catch (error) {
      if (error instanceof Mismatch) return this.end();
      throw error;
    }
  }
}

function elements(at: number): JsonLayout {
  return { kind: "elements", at, inObject: true };
}

function stringIn(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

function unreadable(message: string): FramingError {
  return new FramingError(message, { earlier: [], atStart: true, hint: HINT });
}
