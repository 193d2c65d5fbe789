/**
 * A small assembler for WebAssembly, so that what runs is source that can be read and reviewed, without a
 * build step and without a binary. An expression is the text of its bytes, one character a byte (joining texts
 * is cheap); operands come before the instruction.
 * Opcodes: WebAssembly Core Specification 2.0, sections 5.4 (instructions) and 5.5 (modules).
 */
export type Code = string;

export type ValueType = "i32" | "v128";

/** One function; `code` names its parameters, and then its locals, by their index. */
export interface WasmFunction {
  readonly exported?: string;
  readonly parameters: readonly ValueType[];
  readonly locals: readonly ValueType[];
  readonly code: Code;
}

const bytes = (...values: readonly number[]): Code => String.fromCharCode(...values);
const TYPE_CODES = { i32: bytes(0x7f), v128: bytes(0x7b) } as const;

/** The binary module of `functions` (none returns a value) and one memory of `pages` × 64 KiB, exported as "memory". */
export function assembleModule(functions: readonly WasmFunction[], pages: number): Uint8Array {
  const types = functions.map(
    (f) => bytes(0x60) + vector(f.parameters.map((type) => TYPE_CODES[type])) + bytes(0),
  );
  const exported = functions.flatMap((f, index) =>
    f.exported === undefined ? [] : [name(f.exported) + bytes(0) + unsigned(index)],
  );
  const bodies = functions.map((f) => {
    const body = vector(f.locals.map((type) => bytes(1) + TYPE_CODES[type])) + f.code + bytes(0x0b);
    return unsigned(body.length) + body;
  });
  const module =
    bytes(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0) +
    section(1, vector(types)) +
    section(3, vector(functions.map((_, index) => unsigned(index)))) +
    section(5, vector([bytes(1) + unsigned(pages) + unsigned(pages)])) +
    section(7, vector([name("memory") + bytes(2, 0), ...exported])) +
    section(10, vector(bodies));
  return new Uint8Array(Buffer.from(module, "latin1"));
}

function section(id: number, body: Code): Code {
  return bytes(id) + unsigned(body.length) + body;
}

function vector(items: readonly Code[]): Code {
  return unsigned(items.length) + items.join("");
}

function name(text: string): Code {
  return unsigned(text.length) + text;
}

/** LEB128, unsigned. */
function unsigned(value: number): Code {
  let code = "";
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) code += bytes((rest & 0x7f) | 0x80);
  return code + bytes(rest);
}

/** LEB128, signed, of a 32-bit integer. */
function signed(value: number): Code {
  let code = "";
  let rest = value | 0;
  for (; rest < -64 || rest > 63; rest >>= 7) code += bytes((rest & 0x7f) | 0x80);
  return code + bytes(rest & 0x7f);
}

/** Instructions after each other. */
export const all = (...parts: readonly Code[]): Code => parts.join("");

export const get = (local: number): Code => bytes(0x20) + unsigned(local);
export const set = (local: number, value: Code): Code => value + bytes(0x21) + unsigned(local);
export const tee = (local: number, value: Code): Code => value + bytes(0x22) + unsigned(local);
export const call = (index: number, ...operands: readonly Code[]): Code =>
  operands.join("") + bytes(0x10) + unsigned(index);

/** Runs `body`; {@link again} at its end repeats it. */
export const loop = (body: Code): Code => bytes(0x03, 0x40) + body + bytes(0x0b);
export const again = (condition: Code): Code => condition + bytes(0x0d, 0);
export const when = (condition: Code, then: Code, otherwise: Code = ""): Code =>
  condition + bytes(0x04, 0x40) + then + (otherwise === "" ? "" : bytes(0x05) + otherwise) + bytes(0x0b);

const plain =
  (opcode: Code) =>
  (...operands: readonly Code[]): Code =>
    operands.join("") + opcode;

/** Memory instructions promise an alignment of 2 ** `align`, and add a constant offset to the address. */
const memory =
  (align: number, opcode: Code) =>
  (address: Code, offset: number, operand: Code = ""): Code =>
    address + operand + opcode + bytes(align) + unsigned(offset);

/** Instructions on 32-bit integers. */
export const i32 = {
  of: (value: number): Code => bytes(0x41) + signed(value),
  isZero: plain(bytes(0x45)),
  less: plain(bytes(0x49)),
  notLess: plain(bytes(0x4f)),
  add: plain(bytes(0x6a)),
  sub: plain(bytes(0x6b)),
  and: plain(bytes(0x71)),
  shl: plain(bytes(0x74)),
  shr: plain(bytes(0x76)),
  load: memory(2, bytes(0x28)),
  store: memory(2, bytes(0x36)),
};

const simd = (opcode: number): Code => bytes(0xfd) + unsigned(opcode);

/** Instructions on vectors of 128 bits: 16 bytes or four 32-bit integers ("lanes"). */
export const v128 = {
  bytes: (values: readonly number[]): Code => simd(12) + bytes(...values),
  load: memory(0, simd(0)),
  /** One 32-bit integer from memory in all four lanes. */
  loadSplat: memory(2, simd(9)),
  /** `vector` with its lane `lane` from memory. */
  loadLane: (address: Code, offset: number, vector: Code, lane: number): Code =>
    memory(2, simd(86))(address, offset, vector) + bytes(lane),
  store: memory(0, simd(11)),
  /** The bytes of `a` (0-15) and `b` (16-31) that `from` names. */
  shuffle: (a: Code, b: Code, from: readonly number[]): Code => a + b + simd(13) + bytes(...from),
  splatBytes: plain(simd(15)),
  equalBytes: plain(simd(35)),
  lessBytes: plain(simd(37)),
  and: plain(simd(78)),
  or: plain(simd(80)),
  xor: plain(simd(81)),
  shl: (vector: Code, bits: number): Code => vector + i32.of(bits) + simd(171),
  shr: (vector: Code, bits: number): Code => vector + i32.of(bits) + simd(173),
  add: plain(simd(174)),
};
