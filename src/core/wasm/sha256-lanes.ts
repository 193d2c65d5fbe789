import {
  again,
  all,
  assembleModule,
  type Code,
  call,
  get,
  i32,
  loop,
  set,
  tee,
  v128,
  when,
} from "./assembler.ts";
import { INITIAL_STATE } from "./sha256-constants.ts";

/**
 * SHA-256 (FIPS 180-4) of many messages in four SIMD lanes: each lane works on a message of its own, and takes
 * the next one as soon as its message ends, so that messages of any lengths keep all lanes busy.
 *
 * The names below are those of FIPS 180-4, section 6.2. `hash(count)` reads message i from between the
 * addresses at OFFSETS + 4i and OFFSETS + 4i + 4 and writes its digest to DIGESTS + 32i. The caller fills
 * CONSTANTS once, and guarantees: count > 0; messages lie in INPUT.
 */
export const LAYOUT = {
  /** 64 round constants, 4 bytes each. */
  constants: 0,
  /** The hash values H0 to H7, each for all four lanes. */
  state: 256,
  /** A lane's address of the next block, whole blocks to go, all blocks to go, and message: 4 × 4 bytes. */
  lanes: 384,
  /** The number of the next message that has no lane yet. */
  next: 448,
  /** A lane's last one or two blocks, padded. */
  tails: 512,
  offsets: 1_024,
  digests: 8_192,
  input: 40_960,
  /** Reading the end of a message may go 64 bytes beyond it. */
  inputBytes: 3 * 65_536 - 40_960 - 64,
  messages: 1_024,
  pages: 3,
} as const;

const BLOCK = 64;
const LANES = [0, 1, 2, 3];
const WORDS = [0, 1, 2, 3, 4, 5, 6, 7];
const EIGHT_VECTORS = WORDS.map(() => "v128" as const);
const REVERSE_WORDS = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];

/** The bytes of the module; it exports `memory` and `hash`. */
export function sha256LanesModule(): Uint8Array {
  return assembleModule([compress(), begin(), finish(), hash()], LAYOUT.pages);
}
const COMPRESS = 0;
const BEGIN = 1;
const FINISH = 2;

/** Section 6.2.2 for one block of each lane; parameters: the four blocks' addresses. */
function compress() {
  const state = WORDS.map((word) => 4 + word);
  const w = Array.from({ length: 16 }, (_, index) => 12 + index);
  const [t1, changed, changedBefore, k] = [28, 29, 30, 31];

  /** One round on the state's locals, which take turns in being a to h. */
  const round = (index: number): Code => {
    const local = (word: number): number => at(state, word - index);
    const [a, b, d, e] = [get(local(0)), get(local(1)), get(local(3)), get(local(4))];
    const [f, g, h] = [get(local(5)), get(local(6)), get(local(7))];
    // a ^ b of this round is b ^ c of the next; Maj(a, b, c) = b ^ ((a ^ b) & (b ^ c)).
    const even = index % 2 === 0;
    const [ab, bc] = even ? [changed, changedBefore] : [changedBefore, changed];
    const ch = v128.xor(g, v128.and(e, v128.xor(f, g)));
    const maj = v128.xor(b, v128.and(tee(ab, v128.xor(a, b)), get(bc)));
    const constant = v128.loadSplat(get(k), LAYOUT.constants + 4 * index);
    return all(
      set(
        t1,
        v128.add(v128.add(v128.add(h, v128.add(constant, get(at(w, index)))), ch), sigma(e, 6, 11, 25)),
      ),
      set(local(3), v128.add(d, get(t1))),
      set(local(7), v128.add(v128.add(get(t1), maj), sigma(a, 2, 13, 22))),
    );
  };
  /** The message schedule's next word, in the place of the one 16 before. */
  const schedule = (t: number): Code => {
    const [w2, w7, w15, w16] = [get(at(w, t - 2)), get(at(w, t - 7)), get(at(w, t - 15)), get(at(w, t))];
    return set(
      at(w, t),
      v128.add(v128.add(w16, w7), v128.add(smallSigma(w15, 7, 18, 3), smallSigma(w2, 17, 19, 10))),
    );
  };
  const rounds = w.map((_, index) => round(index));

  const code = all(
    ...[0, 1, 2, 3].map((quarter) => transposed(16 * quarter, w.slice(4 * quarter, 4 * quarter + 4))),
    ...state.map((local, word) => set(local, v128.load(i32.of(0), LAYOUT.state + 16 * word))),
    set(changedBefore, v128.xor(get(at(state, 1)), get(at(state, 2)))),
    ...rounds,
    loop(
      all(
        set(k, i32.add(get(k), i32.of(BLOCK))),
        ...rounds.flatMap((code, index) => [schedule(index), code]),
        again(i32.less(get(k), i32.of(3 * BLOCK))),
      ),
    ),
    ...state.map((local, word) => {
      const before = v128.load(i32.of(0), LAYOUT.state + 16 * word);
      return v128.store(i32.of(0), LAYOUT.state + 16 * word, v128.add(get(local), before));
    }),
  );
  const vectors = [...EIGHT_VECTORS, ...EIGHT_VECTORS, ...EIGHT_VECTORS, "v128", "v128", "v128"] as const;
  return { parameters: ["i32", "i32", "i32", "i32"], locals: [...vectors, "i32"], code } as const;
}

