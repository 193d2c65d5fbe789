import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { sha256 } from "./digest.ts";
import { HeadwaterError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

/**
 * Signed notes (C2SP signed-note): a text and, after an empty line, who has signed it. Keys are written as Go's
 * `golang.org/x/mod/sumdb/note` writes them, so that other programs can read them. Only Ed25519 (RFC 8032).
 */

const ED25519_TYPE = 0x01;
const KEY_BYTES = 32;
const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;
const PRIVATE_PREFIX = "PRIVATE+KEY+";
/** What comes before the seed in PKCS #8, and before the public key in SPKI (RFC 8410). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** Checks signatures of one key. */
export interface NoteVerifier {
  /** The key's name. */
  readonly name: string;
  /** First four bytes of a digest of name and key, in hex: tells keys of one name apart. */
  readonly keyId: string;
  /** `name+keyId+base64`: the public key, as it is handed to others. */
  readonly verifierKey: string;
  verify(text: string, signature: Uint8Array): boolean;
}

/** Signs in the name of one key. */
export interface NoteSigner {
  readonly verifier: NoteVerifier;
  /** `PRIVATE+KEY+name+keyId+base64`: the secret itself. */
  readonly privateKey: string;
  sign(text: string): Uint8Array;
}

/** A note taken apart; nothing of it is known to be true. */
export interface Note {
  /** Ends with a line end. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface NoteSignature {
  readonly name: string;
  readonly keyId: string;
  readonly signature: Uint8Array;
}

/** The key that `seed` (32 random bytes) makes under `name`. Throws `BadName` for what cannot be a key's name. */
export function noteSigner(name: string, seed: Uint8Array): NoteSigner {
  checkKeyName(name);
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, seed]),
    format: "der",
    type: "pkcs8",
  });
  const publicKey = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const verifier = noteVerifier(name, publicKey.subarray(SPKI_PREFIX.length));
  return {
    verifier,
    privateKey: `${PRIVATE_PREFIX}${name}+${verifier.keyId}+${keyText(seed)}`,
    sign: (text) => sign(null, Buffer.from(text, "utf8"), privateKey),
  };
}

/** Reads a private key as {@link NoteSigner.privateKey} has it. Throws `BadInput`; the text is not in the error. */
export function parseSigner(text: string): NoteSigner {
  const parts = text.startsWith(PRIVATE_PREFIX) ? keyParts(text.slice(PRIVATE_PREFIX.length)) : undefined;
  const signer = parts && noteSigner(parts.name, parts.key);
  if (signer !== undefined && signer.verifier.keyId === parts?.keyId) return signer;
  throw new HeadwaterError("BadInput", "not a private key", {
    hint: `A private key is one line that begins with ${PRIVATE_PREFIX}; "headwater keygen" makes one.`,
  });
}

/** Reads a public key as {@link NoteVerifier.verifierKey} has it. Throws `BadInput`. */
export function parseVerifier(text: string): NoteVerifier {
  const parts = keyParts(text);
  const verifier = parts && noteVerifier(parts.name, parts.key);
  if (verifier !== undefined && verifier.keyId === parts?.keyId) return verifier;
  throw new HeadwaterError("BadInput", "not a verifier key", {
    where: text.startsWith(PRIVATE_PREFIX)
      ? "a private key, which nobody but its owner may see"
      : short(text),
    hint: "A verifier key is written name+12345678+base64, as headwater keygen prints it.",
  });
}

/** `text`, which has to end with a line end, with the signatures of `signers`. Throws `BadInput` for another text. */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  if (!text.endsWith("\n") || hasControls(text))
    throw badNote("a note's text is lines without control characters");
  const lines = signers.map((signer) => {
    const { name, keyId } = signer.verifier;
    const bytes = Buffer.concat([Buffer.from(keyId, "hex"), signer.sign(text)]);
    return `— ${name} ${bytes.toString("base64")}\n`;
  });
  return `${text}\n${lines.join("")}`;
}

