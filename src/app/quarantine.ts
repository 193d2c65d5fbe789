import { resolve } from "node:path";
import { decodeCanonical, type Value } from "../core/canonical.ts";
import { sha256 } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { retryStream } from "../core/streams.ts";
import type { PipelineDefinition } from "../pipeline/definition.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { takenOf } from "../runtime/completed.ts";
import { createSurroundings, openLog, type Surroundings } from "../runtime/compose.ts";
import { currentDeployment, definitionOf } from "../runtime/deployment.ts";
import { DeploymentHistory } from "../runtime/deployment-history.ts";
import {
  type Refused,
  type RefusedFilter,
  readRefused,
  refusedKey,
  refusedOrigin,
} from "../runtime/quarantine.ts";
import { notReadable } from "../runtime/rejected-records.ts";
import {
  type Chosen,
  type Decision,
  type Decisions,
  decide,
  readDecisions,
  retriedAs,
} from "../runtime/retry-requests.ts";
import { isModulePath, unknownPipeline } from "./pipeline-name.ts";
import type {
  QuarantineList,
  QuarantineRequest,
  RefusedDetails,
  RefusedRecord,
  RefusedSelection,
  RefusedState,
} from "./quarantine-types.ts";
import { readChecked } from "./read-log.ts";

/** What is in a pipeline's quarantine: `headwater quarantine list`. Throws `UnknownPipeline`. */
export async function listQuarantine(
  request: QuarantineRequest & Pick<RefusedSelection, "stage" | "source"> & { readonly limit?: number },
): Promise<QuarantineList> {
  const { limit = LIMITS.quarantineListed } = request;
  return withPipeline(request, "look", async ({ log, pipeline }) => {
    const counts = { waiting: 0, asked: 0, retried: 0, discarded: 0 };
    const records: RefusedRecord[] = [];
    const states = await States.read(log, pipeline);
    let all = 0;
    for await (const refused of readRefused(log, pipeline, filterOf(request))) {
      counts[await states.briefly(refused)]++;
      if (all++ < limit) records.push(await states.describe(refused));
    }
    return { pipeline, counts, records, complete: all <= limit };
  });
}

/** Everything that is kept of a refused record: `headwater quarantine show`. Throws `NotQuarantined`. */
export async function showRefused(request: {
  readonly log: string;
  readonly record: string;
}): Promise<RefusedDetails> {
  const { address, unit, pipeline } = parseAddress(request.record);
  return withPipeline({ log: request.log, pipeline }, "look", async ({ log, there }) => {
    for await (const refused of readRefused(log, pipeline, { unit })) {
      if (refused.address !== address) continue;
      const states = await States.read(log, pipeline);
      const obstacle = obstacleOf(refused, there) ?? null;
      return { ...(await states.describe(refused)), ...(await detailsOf(log, refused)), obstacle };
    }
    throw notThere(request.record);
  });
}

/**
 * Says that refused records are not to be put back; those that are named may have been asked for, as long as their
 * partition has not taken them. Answers how many. Throws as `retryRefused`.
 */
export async function discardRefused(
  request: QuarantineRequest & RefusedSelection & { readonly reason: string },
): Promise<{ readonly pipeline: string; readonly discarded: number }> {
  const { reason } = request;
  if (reason.trim() === "" || reason.length > LIMITS.reasonChars || !reason.isWellFormed()) {
    throw new HeadwaterError("BadUsage", "the reason is empty, too long, or no text", {
      where: "--reason",
      hint: `Say in at most ${LIMITS.reasonChars} characters why they are not to be put back.`,
    });
  }
  const surroundings = createSurroundings();
  return withPipeline(request, "change", async ({ log, pipeline }) => ({
    pipeline,
    discarded: await decide(
      { ...surroundings, log, pipeline },
      (before) => choose(log, pipeline, request, before, new GivingUp(log, pipeline)),
      reason,
    ),
  }));
}

type Asked = Extract<Decision, { readonly kind: "asked" }>;

/** Which stages (`steps_P.G/stage`) and sources (`source_P.S`) there are. */
export type There = ReadonlySet<string>;

export interface OpenPipeline {
  readonly log: EventLog;
  readonly pipeline: string;
  readonly there: There;
  /** Digest of the code of the module that was named; absent where a deployed pipeline was. */
  readonly code: Uint8Array | undefined;
}

