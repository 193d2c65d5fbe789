import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { divisionOf, type Rotation } from "../runtime/rotating-target.ts";

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

/** A number has three digits behind the point at most. */
const THOUSANDTHS = 1_000;

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

/** What `divisionOf` has made a text of. */
export function rotationOf(division: string): Rotation {
  const [, number = "", what] = /^(\d+) (bytes|ms)$/.exec(division) ?? [];
  return what === "ms" ? { by: "time", ms: Number(number) } : { by: "size", bytes: Number(number) };
}

/** What is written after `--rotate` for it; the shortest text that there is. */
export function rotationText(rotation: Rotation): string {
  const value = rotation.by === "size" ? rotation.bytes : rotation.ms;
  const units = Object.entries(UNITS).filter(([unit]) => unit.endsWith("B") === (rotation.by === "size"));
  // What is read is rounded down.
  const texts = units.flatMap(([unit, size]) =>
    [Math.round, Math.ceil].map((round) => `${round((value / size) * THOUSANDTHS) / THOUSANDTHS}${unit}`),
  );
  const [text] = texts.filter((one) => isSame(one, rotation)).sort((a, b) => a.length - b.length);
  return text ?? divisionOf(rotation);
}

function isSame(text: string, rotation: Rotation): boolean {
  try {
    return divisionOf(parseRotation(text)) === divisionOf(rotation);
  } catch (error) {
    if (isHeadwaterError(error, "BadUsage")) return false;
    throw error;
  }
}
