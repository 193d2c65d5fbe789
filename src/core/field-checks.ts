/** Checks of values that were decoded and may be of any shape: each says whether a value is one of its type. */
export type Is<T> = (value: unknown) => value is T;

/** A field that may be absent. */
interface Maybe<T> {
  readonly maybe: Is<T>;
}

/** A check for each field of `T`: a field that is not checked, or is absent where it may not be, does not compile. */
export type Fields<T> = {
  readonly [K in keyof T]-?: Record<never, never> extends Pick<T, K>
    ? Maybe<Exclude<T[K], undefined>>
    : Is<T[K]>;
};

interface FieldCheck {
  readonly name: string;
  readonly is: Is<unknown>;
  readonly required: boolean;
}

/** A number of things, a revision, an N: 0 or more. */
export const isNatural: Is<number> = (value): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

export const isInteger: Is<number> = (value): value is number => Number.isSafeInteger(value);

export const isNumber: Is<number> = (value): value is number => typeof value === "number";

export const isText: Is<string> = (value): value is string => typeof value === "string";

export const isFlag: Is<boolean> = (value): value is boolean => typeof value === "boolean";

export const isBytes: Is<Uint8Array> = (value): value is Uint8Array => value instanceof Uint8Array;

/** One of a few texts or numbers. */
export function oneOf<const T extends string | number | true>(...known: readonly T[]): Is<T> {
  return (value): value is T => known.includes(value as T);
}

export function maybe<T>(is: Is<T>): Maybe<T> {
  return { maybe: is };
}

export function listOf<T>(is: Is<T>): Is<readonly T[]> {
  return (value): value is readonly T[] => Array.isArray(value) && value.every(is);
}

/** A map of which the keys say nothing about the values. */
export function mapOf<T>(is: Is<T>): Is<Readonly<Record<string, T>>> {
  return (value): value is Readonly<Record<string, T>> => isMap(value) && Object.values(value).every(is);
}

/** A map with these fields. Others say nothing: a newer program may have them. */
export function fieldsOf<T extends object>(fields: Fields<T>): Is<T> {
  const wrong = wrongField(fields);
  return (value): value is T => wrong(value) === undefined;
}

/** Answers the name of the first field that is not as it has to be, "" for what is no map, and `undefined` if all are. */
export function wrongField<T extends object>(fields: Fields<T>): (value: unknown) => string | undefined {
  const checks: readonly FieldCheck[] = Object.entries(fields).map(([name, check]) =>
    typeof check === "function"
      ? { name, is: check as Is<unknown>, required: true }
      : { name, is: (check as Maybe<unknown>).maybe, required: false },
  );
  return (value) => {
    if (!isMap(value)) return "";
    for (const { name, is, required } of checks) {
      const field = value[name];
      if (field === undefined ? required : !is(field)) return name;
    }
    return undefined;
  };
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isBytes(value);
}
