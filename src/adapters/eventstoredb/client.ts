import { readFileSync } from "node:fs";
import { EventStoreDBClient } from "@eventstore/db-client";
import { GossipClient } from "@eventstore/db-client/generated/gossip_grpc_pb.js";
import { OperationsClient } from "@eventstore/db-client/generated/operations_grpc_pb.js";
import sharedPb from "@eventstore/db-client/generated/shared_pb.js";
import { StreamsClient } from "@eventstore/db-client/generated/streams_grpc_pb.js";
import { describeThrown, HeadwaterError } from "../../core/errors.ts";
import { BOUNDS } from "./bounds.ts";
import { readFailure } from "./failures.ts";
import type { Endpoint, Target } from "./target.ts";

/** Passed as what the client expects: it tells the kinds of settings apart by which of these they have. */
type Settings =
  | { readonly endpoint: Endpoint }
  | { readonly endpoints: Endpoint[] }
  | { readonly discover: Endpoint };

/** More than its default of ten would keep a wrong address waiting for long; Headwater tries again by itself. */
const DISCOVER_ATTEMPTS = 3;

/**
 * One connection: the client with its channel, discovery and credentials. Calls are made of the service definitions
 * that it ships, not by its own methods. Those parse metadata that looks like JSON, read all streams only without a
 * filter, keep appends that wait in one table for all clients of a process, so that an error of one client makes
 * another's answer throw where nothing can catch it, and have no deadline where one is needed.
 */
export class NodeClient extends EventStoreDBClient {
  readonly #requiresLeader: boolean;
  readonly #seeds: Target | undefined;
  #streams: Promise<StreamsClient> | undefined;

  /** @param leader the node to connect to, if it is known which one leads */
  constructor(target: Target, requiresLeader: boolean, leader?: Endpoint) {
    // The declared types are one overload a kind of settings.
    super(
      { ...settingsOf(target, leader), ...optionsOf(target) } as { readonly endpoint: Endpoint },
      channelCredentials(target),
      target.credentials,
    );
    this.#requiresLeader = requiresLeader;
    this.#seeds = leader === undefined && isCluster(target) ? target : undefined;
  }

  /** The calls of the Streams service. Rejects if no node is found to connect to. */
  streams(): Promise<StreamsClient> {
    this.#streams ??= this.#connect();
    return this.#streams;
  }

  async #connect(): Promise<StreamsClient> {
    try {
      return await this.execute(StreamsClient, "streams", async (client) => client);
    } catch (thrown) {
      throw (this.#seeds && (await whyNotFound(this.#seeds))) ?? thrown;
    }
  }

  /** Asks this one node who is in its cluster; rejects with what keeps it from answering. */
  async gossip(): Promise<void> {
    const gossip = await this.execute(GossipClient, "gossip", async (client) => client);
    const call = this.callArguments({}, { deadline: this.createDeadline(BOUNDS.gossipMs) });
    await new Promise<void>((resolve, reject) => {
      gossip.read(new sharedPb.Empty(), ...call, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  operations(): Promise<OperationsClient> {
    return this.execute(OperationsClient, "operations", async (client) => client);
  }

  /** Metadata and options of a call. Its deadline is kept by who makes it: a read has none as a whole. */
  call(): ReturnType<EventStoreDBClient["callArguments"]> {
    return this.callArguments(
      { requiresLeader: this.#requiresLeader },
      { deadline: Number.POSITIVE_INFINITY },
    );
  }

  /** Lets go of the connection. Calls under way have to be cancelled by who made them. */
  async close(): Promise<void> {
    try {
      const streams = await this.#streams;
      if (streams === undefined) return;
      await this.dispose();
      streams.close();
    } catch {
      // It never was connected.
    }
  }
}

/**
 * What keeps the nodes that were named from saying who leads, which the client's discovery keeps to itself. What may
 * mend itself comes first: one node with a wrong certificate does not end a wait for the others. `undefined` if one
 * of them answers, and knows of no leader.
 */
async function whyNotFound(target: Target): Promise<unknown> {
  const failures: unknown[] = [];
  for (const endpoint of target.endpoints) {
    const node = new NodeClient(target, false, endpoint);
    try {
      await node.gossip();
      return undefined;
    } catch (thrown) {
      failures.push(thrown);
    } finally {
      await node.dispose();
    }
  }
  return failures.find((thrown) => readFailure(thrown).retryable) ?? failures[0];
}

function isCluster({ endpoints, discover }: Target): boolean {
  return discover || endpoints.length > 1;
}

function settingsOf({ endpoints, discover }: Target, leader: Endpoint | undefined): Settings {
  const [first] = endpoints;
  if (leader !== undefined) return { endpoint: leader };
  if (first === undefined) throw new HeadwaterError("BadUsage", "no host to connect to", { where: "--log" });
  if (discover) return { discover: first };
  return endpoints.length === 1 ? { endpoint: first } : { endpoints: [...endpoints] };
}

function optionsOf({ nodePreference, numbers, connectionName }: Target) {
  return {
    nodePreference,
    maxDiscoverAttempts: DISCOVER_ATTEMPTS,
    ...numbers,
    connectionName: connectionName ?? "headwater",
  };
}

function channelCredentials({ tls }: Target) {
  if (tls === undefined) return { insecure: true };
  const { authorities, certificate, key } = tls;
  return {
    ...(authorities !== undefined && { rootCertificate: readPem(authorities, "tlsCAFile") }),
    ...(certificate !== undefined && { userCertFile: readPem(certificate, "userCertFile") }),
    ...(key !== undefined && { userKeyFile: readPem(key, "userKeyFile") }),
  };
}

function readPem(file: string, option: string): Buffer {
  const bad = (message: string) =>
    new HeadwaterError("BadUsage", message, {
      where: "--log",
      hint: `${option} names a file in PEM, one that begins with "-----BEGIN", by its path from the current folder.`,
    });
  let pem: Buffer;
  try {
    pem = readFileSync(file);
  } catch (error) {
    throw bad(`the file of ${option} cannot be read: ${describeThrown(error)}`);
  }
  if (!pem.includes("-----BEGIN ")) throw bad(`the file of ${option} holds nothing in PEM`);
  return pem;
}
