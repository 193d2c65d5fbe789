/** Random numbers in [0, 1) that `seed` decides: mulberry32 (Tommy Ettinger, public domain). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from `least` to `most`. */
export function between(random: () => number, least: number, most: number): number {
  return least + Math.floor(random() * (most - least + 1));
}

const AT = Date.UTC(2024, 0, 1);

/** Lines for the pipeline `busy`, and among them what is not JSON, not an order, a duplicate, or fails in a stage. */
export function orderLines(count: number, seed: number): string {
  const random = seeded(seed);
  const lines: string[] = [];
  for (let index = 0; index < count; index++) {
    const pick = random();
    if (pick < 0.01) lines.push(`{"id": "o${index}", "items": [`);
    else if (pick < 0.02) lines.push(JSON.stringify({ id: `o${index}`, note: "naïve ☃" }));
    else {
      const id = pick < 0.04 && index > 0 ? `o${between(random, 0, index - 1)}` : `o${index}`;
      lines.push(
        JSON.stringify({
          id,
          customer: `c${between(random, 0, 40)}`,
          at: AT + index * 250 - between(random, 0, 5_000),
          trial: random() < 0.1,
          items: Array.from({ length: between(random, 0, 4) }, () => ({
            sku: `s${between(random, 0, 25)}`,
            count: random() < 0.005 ? -1 : between(random, 1, 9),
          })),
        }),
      );
    }
  }
  return `${lines.join("\n")}\n`;
}

/** Lines for one of the sources of the pipeline `meeting`. */
export function wordLines(count: number, seed: number): string {
  const random = seeded(seed);
  const words = Array.from({ length: 60 }, () => between(random, 0, 36 ** 6).toString(36));
  return Array.from(
    { length: count },
    (_, at) => `${JSON.stringify({ word: words[between(random, 0, words.length - 1)], at })}\n`,
  ).join("");
}

/** Lines for the pipeline `deep`. */
export function stepLines(count: number, seed: number): string {
  const random = seeded(seed);
  return Array.from(
    { length: count },
    () => `${JSON.stringify({ key: between(random, 0, 300), value: between(random, -1000, 1000) })}\n`,
  ).join("");
}