export async function withPipeline<T>(
  request: QuarantineRequest & Pick<RefusedSelection, "stage" | "source">,
  access: "look" | "change",
  use: (open: OpenPipeline) => Promise<T>,
): Promise<T> {
  const module = isModulePath(request.pipeline)
    ? await loadDefinition(createSurroundings(), request.pipeline)
    : undefined;
  const definition = module?.definition;
  const pipeline = definition?.name ?? request.pipeline;
  const opened = await openLog(request.log, access === "look" ? { readOnly: true } : { create: false });
  const useChecked = async (log: EventLog): Promise<T> => {
    const deployed = await currentDeployment(log, pipeline);
    if (deployed === undefined) throw unknownPipeline(pipeline);
    await mustBeKnown(log, pipeline, request);
    const there =
      definition === undefined
        ? new Set([
            ...deployed.sources.map(({ name }) => `source_${pipeline}.${name}`),
            ...deployed.stages.map(({ name, segment }) => `steps_${pipeline}.${segment}/${name}`),
          ])
        : placesOf(planPipeline(definition));
    return await use({ log, pipeline, there, code: module?.code });
  };
  try {
    return await readChecked(opened, useChecked);
  } finally {
    await opened.close();
  }
}

/** Throws `UnknownStage` or `UnknownSource` for one that no version of the pipeline had: nothing can wait of it. */
async function mustBeKnown(
  log: EventLog,
  pipeline: string,
  { stage, source }: Pick<RefusedSelection, "stage" | "source">,
): Promise<void> {
  if (stage === undefined && source === undefined) return;
  const history = await DeploymentHistory.read(log, createSurroundings().bundler, pipeline);
  const has = (of: (deployed: PipelineDeployed) => readonly { readonly name: string }[], name?: string) =>
    name === undefined ||
    (history?.all ?? []).some((deployed) => of(deployed).some((one) => one.name === name));
  const unknown = (
    code: "UnknownStage" | "UnknownSource",
    what: string,
    names: readonly { readonly name: string }[],
  ) =>
    new HeadwaterError(code, `the pipeline has no ${what}, and never had one`, {
      where: `pipeline ${pipeline}`,
      hint: `There are: ${names.map(({ name }) => name).join(", ")}.`,
    });
  const { stages = [], sources = [] } = history?.current ?? {};
  if (!has((deployed) => deployed.stages, stage))
    throw unknown("UnknownStage", `stage ${JSON.stringify(stage)}`, stages);
  if (!has((deployed) => deployed.sources, source)) {
    throw unknown("UnknownSource", `source ${JSON.stringify(source)}`, sources);
  }
}

async function loadDefinition(
  { bundler }: Surroundings,
  path: string,
): Promise<{ readonly definition: PipelineDefinition; readonly code: Uint8Array }> {
  const bundle = await bundler.bundle(resolve(path));
  return { definition: definitionOf(bundler.load(bundle), path), code: sha256(bundle.code) };
}

/** Which stages and sources a pipeline has. */
export function placesOf({ definition, sources, segments }: Plan): There {
  return new Set([
    ...sources.map(({ name }) => `source_${definition.name}.${name}`),
    ...segments.flatMap((segment) =>
      segment.stages.map((stage) => `steps_${definition.name}.${segment.name}/${stage.definition.name}`),
    ),
  ]);
}

function filterOf({ stage, source }: Pick<RefusedSelection, "stage" | "source">): RefusedFilter {
  return { ...(stage !== undefined && { stage }), ...(source !== undefined && { source }) };
}

