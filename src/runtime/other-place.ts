/** What this process does as if it were in another time zone, or had another locale. Each answers what brings it back. */

/** For this thread alone; a worker thread keeps the zone of its process. */
export function inTimeZone(timeZone: string): () => void {
  const own = process.env["TZ"];
  const was = Intl.DateTimeFormat().resolvedOptions().timeZone;
  process.env["TZ"] = timeZone;
  return () => {
    // Without it the zone is looked for anew only by the next one who asks.
    process.env["TZ"] = own ?? was;
    if (own === undefined) delete process.env["TZ"];
  };
}

/** Functions of what values are made of that take a locale, and at which place. */
const OF_VALUES = [
  [Date, "toLocaleString", 0],
  [Date, "toLocaleDateString", 0],
  [Date, "toLocaleTimeString", 0],
  [Number, "toLocaleString", 0],
  [BigInt, "toLocaleString", 0],
  [String, "localeCompare", 1],
  [String, "toLocaleLowerCase", 0],
  [String, "toLocaleUpperCase", 0],
] as const;

const OF_INTL = [
  ...["Collator", "DateTimeFormat", "DisplayNames", "ListFormat", "NumberFormat", "PluralRules"],
  ...["RelativeTimeFormat", "Segmenter"],
];

/** Whoever names no locale gets this one. */
export function inLocale(locale: string): () => void {
  const undo: (() => void)[] = [];
  const replace = (holder: object, name: string, value: unknown) => {
    const own = Object.getOwnPropertyDescriptor(holder, name);
    if (own === undefined) return;
    Object.defineProperty(holder, name, { ...own, value });
    undo.push(() => Object.defineProperty(holder, name, own));
  };
  const named = (args: readonly unknown[], at: number) =>
    args[at] === undefined
      ? [...Array.from({ length: at }, (_, n) => args[n]), locale, ...args.slice(at + 1)]
      : args;
  for (const [{ prototype }, name, at] of OF_VALUES) {
    const real = Reflect.get(prototype, name) as (...args: unknown[]) => unknown;
    const other = new Proxy(real, {
      apply: (target, self, args) => Reflect.apply(target, self, named(args, at)),
    });
    replace(prototype, name, other);
  }
  for (const name of OF_INTL) {
    const real: unknown = Reflect.get(Intl, name);
    if (typeof real !== "function") continue;
    const other = new Proxy(real, {
      construct: (target, args, made) => Reflect.construct(target, named(args, 0), made) as object,
      apply: (target, self, args) => Reflect.apply(target, self, named(args, 0)) as unknown,
    });
    replace(Intl, name, other);
  }
  return () => {
    for (const one of undo.toReversed()) one();
  };
}
