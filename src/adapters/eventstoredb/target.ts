import { HeadwaterError } from "../../core/errors.ts";

/** A node of a cluster. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Files by name, so that what they hold is read only when a connection is made. */
export interface TlsFiles {
  /** Certificates of the authorities to trust instead of the system's, PEM. */
  readonly authorities?: string;
  /** A user's certificate and its key, PEM. */
  readonly certificate?: string;
  readonly key?: string;
}

/** Where a log is, and how to get there: what a connection string says. */
export interface Target {
  /** One node, or several of a cluster, of which one is asked who leads. */
  readonly endpoints: readonly Endpoint[];
  /** The one endpoint is a name that stands for a cluster. */
  readonly discover: boolean;
  /** `undefined`: without encryption. */
  readonly tls: TlsFiles | undefined;
  readonly credentials: Credentials | undefined;
  /** What the names of all streams of the log begin with, such as `orders.`; empty if the log has the server to itself. */
  readonly prefix: string;
  readonly nodePreference: NodePreference;
  /** Numbers of the client, in milliseconds but for `maxDiscoverAttempts` and `gossipTimeout`, which has seconds. */
  readonly numbers: Readonly<Partial<Record<NumberOption, number>>>;
  readonly connectionName: string | undefined;
}

export type NodePreference = "leader" | "follower" | "read_only_replica" | "random";

type NumberOption =
  | "keepAliveInterval"
  | "keepAliveTimeout"
  | "maxDiscoverAttempts"
  | "discoveryInterval"
  | "gossipTimeout";

/** Environment variables for what is not to be seen in a list of processes. */
export const USER_VARIABLE = "HEADWATER_ESDB_USER";
export const PASSWORD_VARIABLE = "HEADWATER_ESDB_PASSWORD";

