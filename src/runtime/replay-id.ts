import { HeadwaterError } from "../core/errors.ts";

/** The error of a replay that is to begin with another one's id. */
export function idInUse(id: string, pipeline: string): HeadwaterError {
  return new HeadwaterError("BadUsage", "a replay of this id is there already", {
    where: `${id}, pipeline ${pipeline}`,
    hint: `Give another --id; headwater replay resume ${id} goes on with it, or shows what came of it.`,
  });
}
