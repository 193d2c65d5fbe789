import { randomUUID } from "node:crypto";
import gossipGrpc, { type IGossipServer } from "@eventstore/db-client/generated/gossip_grpc_pb.js";
import gossipPb from "@eventstore/db-client/generated/gossip_pb.js";
import operationsGrpc, {
  type IOperationsServer,
} from "@eventstore/db-client/generated/operations_grpc_pb.js";
import operationsPb, { type ScavengeResp } from "@eventstore/db-client/generated/operations_pb.js";
import featuresGrpc, {
  type IServerFeaturesServer,
} from "@eventstore/db-client/generated/serverfeatures_grpc_pb.js";
import featuresPb from "@eventstore/db-client/generated/serverfeatures_pb.js";
import sharedPb from "@eventstore/db-client/generated/shared_pb.js";
import streamsGrpc, { type IStreamsServer } from "@eventstore/db-client/generated/streams_grpc_pb.js";
import streamsPb, { type DeleteReq, type TombstoneReq } from "@eventstore/db-client/generated/streams_pb.js";
import { type Metadata, Server, ServerCredentials, type ServiceError, status } from "@grpc/grpc-js";
import type { Clock } from "../../src/ports/clock.ts";
import { answerAppends } from "./appends.ts";
import { Faults } from "./faults.ts";
import {
  conflictError,
  expectedOfRemoval,
  notLeaderError,
  serviceError,
  streamEndedError,
} from "./messages.ts";
import { Network } from "./network.ts";
import { answerRead, type Subscriptions } from "./reads.ts";
import { Store } from "./store.ts";

export interface TestServerOptions {
  readonly clock: Clock;
  /** What another node of the same cluster has, too. */
  readonly store?: Store;
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Who may do anything; without, everyone may. */
  readonly user?: { readonly name: string; readonly password: string };
}

const MAX_APPEND_BYTES = 1024 * 1024;
const MAX_MESSAGE_BYTES = 17 * 1024 * 1024;

/**
 * An EventStoreDB for tests: the calls that the adapter makes, over a real socket, on a {@link Store}, with faults on
 * demand. What it answers is what a server of version 24.6 answers.
 */
export class TestServer {
  readonly store: Store;
  readonly faults = new Faults();
  readonly network: Network;
  /** Another node that leads; this one then refuses what has to be done by the leader. */
  leader: { readonly host: string; readonly port: number } | undefined;
  /** The nodes that a question for the cluster's members answers, first the leader; this one alone if absent. */
  members: readonly number[] | undefined;
  /** Calls by name, as they came. */
  readonly calls: string[] = [];
  readonly #server: Server;
  /** Who is let in now. */
  user: TestServerOptions["user"];
  readonly #clock: Clock;
  readonly #held: (() => void)[] = [];
  readonly #subscriptions: Subscriptions = new Set();

  private constructor(server: Server, port: number, options: TestServerOptions) {
    this.#server = server;
    this.user = options.user;
    this.#clock = options.clock;
    this.store = options.store ?? new Store(options.clock);
    this.network = new Network(port);
  }

