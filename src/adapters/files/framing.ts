import { HeadwaterError } from "../../core/errors.ts";
import type { InputRecord } from "../../ports/files.ts";
import type { Chunks } from "./chunks.ts";
import { type Framer, FramingError } from "./framer.ts";
import { type JsonLayout, JsonSurvey } from "./json-survey.ts";

/** The records that `framer` finds in `chunks`; what it throws becomes a {@link HeadwaterError} about `name`. */
export async function* frame(
  chunks: Chunks,
  name: string,
  framer: Framer,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ readonly records: readonly InputRecord[]; readonly last: boolean }> {
  try {
    for await (const chunk of untilAborted(chunks, signal)) {
      yield { records: framer.push(chunk), last: false };
    }
    if (!signal?.aborted) yield { records: framer.end(), last: true };
  } catch (error) {
    if (!(error instanceof FramingError)) throw error;
    if (error.earlier.length > 0) yield { records: error.earlier, last: true };
    throw framingFault(error, name);
  }
}

/** Looks where the records of a `.json` file are; `undefined` if `signal` aborted. */
export async function surveyJson(
  chunks: Chunks,
  name: string,
  signal: AbortSignal | undefined,
): Promise<JsonLayout | undefined> {
  const survey = new JsonSurvey();
  try {
    try {
      for await (const chunk of untilAborted(chunks, signal)) {
        const layout = survey.push(chunk);
        if (layout !== undefined) return layout;
      }
    } catch (error) {
      // What a broken gzip holds before it breaks is read, and only then is the failure told.
      if (!(error instanceof HeadwaterError && error.code === "InputFailed")) throw error;
    }
    return signal?.aborted ? undefined : survey.end();
  } catch (error) {
    throw error instanceof FramingError ? framingFault(error, name) : error;
  }
}

function framingFault(error: FramingError, where: string): HeadwaterError {
  return new HeadwaterError(error.atStart ? "BadInput" : "InputFailed", error.message, {
    where,
    hint: error.hint,
    cause: error,
  });
}

/** Ends at once when `signal` aborts, also while a chunk is waited for. */
async function* untilAborted(chunks: Chunks, signal: AbortSignal | undefined): Chunks {
  const iterator = chunks[Symbol.asyncIterator]();
  let waiting = false;
  try {
    while (!signal?.aborted) {
      waiting = true;
      const next = await orAborted(iterator.next(), signal);
      if (next === undefined) return;
      waiting = false;
      if (next.done) return;
      yield next.value;
    }
  } finally {
    const returned = iterator.return?.();
    // Nobody waits for a terminal's next line, which may never come.
    if (waiting) returned?.catch(() => {});
    else await returned;
  }
}

/**
 * What a promise comes to, or `undefined` as soon as `signal` aborts. Nothing is left at the signal: a race with one
 * promise of its abort would keep each chunk for as long as the input is read.
 */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T | undefined> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => resolve(undefined);
    const settled = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(settled);
  });
}
