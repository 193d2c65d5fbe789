import { HeadwaterError } from "../core/errors.ts";

/** A number of bytes, or text such as `"64MB"` or `"1.5GiB"`. */
export type Size = number | `${number}${keyof typeof UNITS}`;

const UNITS = {
  kB: 1_000,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  TB: 1_000_000_000_000,
  KiB: 1_024,
  MiB: 1_024 ** 2,
  GiB: 1_024 ** 3,
  TiB: 1_024 ** 4,
} as const;

/** A size in bytes: at least one. Throws `BadPipeline`. */
export function sizeBytes(size: Size, where: string): number {
  const [, number = "", unit = ""] = /^(\d{1,9}(?:\.\d{1,3})?)([kKMGT]i?B)$/.exec(String(size)) ?? [];
  const factor = Object.hasOwn(UNITS, unit) ? UNITS[unit as keyof typeof UNITS] : Number.NaN;
  const bytes = typeof size === "number" ? size : Math.floor(Number(number) * factor);
  if (Number.isSafeInteger(bytes) && bytes >= 1) return bytes;
  throw new HeadwaterError("BadPipeline", `not a size: ${JSON.stringify(size)}`, {
    where,
    hint: "Write it like 64MB, 500kB or 1.5GiB.",
  });
}
