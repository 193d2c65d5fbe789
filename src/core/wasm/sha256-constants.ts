/** FIPS 180-4, section 4.2.2: the first 32 bits of the fractions of the cube roots of the first 64 primes. */
export const ROUND_CONSTANTS: readonly number[] = firstPrimes(64).map((prime) => fraction(Math.cbrt(prime)));

/** FIPS 180-4, section 5.3.3: the first 32 bits of the fractions of the square roots of the first 8 primes. */
export const INITIAL_STATE: readonly number[] = firstPrimes(8).map((prime) => fraction(Math.sqrt(prime)));

function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let candidate = 2; primes.length < count; candidate++) {
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
  }
  return primes;
}

/** A root is below 7 here: 3 bits before the point and 32 behind it, of the 53 that a double has. */
function fraction(root: number): number {
  return Math.floor((root % 1) * 2 ** 32);
}
