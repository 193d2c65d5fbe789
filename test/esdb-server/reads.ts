import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { ReadReq, ReadResp } from "@eventstore/db-client/generated/streams_pb.js";
import streamsPb from "@eventstore/db-client/generated/streams_pb.js";
import { type ServerWritableStream, status } from "@grpc/grpc-js";
import type { Faults } from "./faults.ts";
import {
  caughtUpAnswer,
  checkpointAnswer,
  confirmationAnswer,
  lastRevisionAnswer,
  notFoundAnswer,
  readAnswer,
  serviceError,
  streamEndedError,
} from "./messages.ts";
import type { Store, Stored } from "./store.ts";

export type ReadCall = ServerWritableStream<ReadReq, ReadResp>;

/** What ends each of the subscriptions there are. */
export type Subscriptions = Set<(how: "error" | "end") => void>;

/** Answers a read or a subscription, as fast as it is read. */
export async function answerRead(
  call: ReadCall,
  store: Store,
  faults: Faults,
  subscriptions: Subscriptions,
): Promise<void> {
  const options = call.request.getOptions();
  if (options === undefined) throw serviceError(status.INVALID_ARGUMENT, "no options");
  if (options.hasSubscription()) return followAll(call, store, faults, options, subscriptions);
  // The server asks itself for nothing, and never answers.
  if (options.getCount() === "0") return;
  const answers = new Answers(call);
  if (options.hasStream()) await readStream(answers, store, faults, options);
  else await readAll(answers, store, faults, options);
  call.end();
}

async function readStream(
  answers: Answers,
  store: Store,
  faults: Faults,
  options: ReadReq.Options,
): Promise<void> {
  const place = options.getStream();
  const name = Buffer.from(place?.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString();
  const read = store.read(name);
  if (read === "ended") throw streamEndedError(name);
  if (read === "not-found") return answers.write(notFoundAnswer(name));
  const backwards = options.getReadDirection() === streamsPb.ReadReq.Options.ReadDirection.BACKWARDS;
  const from = place?.hasRevision() ? BigInt(place.getRevision()) : undefined;
  const events = backwards
    ? read.events.filter(({ revision }) => from === undefined || revision <= from).toReversed()
    : read.events.filter(({ revision }) => revision >= (from ?? 0n));
  await writeEvents(answers, events, Number(options.getCount()), faults, name);
  if ((options.getControlOption()?.getCompatibility() ?? 0) >= 1) {
    await answers.write(lastRevisionAnswer(read.lastRevision));
  }
}

async function readAll(
  answers: Answers,
  store: Store,
  faults: Faults,
  options: ReadReq.Options,
): Promise<void> {
  const passes = filterOf(options);
  const backwards = options.getReadDirection() === streamsPb.ReadReq.Options.ReadDirection.BACKWARDS;
  const from = placeIn(store, options);
  const events = backwards ? store.all.slice(0, from).toReversed() : store.all.slice(from);
  await writeEvents(answers, events.filter(passes), Number(options.getCount()), faults, "$all");
}

async function writeEvents(
  answers: Answers,
  events: readonly Stored[],
  count: number,
  faults: Faults,
  name: string,
): Promise<void> {
  const fault = faults.onRead(name);
  for (const [i, event] of events.slice(0, count).entries()) {
    if (fault?.after === i) return fail(fault.how);
    await answers.write(readAnswer(event));
  }
  if (fault !== undefined) await fail(fault.how);
}

function fail(how: "break" | "stall"): Promise<never> {
  if (how === "break") throw serviceError(status.UNAVAILABLE, "the read was broken off");
  return new Promise(() => {});
}

async function followAll(
  call: ReadCall,
  store: Store,
  faults: Faults,
  options: ReadReq.Options,
  subscriptions: Subscriptions,
): Promise<void> {
  if (faults.stallSubscriptions) return;
  const answers = new Answers(call);
  const passes = filterOf(options);
  const filter = options.getFilter();
  const interval = (filter?.getMax() ?? 32) * (filter?.getCheckpointintervalmultiplier() ?? 1);
  let next = options.getAll()?.hasPosition() ? placeIn(store, options) + 1 : placeIn(store, options);
  let wake = () => {};
  const forget = store.listen(() => wake());
  let dropped: "error" | "end" | undefined;
  const drop = (how: "error" | "end") => {
    dropped = how;
    wake();
  };
  subscriptions.add(drop);
  call.on("close", () => wake());
  call.on("cancelled", () => wake());
  let live = false;
  let considered = 0;
  try {
    await answers.write(confirmationAnswer(randomUUID()));
    while (!call.cancelled && !call.destroyed) {
      if (dropped === "end") call.end();
      if (dropped === "error") throw serviceError(status.UNKNOWN, "the subscription was dropped");
      if (dropped !== undefined) return;
      const event = store.all[next];
      if (event === undefined) {
        if (!live) await answers.write(caughtUpAnswer());
        live = true;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      next += 1;
      considered += 1;
      if (passes(event)) await answers.write(readAnswer(event));
      if (considered < interval) continue;
      considered = 0;
      await answers.write(checkpointAnswer(event.position));
    }
  } finally {
    subscriptions.delete(drop);
    forget();
  }
}

/** The place in `store.all` of the first event that is not before what a request says. */
function placeIn(store: Store, options: ReadReq.Options): number {
  const all = options.getAll();
  if (all?.hasStart()) return 0;
  if (all?.hasEnd()) return store.all.length;
  const position = BigInt(all?.getPosition()?.getCommitPosition() ?? 0);
  const at = store.all.findIndex((event) => event.position >= position);
  return at < 0 ? store.all.length : at;
}

function filterOf(options: ReadReq.Options): (event: Stored) => boolean {
  const expression = options.getFilter()?.getStreamIdentifier();
  if (expression === undefined) return () => true;
  const regex = expression.getRegex();
  if (regex !== "") {
    const pattern = new RegExp(regex, "u");
    return ({ stream }) => pattern.test(stream);
  }
  const prefixes = expression.getPrefixList();
  return ({ stream }) => prefixes.some((prefix) => stream.startsWith(prefix));
}

/** Writes to a call, waiting whenever it is full. */
class Answers {
  readonly #call: ReadCall;

  constructor(call: ReadCall) {
    this.#call = call;
  }

  async write(answer: ReadResp): Promise<void> {
    if (this.#call.cancelled || this.#call.destroyed) return;
    if (this.#call.write(answer)) return;
    const ended = new AbortController();
    const end = () => ended.abort();
    this.#call.once("close", end);
    this.#call.once("cancelled", end);
    await once(this.#call, "drain", { signal: ended.signal }).catch(() => {});
    this.#call.off("close", end);
    this.#call.off("cancelled", end);
  }
}