/** Reads 16 bytes of each lane's block; local i of `words` becomes the four lanes' i-th big-endian word. */
function transposed(offset: number, words: readonly number[]): Code {
  const rows = LANES.map((lane) => {
    const row = v128.load(get(lane), offset);
    return set(at(words, lane), v128.shuffle(row, row, REVERSE_WORDS));
  });
  const [r0, r1, r2, r3] = [at(words, 0), at(words, 1), at(words, 2), at(words, 3)];
  // Locals of the state, not yet in use.
  const [low01, low23, high01, high23] = [4, 5, 6, 7];
  const LOW = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
  const HIGH = LOW.map((byte) => byte + 8);
  const LEFT = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
  const RIGHT = LEFT.map((byte) => byte + 8);
  return all(
    ...rows,
    set(low01, v128.shuffle(get(r0), get(r1), LOW)),
    set(low23, v128.shuffle(get(r2), get(r3), LOW)),
    set(high01, v128.shuffle(get(r0), get(r1), HIGH)),
    set(high23, v128.shuffle(get(r2), get(r3), HIGH)),
    set(r0, v128.shuffle(get(low01), get(low23), LEFT)),
    set(r1, v128.shuffle(get(low01), get(low23), RIGHT)),
    set(r2, v128.shuffle(get(high01), get(high23), LEFT)),
    set(r3, v128.shuffle(get(high01), get(high23), RIGHT)),
  );
}

/** Gives a lane the next message: its initial hash value, and its padding (section 5.1.1). Parameters: lane, count. */
function begin() {
  const [lane, count, message, start, length, whole, rest, tail, control, second] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
  ];
  const IOTA = v128.bytes(Array.from({ length: 16 }, (_, index) => index));
  const END_MARK = v128.bytes(Array.from({ length: 16 }, () => 0x80));
  const source = i32.add(get(start), i32.shl(get(whole), i32.of(6)));
  const paddedQuarter = (offset: number): Code => {
    const end = v128.splatBytes(i32.sub(get(rest), i32.of(offset)));
    const kept = v128.and(v128.load(source, offset), v128.lessBytes(IOTA, end));
    const mark = v128.and(v128.equalBytes(IOTA, end), END_MARK);
    return v128.store(get(tail), offset, v128.or(kept, mark));
  };
  const zeros = v128.bytes(Array.from({ length: 16 }, () => 0));
  const quarters = [0, 16, 32, 48];
  const bits = i32.shl(get(length), i32.of(3));
  const byte = (shift: number) => i32.and(i32.shr(bits, i32.of(shift)), i32.of(0xff));
  const bitsReversed = [24, 16, 8, 0]
    .map((shift, place) => i32.shl(byte(shift), i32.of(8 * place)))
    .reduce((sum, part) => i32.add(sum, part));

  const code = all(
    set(control, i32.shl(get(lane), i32.of(4))),
    set(tail, i32.add(i32.of(LAYOUT.tails), i32.shl(get(lane), i32.of(7)))),
    set(message, i32.load(i32.of(0), LAYOUT.next)),
    when(
      i32.notLess(get(message), get(count)),
      // An idle lane goes on from its tail over other memory; nobody reads what comes of it. It has no end:
      // its count of blocks has just passed 0. It stays inside the memory, which is larger than all messages.
      all(
        i32.store(get(control), LAYOUT.lanes, get(tail)),
        i32.store(get(control), LAYOUT.lanes + 4, i32.of(0)),
        i32.store(get(control), LAYOUT.lanes + 8, i32.of(0)),
      ),
      all(
        i32.store(i32.of(0), LAYOUT.next, i32.add(get(message), i32.of(1))),
        set(start, i32.load(i32.shl(get(message), i32.of(2)), LAYOUT.offsets)),
        set(length, i32.sub(i32.load(i32.shl(get(message), i32.of(2)), LAYOUT.offsets + 4), get(start))),
        set(whole, i32.shr(get(length), i32.of(6))),
        set(rest, i32.and(get(length), i32.of(BLOCK - 1))),
        set(second, i32.notLess(get(rest), i32.of(BLOCK - 8))),
        ...quarters.map(paddedQuarter),
        ...quarters.map((offset) => v128.store(get(tail), BLOCK + offset, zeros)),
        i32.store(i32.add(get(tail), i32.shl(get(second), i32.of(6))), BLOCK - 4, bitsReversed),
        i32.store(get(control), LAYOUT.lanes, get(start)),
        when(i32.isZero(get(whole)), i32.store(get(control), LAYOUT.lanes, get(tail))),
        i32.store(get(control), LAYOUT.lanes + 4, get(whole)),
        i32.store(get(control), LAYOUT.lanes + 8, i32.add(i32.add(get(whole), i32.of(1)), get(second))),
        i32.store(get(control), LAYOUT.lanes + 12, get(message)),
        ...WORDS.map((word) =>
          i32.store(i32.shl(get(lane), i32.of(2)), LAYOUT.state + 16 * word, i32.of(at(INITIAL_STATE, word))),
        ),
      ),
    ),
  );
  return {
    parameters: ["i32", "i32"],
    locals: Array.from({ length: 8 }, () => "i32" as const),
    code,
  } as const;
}

