import { formatPath, type ValuePath } from "./value.ts";

/** What is wrong with a JSON text; `column` is in characters from 1. */
export type JsonFault =
  | { readonly kind: "broken"; readonly column: number; readonly message: string }
  | { readonly kind: "number"; readonly field: string; readonly message: string };

const LITERALS = ["true", "false", "null"];
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const INTEGER = /^-?\d+$/;
const LARGEST = 2 ** 53;
/** A number that runs on into letters or a second fraction (`01`, `1.`, `12abc`): said as one fault. */
const NUMBER_TAIL = /[\w.+-]/;

/**
 * Reads a JSON text (RFC 8259) token by token and names its first fault: broken syntax, an integer literal
 * beyond ±2^53, which `JSON.parse` rounds silently, or a number that overflows to infinity. `undefined`: no
 * fault. Slow and careful; called only for texts that failed to parse or that hold a suspicious number.
 */
export function findJsonFault(text: string): JsonFault | undefined {
  return new JsonReader(text).read();
}

/** Keeps its own stack: a record of three million brackets must not exhaust the one of the machine. */
class JsonReader {
  private readonly text: string;
  private at = 0;
  private readonly path: (string | number)[] = [];
  private broken: JsonFault | undefined;
  private number: JsonFault | undefined;

  constructor(text: string) {
    this.text = text;
  }

  read(): JsonFault | undefined {
    let opened = this.value();
    while (this.broken === undefined && this.path.length > 0) opened = opened ? this.first() : this.next();
    if (this.broken === undefined) {
      this.space();
      if (this.at < this.text.length) this.fail(`expected the end, found ${this.found()}`);
    }
    return this.broken ?? this.number;
  }

  /** Reads a scalar and answers false, or what opens a container and answers true. */
  private value(): boolean {
    this.space();
    const char = this.text[this.at];
    if (char === "{" || char === "[") {
      this.at++;
      this.path.push(char === "[" ? 0 : "");
      return true;
    }
    if (char === '"') this.string();
    else if (char !== undefined && /[-\d]/.test(char)) this.numeral();
    else {
      const literal = LITERALS.find((word) => this.text.startsWith(word, this.at));
      if (literal === undefined) this.fail(`expected a value, found ${this.found()}`);
      else this.at += literal.length;
    }
    return false;
  }

  /** After an opening bracket: its end, or the first entry. Answers whether that entry opened a container. */
  private first(): boolean {
    this.space();
    const inArray = typeof this.path.at(-1) === "number";
    if (this.text[this.at] === (inArray ? "]" : "}")) {
      this.at++;
      this.path.pop();
      return false;
    }
    return inArray ? this.value() : this.entry();
  }

  /** After an entry: a comma and the next one, or the end. */
  private next(): boolean {
    this.space();
    const step = this.path.at(-1);
    const close = typeof step === "number" ? "]" : "}";
    const char = this.text[this.at];
    if (char === close) {
      this.at++;
      this.path.pop();
      return false;
    }
    if (char !== ",") {
      this.fail(`expected "," or "${close}", found ${this.found()}`);
      return false;
    }
    this.at++;
    if (typeof step !== "number") return this.entry();
    this.path[this.path.length - 1] = step + 1;
    return this.value();
  }

  private entry(): boolean {
    this.space();
    if (this.text[this.at] !== '"') {
      this.fail(`expected a key in double quotes, found ${this.found()}`);
      return false;
    }
    const from = this.at;
    this.string();
    if (this.broken !== undefined) return false;
    this.path[this.path.length - 1] = String(JSON.parse(this.text.slice(from, this.at)));
    this.space();
    if (this.text[this.at] !== ":") {
      this.fail(`expected ":" after a key, found ${this.found()}`);
      return false;
    }
    this.at++;
    return this.value();
  }

  private string(): void {
    for (this.at++; this.at < this.text.length; this.at++) {
      const char = this.text.charCodeAt(this.at);
      if (char === 0x22) {
        this.at++;
        return;
      }
      if (char < 0x20) {
        this.fail("a control character inside a string");
        return;
      }
      if (char !== 0x5c) continue;
      const sequence = /^(?:["\\/bfnrt]|u[\da-fA-F]{4})/.exec(this.text.slice(this.at + 1, this.at + 6));
      if (sequence === null) {
        this.fail("a bad escape inside a string");
        return;
      }
      this.at += sequence[0].length;
    }
    this.fail("a string is not closed");
  }

  private numeral(): void {
    NUMBER.lastIndex = this.at;
    const literal = NUMBER.exec(this.text)?.[0];
    const after = literal === undefined ? undefined : this.text[this.at + literal.length];
    if (literal === undefined || (after !== undefined && NUMBER_TAIL.test(after))) {
      this.fail("a number that JSON does not allow");
      return;
    }
    this.at += literal.length;
    if (this.number !== undefined) return;
    const value = Number(literal);
    const shown = shorten(literal, 24);
    if (!Number.isFinite(value)) {
      this.number = numberFault(this.path, `the number ${shown} is too large to be kept`);
    } else if (INTEGER.test(literal) && exceeds(literal)) {
      this.number = numberFault(
        this.path,
        `the integer ${shown} is beyond 2^53 and would be rounded; send it as a string`,
      );
    }
  }

  private space(): void {
    while (/^[ \t\r\n]/.test(this.text[this.at] ?? "")) this.at++;
  }

  private fail(message: string): void {
    this.broken ??= { kind: "broken", column: this.at + 1, message };
  }

  private found(): string {
    const point = this.text.codePointAt(this.at);
    return point === undefined ? "the end" : visible(String.fromCodePoint(point));
  }
}

/** Of what nobody sees its escape is shown. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}]|(?! )\p{Zs}/gu;

function visible(character: string): string {
  const shown = JSON.stringify(character).replace(UNSEEN, (unseen) =>
    Array.from({ length: unseen.length }, (_, index) => escaped(unseen.charCodeAt(index))).join(""),
  );
  return character === "\ufeff" ? `${shown} (a byte order mark)` : shown;
}

function escaped(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, "0")}`;
}

function exceeds(integer: string): boolean {
  const value = Math.abs(Number(integer));
  // 2^53 + 1 reads as 2^53: only the digits tell.
  return value > LARGEST || (value === LARGEST && integer.replace("-", "") !== String(LARGEST));
}

function numberFault(path: ValuePath, message: string): JsonFault {
  return { kind: "number", field: formatPath(path), message };
}

function shorten(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}