const DEFAULT_PORT = 2113;
const FORM =
  /^esdb(?<discover>\+discover)?:\/\/(?:(?<user>[^/?#]*)@)?(?<hosts>[^/?#@]+)\/?(?:\?(?<query>.*))?$/is;
const HOST = /^(?<address>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?<port>\d{1,5}))?$/i;
const PREFIX = /^[A-Za-z0-9-]{1,64}$/;

/** Each option's least value, and its greatest. A keep-alive more often than the client recommends is refused. */
const NUMBERS: Readonly<Record<NumberOption, readonly [least: number, most: number]>> = {
  keepAliveInterval: [10_000, 3_600_000],
  keepAliveTimeout: [1_000, 3_600_000],
  maxDiscoverAttempts: [1, 1_000],
  discoveryInterval: [10, 60_000],
  gossipTimeout: [1, 60],
};

/**
 * Reads `esdb://[user:password@]host[:port][,host…][?option=value&…]`, or `esdb+discover://` for a name that stands
 * for a cluster. Options: `tls` (`false` for a server without), `tlsCAFile`, `userCertFile`, `userKeyFile`,
 * `nodePreference`, `keepAliveInterval`, `keepAliveTimeout`, `connectionName`, `maxDiscoverAttempts`,
 * `discoveryInterval`, `gossipTimeout`, and `prefix`: several logs may share a server, each under a prefix of its
 * own. User and password may be left to `HEADWATER_ESDB_USER` and `HEADWATER_ESDB_PASSWORD` in `environment`; what
 * the string says counts before them.
 *
 * Throws `BadUsage` for anything else. What it says never repeats the string: that may hold a password, also where
 * none is expected.
 */
export function parseTarget(
  text: string,
  environment: Readonly<Record<string, string | undefined>> = {},
): Target {
  const groups = FORM.exec(text.trim())?.groups as
    | { discover?: string; user?: string; hosts: string; query?: string }
    | undefined;
  if (groups === undefined) {
    throw bad(
      "not a connection string of EventStoreDB",
      'Write it like esdb://localhost:2113?tls=false. In a user or password, characters such as "@", "/", "?" and "#" have to be percent-encoded.',
    );
  }
  const options = readOptions(groups.query ?? "");
  const endpoints = groups.hosts.split(",").map(readEndpoint);
  const discover = groups.discover !== undefined;
  if (discover && endpoints.length > 1) {
    throw bad(
      "esdb+discover:// takes one name, which stands for the cluster",
      "Write esdb:// for a list of nodes.",
    );
  }
  const tls = readTls(options);
  return {
    endpoints,
    discover,
    tls,
    credentials: readCredentials(groups.user, environment),
    prefix: readPrefix(options.get("prefix")),
    nodePreference: readPreference(options.get("nodepreference")),
    numbers: readNumbers(options),
    connectionName: options.get("connectionname"),
  };
}

/** Whether a `--log` means an EventStoreDB, also one that {@link parseTarget} refuses. */
export function isTarget(text: string): boolean {
  return /^\s*esdb(\+discover)?:/i.test(text);
}

/** How a target is named in messages: without user and password, and of the options only with the prefix. */
export function describeTarget({ endpoints, discover, prefix }: Target): string {
  const hosts = endpoints.map(({ address, port }) => `${address}:${port}`).join(",");
  const log = prefix === "" ? "" : `?prefix=${prefix.slice(0, -1)}`;
  return `esdb${discover ? "+discover" : ""}://${hosts}${log}`;
}

const OPTIONS = new Map(
  [
    "tls",
    "tlsCAFile",
    "userCertFile",
    "userKeyFile",
    "nodePreference",
    "connectionName",
    "prefix",
    ...Object.keys(NUMBERS),
  ].map((name) => [flat(name), name]),
);

/** Values by flat name. Names are taken in any case, as the client takes them. */
function readOptions(query: string): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (const pair of query.split("&").filter((part) => part !== "")) {
    const at = pair.indexOf("=");
    const written = (at < 0 ? pair : pair.slice(0, at)).trim();
    const name = flat(written);
    const value = at < 0 ? "" : decode(pair.slice(at + 1).trim());
    if (!OPTIONS.has(name)) {
      // A password with a "?" in it looks like an option: only what cannot be one is repeated.
      const shown = /^[A-Za-z]{1,24}$/.test(written) && !query.includes("@") ? `: ${written}` : "";
      throw bad(
        `an option that is not known${shown}`,
        `Options are ${[...OPTIONS.values()].join(", ")}. Deadlines and what happens when an append fails are Headwater's own.`,
      );
    }
    if (value === "") throw bad(`the option ${OPTIONS.get(name)} has no value`, "Write it like tls=false.");
    if (options.has(name)) throw bad(`the option ${OPTIONS.get(name)} is there twice`, "Give it once.");
    options.set(name, value);
  }
  return options;
}

function readEndpoint(host: string): Endpoint {
  const groups = HOST.exec(host.trim())?.groups as { address: string; port?: string } | undefined;
  const port = Number(groups?.port ?? DEFAULT_PORT);
  if (groups === undefined || port < 1 || port > 65_535) {
    throw bad(
      "a host in the connection string cannot be read",
      "Write hosts like node1.example.org:2113, with a port from 1 to 65535 and a comma between them.",
    );
  }
  return { address: groups.address, port };
}

function readTls(options: ReadonlyMap<string, string>): TlsFiles | undefined {
  const tls = options.get("tls")?.toLowerCase() ?? "true";
  if (tls !== "true" && tls !== "false") throw bad("the option tls is true or false", "Write tls=false.");
  if (tls === "false") return undefined;
  const authorities = options.get("tlscafile");
  const certificate = options.get("usercertfile");
  const key = options.get("userkeyfile");
  if ((certificate === undefined) !== (key === undefined)) {
    throw bad("userCertFile and userKeyFile belong together", "Give both, or neither.");
  }
  return {
    ...(authorities !== undefined && { authorities }),
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
  };
}

function readCredentials(
  user: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Credentials | undefined {
  const at = user?.indexOf(":") ?? -1;
  const inString = {
    username: user === undefined ? undefined : decode(at < 0 ? user : user.slice(0, at)),
    password: user === undefined || at < 0 ? undefined : decode(user.slice(at + 1)),
  };
  // A variable that is set to nothing is one that is not set, as HEADWATER_LOG is.
  const username = inString.username ?? (environment[USER_VARIABLE] || undefined);
  const password = inString.password ?? (environment[PASSWORD_VARIABLE] || undefined);
  if (username === undefined && password === undefined) return undefined;
  if (!username || !password) {
    throw bad(
      "a user without a password, or a password without a user",
      `Write user:password@ before the host, or set ${USER_VARIABLE} and ${PASSWORD_VARIABLE}.`,
    );
  }
  return { username, password };
}

function readPrefix(prefix: string | undefined): string {
  if (prefix === undefined) return "";
  if (PREFIX.test(prefix)) return `${prefix}.`;
  throw bad("not a prefix", "A prefix has 1 to 64 letters, digits and hyphens.");
}

const PREFERENCES: ReadonlyMap<string, NodePreference> = new Map([
  ["leader", "leader"],
  ["follower", "follower"],
  ["readonlyreplica", "read_only_replica"],
  ["random", "random"],
]);

function readPreference(text: string | undefined): NodePreference {
  const preference = text === undefined ? "leader" : PREFERENCES.get(flat(text));
  if (preference !== undefined) return preference;
  throw bad("not a nodePreference", "It is leader, follower, readOnlyReplica or random.");
}

function readNumbers(options: ReadonlyMap<string, string>): Target["numbers"] {
  const numbers: Partial<Record<NumberOption, number>> = {};
  for (const [name, [least, most]] of Object.entries(NUMBERS) as [NumberOption, [number, number]][]) {
    const text = options.get(flat(name));
    if (text === undefined) continue;
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) {
      throw bad(`${name} is not a number that it can be`, `It is a whole number from ${least} to ${most}.`);
    }
    numbers[name] = value;
  }
  return numbers;
}

function flat(name: string): string {
  return name.trim().toLowerCase().replace(/[_-]/g, "");
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw bad("a percent sign in the connection string begins nothing", 'Write "%25" for a percent sign.');
  }
}

function bad(message: string, hint: string): HeadwaterError {
  return new HeadwaterError("BadUsage", message, { hint, where: "--log" });
}