  static async start(options: TestServerOptions): Promise<TestServer> {
    const server = new Server({
      "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
      "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    });
    const { tls } = options;
    const credentials =
      tls === undefined
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(null, [
            { cert_chain: Buffer.from(tls.certificate), private_key: Buffer.from(tls.key) },
          ]);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", credentials, (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    const started = new TestServer(server, port, options);
    started.#serve();
    await started.network.open();
    return started;
  }

  get port(): number {
    return this.network.port;
  }

  /** A connection string without credentials. */
  get url(): string {
    return `esdb://127.0.0.1:${this.port}?tls=false`;
  }

  /** Ends the subscriptions there are, as a server does that is overloaded or loses its lead. */
  dropSubscriptions(how: "error" | "end"): void {
    for (const drop of [...this.#subscriptions]) drop(how);
  }

  get subscriptions(): number {
    return this.#subscriptions.size;
  }

  /** Sends the answers that were held. */
  release(): void {
    for (const answer of this.#held.splice(0)) answer();
  }

  get held(): number {
    return this.#held.length;
  }

  async stop(): Promise<void> {
    await this.network.close();
    this.#server.forceShutdown();
  }

  #serve(): void {
    const { store, faults } = this;
    const streams: IStreamsServer = {
      read: (call) => {
        const refused = this.#enter("read", call.metadata);
        if (refused !== undefined) {
          call.emit("error", refused);
          return;
        }
        answerRead(call, store, faults, this.#subscriptions).catch((error: unknown) =>
          call.emit("error", error),
        );
      },
      batchAppend: (call) => {
        const refused = this.#enter("batchAppend", call.metadata);
        call.on("error", () => {});
        if (refused !== undefined) {
          call.emit("error", refused);
          return;
        }
        answerAppends(call, {
          store,
          faults,
          clock: this.#clock,
          maxAppendBytes: MAX_APPEND_BYTES,
          reset: () => this.network.reset(),
          hold: (answer) => this.#held.push(answer),
        });
      },
      append: (call, done) => {
        call.resume();
        done(serviceError(status.UNIMPLEMENTED, "appends come as batches"));
      },
      delete: (call, done) =>
        this.#answer("delete", call.metadata, done, () => {
          this.#remove(call.request.getOptions(), false);
          return new streamsPb.DeleteResp();
        }),
      tombstone: (call, done) =>
        this.#answer("tombstone", call.metadata, done, () => {
          this.#remove(call.request.getOptions(), true);
          return new streamsPb.TombstoneResp();
        }),
    };
    const features: IServerFeaturesServer = {
      getSupportedMethods: (call, done) =>
        this.#answer("getSupportedMethods", call.metadata, done, () => {
          if (faults.onFeatures() === "internal") throw serviceError(status.INTERNAL, "not now");
          return this.#features();
        }),
    };
    const gossip: IGossipServer = {
      read: (call, done) => this.#answer("gossip", call.metadata, done, () => this.#gossip()),
    };
    const operations: IOperationsServer = {
      startScavenge: (call, done) =>
        this.#answer("startScavenge", call.metadata, done, () => this.#scavenge()),
      ...NOT_USED,
    };
    this.#server.addService(streamsGrpc.StreamsService, { ...streams });
    this.#server.addService(featuresGrpc.ServerFeaturesService, { ...features });
    this.#server.addService(gossipGrpc.GossipService, { ...gossip });
    this.#server.addService(operationsGrpc.OperationsService, { ...operations });
  }

  /** Notes a call; the error that it is refused with, if it is. */
  #enter(name: string, metadata: Metadata): ServiceError | undefined {
    this.calls.push(name);
    const [given] = metadata.get("authorization");
    if (this.user !== undefined) {
      const { name: user, password } = this.user;
      const expected = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
      if (given !== expected) return serviceError(status.UNAUTHENTICATED, "Unauthenticated");
    }
    if (this.leader !== undefined && metadata.get("requires-leader")[0] === "true") {
      return notLeaderError(this.leader);
    }
    return undefined;
  }

  #answer<T>(
    name: string,
    metadata: Metadata,
    done: (error: ServiceError | null, answer?: T) => void,
    make: () => T,
  ): void {
    const refused = this.#enter(name, metadata);
    if (refused !== undefined) {
      done(refused);
      return;
    }
    const fault = this.faults.onCall();
    if (fault === "lose") return;
    try {
      const answer = make();
      if (fault === undefined) done(null, answer);
    } catch (error) {
      done(error as ServiceError);
    }
  }

  #remove(options: DeleteReq.Options | TombstoneReq.Options | undefined, forEver: boolean): void {
    if (options === undefined) throw serviceError(status.INVALID_ARGUMENT, "no options");
    const stream = Buffer.from(options.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString();
    const removed = this.store.remove(stream, expectedOfRemoval(options), forEver);
    if (removed.kind === "ended") throw streamEndedError(stream);
    if (removed.kind === "conflict") throw conflictError(removed.current);
  }

  #features() {
    const features = new featuresPb.SupportedMethods();
    features.setEventStoreServerVersion("24.6.0");
    for (const { path } of Object.values(streamsGrpc.StreamsService)) {
      const [, service = "", name = ""] = path.split("/");
      const method = new featuresPb.SupportedMethod();
      method.setServiceName(service.toLowerCase());
      method.setMethodName(name.toLowerCase());
      features.addMethods(method);
    }
    return features;
  }

  #gossip() {
    const { LEADER, FOLLOWER } = gossipPb.MemberInfo.VNodeState;
    const cluster = new gossipPb.ClusterInfo();
    for (const [i, port] of (this.members ?? [this.port]).entries()) {
      const member = new gossipPb.MemberInfo();
      const id = new sharedPb.UUID();
      id.setString("00000000-0000-4000-8000-000000000000");
      member.setInstanceId(id);
      member.setState(i === 0 ? LEADER : FOLLOWER);
      member.setIsAlive(true);
      const endpoint = new gossipPb.EndPoint();
      endpoint.setAddress("127.0.0.1");
      endpoint.setPort(port);
      member.setHttpEndPoint(endpoint);
      cluster.addMembers(member);
    }
    return cluster;
  }

  #scavenge(): ScavengeResp {
    const id = String(this.calls.length);
    const spaceSaved = this.store.scavenge();
    const data = Buffer.from(JSON.stringify({ scavengeId: id, result: "Success", spaceSaved }));
    const event = {
      id: randomUUID(),
      type: "$scavengeCompleted",
      json: true,
      data,
      metadata: data.subarray(0, 0),
    };
    this.store.append(`$scavenges-${id}`, "any", [event]);
    const started = new operationsPb.ScavengeResp();
    started.setScavengeId(id);
    return started;
  }
}

function notUsed(_call: unknown, done: (error: ServiceError) => void): void {
  done(serviceError(status.UNIMPLEMENTED, "not one of the calls that are made"));
}

/** Of the service for operators. */
const NOT_USED = {
  stopScavenge: notUsed,
  shutdown: notUsed,
  mergeIndexes: notUsed,
  resignNode: notUsed,
  setNodePriority: notUsed,
  restartPersistentSubscriptions: notUsed,
};