/** The refused records that are meant, of which nothing was decided before. Throws `NotQuarantined`. */
export async function choose(
  log: EventLog,
  pipeline: string,
  selection: RefusedSelection,
  { of }: Decisions,
  givingUp?: GivingUp,
): Promise<(Refused & Chosen)[]> {
  const decided = (refused: Refused) => of.get(refusedKey(refused.unit, refused.place));
  const { records } = selection;
  const found = new Map<string, Refused>();
  if (records === undefined) {
    for await (const refused of readRefused(log, pipeline, filterOf(selection))) {
      if (decided(refused) === undefined) found.set(refused.address, refused);
    }
    return [...found.values()];
  }
  const parsed = records.map(parseAddress);
  for (const { address, pipeline: of } of parsed) {
    if (of === pipeline) continue;
    throw new HeadwaterError("BadUsage", `this is a record of the pipeline ${of}`, {
      where: address,
      hint: `Name that pipeline instead of ${pipeline}.`,
    });
  }
  const wanted = new Set(parsed.map(({ address }) => address));
  for (const unit of new Set(parsed.map(({ unit }) => unit))) {
    for await (const refused of readRefused(log, pipeline, { unit })) {
      if (wanted.has(refused.address)) found.set(refused.address, refused);
    }
  }
  const chosen: (Refused & Chosen)[] = [];
  for (const record of wanted) {
    const refused = found.get(record);
    if (refused === undefined) throw notThere(record);
    const decision = decided(refused);
    if (decision === undefined) chosen.push(refused);
    else if (decision.kind === "asked" && (await givingUp?.isPossible(refused, decision))) {
      chosen.push({ ...refused, asked: decision.item });
    } else throw decidedBefore(record, pipeline, decision);
  }
  return chosen;
}

function decidedBefore(record: string, pipeline: string, decision: Decision): HeadwaterError {
  const asked = () =>
    decision.kind === "asked" && decision.withdrawn === undefined
      ? `it was asked to be put back before, as ${retryStream(pipeline)}@${decision.item}`
      : undefined;
  const reason = decision.kind === "asked" ? decision.withdrawn : decision.reason;
  return new HeadwaterError("NotQuarantined", asked() ?? `it was discarded: ${reason}`, {
    where: record,
    hint: `Nothing was changed. "headwater quarantine show ${record}" says what became of it.`,
  });
}

/** Which of the records that were asked for can be given up: those that their partition has not taken. */
class GivingUp {
  readonly #log: EventLog;
  readonly #pipeline: string;

  constructor(log: EventLog, pipeline: string) {
    this.#log = log;
    this.#pipeline = pipeline;
  }

  async isPossible({ unit, record }: Refused, decision: Asked): Promise<boolean> {
    // A door never stops at one: it takes it, or rejects it again.
    if (record.kind === "rejected" || decision.withdrawn !== undefined) return false;
    const taken = await takenOf(this.#log, unit, retryStream(this.#pipeline));
    return decision.item >= taken.retry;
  }
}

function notThere(record: string): HeadwaterError {
  return new HeadwaterError("NotQuarantined", "no record with this address is in quarantine", {
    where: record,
    hint: 'Nothing was changed. "headwater quarantine list PIPELINE" shows those that are.',
  });
}

interface RefusedAddress {
  /** As {@link readRefused} has it. */
  readonly address: string;
  readonly unit: string;
  readonly pipeline: string;
}

/**
 * What a stage failed at is named as `list` shows it, `steps_P.G.Q@N.K/T`, or as lineage does, where that is what the
 * stage made: `quarantine_P.G.Q@N.K/T`. Throws `BadUsage` for what is no address of a refused record.
 */
function parseAddress(record: string): RefusedAddress {
  const [, partition, of, row] =
    /^(?:steps|quarantine)_(([^.@]+)\.[^.@]+\.\d{4})(@\d+\.\d+\/.+)$/.exec(record) ?? [];
  if (partition !== undefined && of !== undefined) {
    const unit = `steps_${partition}`;
    return { address: `${unit}${row}`, unit, pipeline: of };
  }
  const rejected = /^quarantine_(([^.@]+)\.[^.@]+)@\d+$/.exec(record);
  if (rejected !== null)
    return { address: record, unit: `source_${rejected[1]}`, pipeline: rejected[2] ?? "" };
  throw new HeadwaterError("BadUsage", `not the address of a refused record: ${JSON.stringify(record)}`, {
    where: "RECORD",
    hint: 'Such as steps_orders.parse.0003@17.0/parse or quarantine_orders.in@4; "headwater quarantine list" shows them.',
  });
}

const FIRING =
  'it is no record but the firing of a window or join, made of what that kept at the time, which has gone on since; its members are where they were, and with onError: "fail" the pipeline stops at a firing and goes on there when it is mended';

/** Why a record cannot be put back. */
export function obstacleOf({ unit, record, place, firing }: Refused, there: There): string | undefined {
  if (record.kind === "rejected") {
    if (!there.has(unit)) return `the pipeline has no source ${unit.slice(unit.indexOf(".") + 1)} any more`;
    return notReadable(record.rejected);
  }
  if (firing) {
    return FIRING;
  }
  const segment = unit.slice(0, -".0000".length);
  if (there.has(`${segment}/${place.stage}`)) return undefined;
  return `the stage ${place.stage} is not where it was in the pipeline`;
}

/** What has become of refused records, as far as the log says when it is asked. */
class States {
  readonly #log: EventLog;
  readonly #pipeline: string;
  readonly #decisions: Decisions;
  /** Up to which I a unit has taken what it was asked for. */
  readonly #taken = new Map<string, number>();

