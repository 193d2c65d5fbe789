/** What a sample in which nothing was wrong says of all that it was taken from. */
export interface Assurance {
  /** How sure that is: the share of samples that would have shown something if it were not so. */
  readonly confidence: number;
  /** At least this share of all is as it should be. */
  readonly share: number;
}

/** How sure an assurance is. */
export const CONFIDENCE = 0.99;

/**
 * What `sampled` things, taken at random of `of` and all found right, say of all of them. If a share q of all were wrong,
 * the chance to meet none of these in n independent draws would be (1 − q)ⁿ; the least share s = 1 − q of right ones that
 * is not ruled out with confidence c is where that chance is 1 − c, so that sⁿ = 1 − c and s = (1 − c)^(1/n). (The exact
 * one-sided bound for a proportion where no event was seen: C. J. Clopper and E. S. Pearson, "The use of confidence or
 * fiducial limits illustrated in the case of the binomial", Biometrika 26, 1934; for c = 0.95 it is the "rule of three",
 * q ≈ 3 / n: J. A. Hanley and A. Lippman-Hand, JAMA 249, 1983.) A sample without replacement rules out more, so that the
 * bound errs on the safe side; when all were looked at, all are right. Nothing is said by no sample: the share is 0.
 */
export function assuranceOf(sampled: number, of: number, confidence = CONFIDENCE): Assurance {
  if (sampled <= 0) return { confidence, share: 0 };
  if (sampled >= of) return { confidence: 1, share: 1 };
  return { confidence, share: (1 - confidence) ** (1 / sampled) };
}