/** Writes the digest of the message that a lane has ended. Parameter: lane. */
function finish() {
  const [lane, target, half] = [0, 1, 2];
  const store = (first: number): Code =>
    all(
      ...LANES.map((place) => {
        const from = LAYOUT.state + 16 * (first + place);
        return set(half, v128.loadLane(i32.shl(get(lane), i32.of(2)), from, get(half), place));
      }),
      v128.store(get(target), LAYOUT.digests + 4 * first, v128.shuffle(get(half), get(half), REVERSE_WORDS)),
    );
  const message = i32.load(i32.shl(get(lane), i32.of(4)), LAYOUT.lanes + 12);
  const code = all(set(target, i32.shl(message, i32.of(5))), store(0), store(4));
  return { parameters: ["i32"], locals: ["i32", "v128"], code } as const;
}

/** All messages. Parameter: their number. */
function hash() {
  const [count, done, left] = [0, 1, 2];
  const address = (lane: number) => i32.load(i32.of(0), LAYOUT.lanes + 16 * lane);
  const step = (lane: number): Code => {
    const control = LAYOUT.lanes + 16 * lane;
    const load = (field: number) => i32.load(i32.of(0), control + field);
    const store = (field: number, value: Code) => i32.store(i32.of(0), control + field, value);
    return all(
      store(0, i32.add(load(0), i32.of(BLOCK))),
      store(4, tee(left, i32.sub(load(4), i32.of(1)))),
      when(i32.isZero(get(left)), store(0, i32.of(LAYOUT.tails + 128 * lane))),
      store(8, tee(left, i32.sub(load(8), i32.of(1)))),
      when(
        i32.isZero(get(left)),
        all(
          call(FINISH, i32.of(lane)),
          call(BEGIN, i32.of(lane), get(count)),
          set(done, i32.add(get(done), i32.of(1))),
        ),
      ),
    );
  };
  const code = all(
    i32.store(i32.of(0), LAYOUT.next, i32.of(0)),
    ...LANES.map((lane) => call(BEGIN, i32.of(lane), get(count))),
    loop(
      all(call(COMPRESS, ...LANES.map(address)), ...LANES.map(step), again(i32.less(get(done), get(count)))),
    ),
  );
  return { exported: "hash", parameters: ["i32"], locals: ["i32", "i32"], code } as const;
}

/** FIPS 180-4, section 4.1.2: Σ, the sum of three rotations to the right. */
function sigma(x: Code, first: number, second: number, third: number): Code {
  return v128.xor(v128.xor(rotr(x, first), rotr(x, second)), rotr(x, third));
}

/** Section 4.1.2: σ, two rotations and a shift to the right. */
function smallSigma(x: Code, first: number, second: number, shift: number): Code {
  return v128.xor(v128.xor(rotr(x, first), rotr(x, second)), v128.shr(x, shift));
}

function rotr(x: Code, bits: number): Code {
  return v128.or(v128.shr(x, bits), v128.shl(x, 32 - bits));
}

/** The element at `index`, modulo the length. */
function at(values: readonly number[], index: number): number {
  const value = values[(index + 2 * values.length) % values.length];
  if (value === undefined) throw new RangeError("no such element");
  return value;
}
