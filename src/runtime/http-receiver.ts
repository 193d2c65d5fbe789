import { HeadwaterError } from "../core/errors.ts";

/** How a receiver of batches is reached. */
export interface Receiver {
  /** Its address without user and password. */
  readonly url: string;
  /** What is sent with every batch beside its key; names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface ReceiverOptions {
  readonly sink: string;
  /** `http:` or `https:`; user and password in it are sent as basic authentication, and never shown. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Headers that say what the sink itself has to say of each batch. */
const OWN: ReadonlySet<string> = new Set(["idempotency-key", "content-type", "content-length"]);
/** Headers of the connection, which the client decides about: it sends nothing with one of them. */
const OF_CONNECTION: ReadonlySet<string> = new Set([
  ...["connection", "keep-alive", "transfer-encoding", "upgrade", "expect"],
]);

/** Ports that `fetch` connects to in no case: "port blocking" of the Fetch standard. */
export const BLOCKED_PORTS: ReadonlySet<number> = new Set([
  ...[0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103],
  ...[
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514,
  ],
  ...[515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723],
  ...[2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080],
]);

/** Throws `BadUsage` for what could never be sent, however often it were tried: it is told before anything is taken in. */
export function receiverOf({ sink, url: address, headers: own }: ReceiverOptions): Receiver {
  const url = new URL(address);
  const { username, password, port } = url;
  url.username = "";
  url.password = "";
  const refuse = (what: string, hint: string) =>
    new HeadwaterError("BadUsage", `the sink ${JSON.stringify(sink)} cannot send to its receiver: ${what}`, {
      where: url.href,
      hint,
    });
  if (port !== "" && BLOCKED_PORTS.has(Number(port))) {
    throw refuse(
      `port ${port} belongs to another service, and HTTP clients refuse it`,
      "Have the receiver listen on another port.",
    );
  }
  const headers: Record<string, string> = { "content-type": "application/x-ndjson" };
  const user = credentialsOf(username, password);
  if (user === undefined) {
    throw refuse(
      "the user or password in its address is no text in percent-encoding",
      "Write % as %25, and other signs as encodeURIComponent does.",
    );
  }
  if (user !== "") headers["authorization"] = `Basic ${user}`;
  if (typeof own !== "object" || own === null || Array.isArray(own)) {
    throw refuse("its headers are no object", 'Write them like { authorization: "Bearer …" }.');
  }
  for (const [name, value] of Object.entries(own)) {
    const lower = name.toLowerCase();
    const shown = `the header ${JSON.stringify(name)}`;
    if (OWN.has(lower)) throw refuse(`${shown} is the sink's own, for each batch`, "Leave it out.");
    if (OF_CONNECTION.has(lower)) throw refuse(`${shown} is that of the connection`, "Leave it out.");
    if (headers[lower] !== undefined) {
      throw refuse(`${shown} is given twice`, "Give it once, and no user in the address beside it.");
    }
    headers[lower] = mustBeSendable(name, value, (what) =>
      refuse(what, "HTTP takes names of letters, digits and -, and values that are one line of plain text."),
    );
  }
  return { url: url.href, headers };
}

/** The value without spaces around it. It may be secret, and is not shown. */
function mustBeSendable(name: string, value: unknown, refused: (what: string) => HeadwaterError): string {
  if (typeof value !== "string") throw refused(`the header ${JSON.stringify(name)} is no text`);
  let headers: Headers;
  try {
    headers = new Headers({ [name]: "" });
  } catch {
    throw refused(`${JSON.stringify(name)} is no name of a header`);
  }
  try {
    headers.set(name, value);
  } catch {
    throw refused(`the value of the header ${JSON.stringify(name)} cannot be sent`);
  }
  return headers.get(name) ?? "";
}

/** For basic authentication; empty if there are none, `undefined` if they cannot be read. */
function credentialsOf(username: string, password: string): string | undefined {
  if (username === "" && password === "") return "";
  try {
    const text = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    return Buffer.from(text).toString("base64");
  } catch {
    return undefined;
  }
}
