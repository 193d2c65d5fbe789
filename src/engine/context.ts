import { createHash } from "node:crypto";
import { ordinalToTime } from "../core/ordinal.ts";
import type { Path } from "../core/path.ts";
import { formatUuid } from "../core/uuid.ts";
import type { EffectContext } from "../pipeline/context.ts";
import { badEffect, type EffectCall, type EffectOptions } from "../pipeline/effects.ts";
import type { StageValues } from "../pipeline/parameters.ts";
import type { Origins } from "./origins.ts";
import { originBefore, RETRIED, rootName } from "./origins.ts";
import type { InputRows } from "./rows.ts";
import { EffectTry, type StageEffects, type Turns } from "./stage-effects.ts";

/** What the contexts of one stage's rows in one batch have in common. */
export interface StageScope {
  readonly pipeline: string;
  readonly stage: string;
  readonly kind: string;
  /** See `Plan.origins`. */
  readonly origins: Origins;
  readonly parameters: StageValues;
  readonly rows: InputRows;
  /** Absent where the stage's functions cannot wait. */
  readonly effects?: StageEffects | undefined;
  /** Path of a row of the stage's inputs. */
  pathOf(row: number): Path;
}

/** By which whoever called a stage's function says that it has answered; no name that a function could meet. */
export const ANSWERED = Symbol("answered");

/**
 * The context of one record at one stage, for one call. Everything in it is computed when it is asked for. Its functions
 * belong to it also when they are taken out of it: `({ now }) => …`.
 */
export class RowContext implements EffectContext {
  readonly #scope: StageScope;
  /** Row among the segment's inputs. */
  readonly #origin: number;
  /** Row among the stage's inputs. */
  readonly #row: number;
  #random: (() => number) | undefined;
  #begun: EffectTry | undefined;
  #turns: Turns | undefined;
  #answered = false;

  /** `before` is the context of the call before, where the stage is tried again. */
  constructor(scope: StageScope, origin: number, row: number, before?: RowContext) {
    this.#scope = scope;
    this.#origin = origin;
    this.#row = row;
    this.#turns = before === undefined ? undefined : before.#turns;
  }

  /** No effect can begin any more. Answers what the call has begun, if anything. */
  [ANSWERED](): EffectTry | undefined {
    this.#answered = true;
    this.#begun?.answered();
    return this.#begun;
  }

  get parameters(): StageValues {
    return this.#scope.parameters;
  }

  get eventTime(): number | undefined {
    return this.#scope.rows.times?.[this.#origin];
  }

  get ordinal(): number {
    return this.#scope.rows.ordinals[this.#origin] as number;
  }

  get source(): string {
    const { rows, origins } = this.#scope;
    const origin = rows.sources?.[this.#origin] ?? 0;
    if (origin === RETRIED) return originBefore(rows.paths?.[this.#origin] ?? "");
    return origins.names[origin] as string;
  }

  get root(): string {
    const { rows, origins, pipeline } = this.#scope;
    return rootName(pipeline, origins, rows.sources?.[this.#origin] ?? 0, rows.roots[this.#origin] as number);
  }

  get random(): () => number {
    return () => this.#nextRandom();
  }

  get uuid(): () => string {
    return () => this.#nextUuid();
  }

  get now(): () => number {
    return () => ordinalToTime(this.ordinal);
  }

  get effect(): EffectContext["effect"] {
    return (name, fn, options) => this.#effect(name, fn, options);
  }

  #nextRandom(): number {
    this.#random ??= seededRandom(`${this.root}\0${this.#scope.stage}\0${this.#scope.pathOf(this.#row)}`);
    return this.#random() / 2 ** 32;
  }

  #nextUuid(): string {
    this.#nextRandom();
    const next = this.#random as () => number;
    const bytes = Buffer.alloc(16);
    for (let word = 0; word < 4; word++) bytes.writeUInt32BE(next(), word * 4);
    // Version 8 of RFC 9562: made by a rule of our own.
    return formatUuid(bytes, 8);
  }

  #effect<T>(name: string, fn: (call: EffectCall) => T | Promise<T>, options?: EffectOptions): Promise<T> {
    const { effects, kind, stage } = this.#scope;
    if (effects === undefined) throw cannotWait(kind, stage);
    this.#turns ??= new Map();
    if (this.#begun === undefined) {
      this.#begun = new EffectTry(effects, this.#row, this.#turns);
      if (this.#answered) this.#begun.answered();
    }
    return this.#begun.begin(name, fn, options) as Promise<T>;
  }
}

function cannotWait(kind: string, stage: string) {
  return badEffect(
    `a ${kind} cannot wait for an effect`,
    `stage ${stage}`,
    "Do it in a map before, and put what it answers into the record.",
  );
}

/** sfc32 (Chris Doty-Humphrey, PractRand), seeded with the SHA-256 of `seed`: 32 random bits a call. */
function seededRandom(seed: string): () => number {
  const hash = createHash("sha256").update(seed, "latin1").digest();
  let a = hash.readUInt32LE(0);
  let b = hash.readUInt32LE(4);
  let c = hash.readUInt32LE(8);
  let counter = 1;
  return () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return sum >>> 0;
  };
}
