import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Rotation } from "../runtime/rotating-target.ts";

const UNITS: Readonly<Record<string, number>> = {
  kB: 1_000,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1_024,
  MiB: 1_024 ** 2,
  GiB: 1_024 ** 3,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** When an output file is rotated: `64MB`, `1GiB`, `10m`, `1h`, `1d`. Throws `BadUsage`. */
export function parseRotation(text: string): Rotation {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(kB|KB|MB|GB|KiB|MiB|GiB|s|m|h|d)$/.exec(text);
  const [, number = "", unit = ""] = match ?? [];
  const value = Math.floor(Number(number) * (UNITS[unit] ?? Number.NaN));
  const bySize = unit.endsWith("B");
  if (match !== null && value >= (bySize ? LIMITS.rotateBytesLeast : LIMITS.rotateMsLeast)) {
    return bySize ? { by: "size", bytes: value } : { by: "time", ms: value };
  }
  throw new HeadwaterError(
    "BadUsage",
    `not a size or time after which a file is rotated: ${JSON.stringify(text)}`,
    {
      where: "--rotate",
      hint: "Write it like 64MB, 10kB, 1GiB, 10m, 1h or 1d: at least 1 KiB, or 1s.",
    },
  );
}
