import { encodeCanonical, type Value } from "../core/canonical.ts";
import { equalBytes } from "../core/digest.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { RetentionPolicy } from "../core/events.ts";
import { pipelineStream } from "../core/streams.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { appendToPipeline } from "./pipeline-events.ts";

const NOTHING_LET_GO: RetentionPolicy = {};

/** How long a pipeline's history is to be kept, as its own stream says; read on as that grows. */
export class RetentionSettings {
  readonly #log: EventLog;
  readonly #stream: string;
  #next = 0;
  #definition: RetentionPolicy = NOTHING_LET_GO;
  #command: RetentionPolicy | undefined;

  constructor(log: EventLog, pipeline: string) {
    this.#log = log;
    this.#stream = pipelineStream(pipeline);
  }

  /** Reads what has come since. */
  async refresh(): Promise<void> {
    const info = await this.#log.streamInfo(this.#stream);
    if (info === undefined || info.lastRevision < this.#next) return;
    for await (const recorded of this.#log.read(this.#stream, { from: this.#next })) {
      this.#next = recorded.revision + 1;
      const { type, data } = decodeEvent(recorded);
      if (type !== "RetentionSet") continue;
      if (data.by === "command") this.#command = data.policy;
      else this.#definition = data.policy ?? NOTHING_LET_GO;
    }
  }

  /** What the definition of the last run said. */
  get byDefinition(): RetentionPolicy {
    return this.#definition;
  }

  /** What a command said; `undefined`: nothing, or that the definition counts. */
  get byCommand(): RetentionPolicy | undefined {
    return this.#command;
  }

  get inForce(): RetentionPolicy {
    return this.#command ?? this.#definition;
  }
}

/** Notes what a pipeline's definition says, if it said something else before. */
export async function noteDefinedPolicy(
  { log, clock }: { readonly log: EventLog; readonly clock: Clock },
  pipeline: string,
  policy: RetentionPolicy = NOTHING_LET_GO,
  confirm?: () => Promise<void>,
): Promise<void> {
  const settings = new RetentionSettings(log, pipeline);
  await settings.refresh();
  if (samePolicy(settings.byDefinition, policy)) return;
  const event = { v: 1, wall: clock.now(), by: "definition", policy } as const;
  await appendToPipeline(log, pipeline, { type: "RetentionSet", event }, confirm);
}

/** Sets a policy that stands above what the definition says; `undefined`: what that says is in force again. */
export async function setPolicy(
  { log, clock }: { readonly log: EventLog; readonly clock: Clock },
  pipeline: string,
  policy: RetentionPolicy | undefined,
): Promise<void> {
  const event = { v: 1, wall: clock.now(), by: "command", ...(policy !== undefined && { policy }) } as const;
  await appendToPipeline(log, pipeline, { type: "RetentionSet", event });
}

function samePolicy(a: RetentionPolicy, b: RetentionPolicy): boolean {
  return equalBytes(encodeCanonical(a as Value), encodeCanonical(b as Value));
}
