/** What a pipeline's module may import from "headwater": pure, and safe to load in a worker. */
export { HeadwaterError } from "../core/errors.ts";
export { ordinalToTime, timeToOrdinal } from "../core/ordinal.ts";
export { count, max, mean, min, reducer, sum } from "./aggregates.ts";
export { parameter } from "./parameters.ts";
export { Pipeline, pipeline } from "./pipeline.ts";
export { KeyedStream, Stream, TimedStream } from "./stream.ts";
export { globalWindow, session, sliding, tumbling } from "./windows.ts";
