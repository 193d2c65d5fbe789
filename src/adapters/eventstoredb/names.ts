import { HeadwaterError } from "../../core/errors.ts";
import type { StreamFilter } from "../../ports/event-log.ts";
import { checkStreamName } from "../../ports/event-log-rules.ts";
import { LOG_STREAM } from "./events.ts";
import type { NameFilter } from "./requests.ts";

/** What streams are called on the server: several logs may share one, each under a prefix of its own. */
export class Names {
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  /** Throws `BadName` for a name that no stream can have, and for the log's own. */
  check(stream: string): void {
    checkStreamName(stream);
    if (stream !== LOG_STREAM) return;
    throw new HeadwaterError("BadName", `a log keeps its own id in ${LOG_STREAM}`, {
      hint: "Give the stream another name.",
    });
  }

  toServer(stream: string): string {
    return this.prefix + stream;
  }

  /**
   * What has the server send little more than what passes `filter`. `undefined`: nothing passes.
   *
   * @param begin also the log's own stream: who reads backwards learns by it that nothing of the log comes before
   */
  filter(filter: StreamFilter | undefined, begin = false): NameFilter | undefined {
    if (filter === undefined || "everything" in filter) {
      return this.prefix === "" ? { everything: true } : { prefixes: [this.prefix] };
    }
    const asked = "stream" in filter ? [filter.stream] : filter.prefixes;
    if (asked.length === 0) return undefined;
    return { prefixes: [...asked, ...(begin ? [LOG_STREAM] : [])].map((name) => this.toServer(name)) };
  }
}
