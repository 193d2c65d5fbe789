import { badAnswer } from "./failures.ts";

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function"
  );
}

/**
 * What a function answered that has to answer at once: `who` it is, such as "a reduce's step". Throws `StageFailed` for
 * a promise. What becomes of that is not waited for, and ends no process.
 */
export function answered<T>(answer: T, who: string): T {
  if (!isThenable(answer)) return answer;
  answer.then(
    () => {},
    () => {},
  );
  throw badAnswer(
    `${who} answered a promise; it has to answer at once`,
    "Do what has to be waited for in a map before, and put what it answers into the record.",
  );
}