  private constructor(log: EventLog, pipeline: string, decisions: Decisions) {
    this.#log = log;
    this.#pipeline = pipeline;
    this.#decisions = decisions;
  }

  static async read(log: EventLog, pipeline: string): Promise<States> {
    return new States(log, pipeline, await readDecisions(log, pipeline));
  }

  async briefly({ unit, place }: Refused): Promise<RefusedState["state"]> {
    const decision = this.#decisions.of.get(refusedKey(unit, place));
    if (decision?.kind !== "asked") return decision?.kind ?? "waiting";
    if (decision.withdrawn !== undefined)
      return (await this.#wasPutBack(unit, decision)) ? "retried" : "discarded";
    let taken = this.#taken.get(unit);
    if (taken === undefined) {
      taken = (await takenOf(this.#log, unit, retryStream(this.#pipeline))).retry;
      this.#taken.set(unit, taken);
    }
    return decision.item < taken ? "retried" : "asked";
  }

  /** Whether a record that was given up had been taken by then. */
  async #wasPutBack(unit: string, { item }: Asked): Promise<boolean> {
    const became = await retriedAs(this.#log, this.#pipeline, unit, item);
    return became !== undefined && became.fate !== "withdrawn";
  }

  async describe(refused: Refused): Promise<RefusedRecord> {
    const { address, unit, place, wall, record } = refused;
    const { code, message, where } = record.kind === "rejected" ? record.rejected : record.quarantined;
    return {
      address,
      kind: record.kind,
      at: place.stage ?? unit.slice(unit.indexOf(".") + 1),
      time: new Date(wall).toISOString(),
      code,
      message,
      where: where === undefined || where === "$" ? null : where,
      ...(await this.#stateOf(refused)),
    };
  }

  async #stateOf({ unit, place }: Refused): Promise<RefusedState> {
    const decision = this.#decisions.of.get(refusedKey(unit, place));
    if (decision === undefined) return { state: "waiting" };
    if (decision.kind === "discarded") return { state: "discarded", reason: decision.reason };
    const retry = `${retryStream(this.#pipeline)}@${decision.item}`;
    const became = await retriedAs(this.#log, this.#pipeline, unit, decision.item);
    if (decision.withdrawn !== undefined && (became === undefined || became.fate === "withdrawn")) {
      return { state: "discarded", reason: decision.withdrawn };
    }
    if (became === undefined) return { state: "asked", retry };
    const fate = became.fate === "withdrawn" ? "quarantined again" : became.fate;
    return { state: "retried", retry, fate, as: became.address ?? null };
  }
}

type Details = Omit<RefusedDetails, keyof RefusedRecord | "obstacle">;

async function detailsOf(log: EventLog, refused: Refused): Promise<Details> {
  const { record } = refused;
  if (record.kind === "rejected") {
    const { value, input, line, frame } = record.rejected;
    return {
      value: decoded(value),
      stack: null,
      parent: `${input}:${line}`,
      key: null,
      eventTime: null,
      frame: Buffer.from(frame).toString("utf8"),
      firing: null,
    };
  }
  const { stack, key, firing, record: bytes } = record.quarantined;
  const origin = await refusedOrigin(log, refused);
  return {
    value: decoded(bytes),
    stack: stack ?? null,
    parent: origin?.parent ?? "",
    key: decoded(key ?? firing?.key),
    eventTime: origin?.time === undefined ? null : new Date(origin.time).toISOString(),
    frame: null,
    firing: !refused.firing
      ? null
      : {
          start: firing?.start ?? null,
          end: firing?.end ?? null,
          total: decoded(firing?.total),
          left: decoded(firing?.left),
          members: origin?.members ?? [],
        },
  };
}

function decoded(bytes: Uint8Array | undefined): Value {
  return bytes === undefined ? null : (decodeCanonical(bytes) as Value);
}
