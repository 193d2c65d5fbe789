import fc from "fast-check";

/**
 * Which cases properties are tried with: others in each run; with `HEADWATER_TEST_SEED` (an integer) the same ones
 * again, so that what one machine finds in a commit another one finds, too.
 */
const seed = process.env["HEADWATER_TEST_SEED"];
if (seed !== undefined && seed !== "") {
  if (!Number.isInteger(Number(seed))) throw new Error(`HEADWATER_TEST_SEED is an integer, not ${seed}`);
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) | 0 });
}