/** Takes a note apart without believing it. Throws `BadInput`. */
export function parseNote(note: string): Note {
  if (Buffer.byteLength(note) > LIMITS.noteBytes)
    throw badNote(`a note has at most ${LIMITS.noteBytes} bytes`);
  if (hasControls(note)) throw badNote("a note has no control characters");
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n")) {
    throw badNote("a note is a text, an empty line, and lines with signatures, all with a line end");
  }
  const lines = note.slice(end + 2, -1).split("\n");
  if (lines.length > LIMITS.noteSignatures) throw badNote(`more than ${LIMITS.noteSignatures} signatures`);
  const signatures = lines.map((line) => {
    const [, name = "", base64 = ""] = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u.exec(line) ?? [];
    const bytes = fromBase64(base64);
    if (bytes === undefined || bytes.length <= KEY_ID_BYTES) {
      throw badNote(`not a signature: ${JSON.stringify(short(line))}`);
    }
    return {
      name,
      keyId: bytes.subarray(0, KEY_ID_BYTES).toString("hex"),
      signature: bytes.subarray(KEY_ID_BYTES),
    };
  });
  return { text: note.slice(0, end + 1), signatures };
}

/** What came of {@link verifyNote}. */
export type NoteVerdict =
  | { readonly kind: "signed"; readonly text: string; readonly by: readonly NoteVerifier[] }
  /** A signature of a known key is wrong: the note or its signature was changed. */
  | { readonly kind: "forged"; readonly by: NoteVerifier }
  /** None of the keys has signed it. */
  | { readonly kind: "unknown"; readonly names: readonly string[] };

/** Whether one of `verifiers` has signed `note`, and none of them wrongly. Throws `BadInput` for what is no note. */
export function verifyNote(note: string, verifiers: readonly NoteVerifier[]): NoteVerdict {
  const { text, signatures } = parseNote(note);
  const by = new Set<NoteVerifier>();
  for (const { name, keyId, signature } of signatures) {
    const verifier = verifiers.find((known) => known.name === name && known.keyId === keyId);
    if (verifier === undefined) continue;
    if (!verifier.verify(text, signature)) return { kind: "forged", by: verifier };
    by.add(verifier);
  }
  if (by.size === 0) return { kind: "unknown", names: signatures.map(({ name }) => name) };
  return { kind: "signed", text, by: [...by] };
}

/** The bytes that canonical base64 (RFC 4648, section 4, padded) stands for; `undefined` for any other text. */
export function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

function noteVerifier(name: string, publicKey: Uint8Array): NoteVerifier {
  checkKeyName(name);
  const key = importPublicKey(publicKey);
  const named = Buffer.concat([Buffer.from(`${name}\n`, "utf8"), Uint8Array.of(ED25519_TYPE), publicKey]);
  const keyId = Buffer.from(sha256(named)).toString("hex", 0, KEY_ID_BYTES);
  return {
    name,
    keyId,
    verifierKey: `${name}+${keyId}+${keyText(publicKey)}`,
    verify: (text, signature) =>
      key !== undefined &&
      signature.length === SIGNATURE_BYTES &&
      verify(null, Buffer.from(text, "utf8"), key, signature),
  };
}

/** 32 bytes that are no point of the curve verify nothing. */
function importPublicKey(publicKey: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}

function keyText(key: Uint8Array): string {
  return Buffer.concat([Uint8Array.of(ED25519_TYPE), key]).toString("base64");
}

/** `name+keyId+base64` taken apart. Base64 may hold plus signs, names may not. */
function keyParts(
  text: string,
): { readonly name: string; readonly keyId: string; readonly key: Uint8Array } | undefined {
  const [, name, keyId, base64] = /^([^\s+]+)\+([0-9a-f]{8})\+(.+)$/u.exec(text) ?? [];
  const bytes = base64 === undefined ? undefined : fromBase64(base64);
  if (name === undefined || keyId === undefined || !isKeyName(name)) return undefined;
  if (bytes?.length !== 1 + KEY_BYTES || bytes[0] !== ED25519_TYPE) return undefined;
  return { name, keyId, key: bytes.subarray(1) };
}

function isKeyName(name: string): boolean {
  return (
    name.length > 0 &&
    name.length <= LIMITS.keyNameChars &&
    name.isWellFormed() &&
    !/[\s+]/u.test(name) &&
    !hasControls(name)
  );
}

function checkKeyName(name: string): void {
  if (isKeyName(name)) return;
  throw new HeadwaterError("BadName", `not a name that a key can have: ${JSON.stringify(short(name))}`, {
    hint: `Use 1 to ${LIMITS.keyNameChars} characters without spaces and plus signs, such as "example.com/audit".`,
  });
}

/** Control characters other than line ends. */
function hasControls(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 && code !== 0x0a) return true;
  }
  return false;
}

function short(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function badNote(message: string): HeadwaterError {
  return new HeadwaterError("BadInput", `not a signed note: ${message}`, {
    hint: "The file may have been cut or edited.",
  });
}
