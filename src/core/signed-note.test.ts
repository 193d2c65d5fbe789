import { generateKeyPairSync, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { formatCheckpoint, parseCheckpoint } from "./checkpoint.ts";
import { isHeadwaterError } from "./errors.ts";
import { noteSigner, parseNote, parseSigner, parseVerifier, signNote, verifyNote } from "./signed-note.ts";

/** Keys and notes of the documentation of golang.org/x/mod/sumdb/note. */
const PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const BY_PETER =
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const BY_ENOCH =
  "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

const code = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (isHeadwaterError(error)) return error.code;
    throw error;
  }
  return "none";
};

describe("keys", () => {
  it("are written as other programs write them", () => {
    const signer = parseSigner(PRIVATE);
    expect(signer.privateKey).toBe(PRIVATE);
    expect(signer.verifier.verifierKey).toBe(PETER);
    expect(parseVerifier(PETER)).toMatchObject({ name: "PeterNeumann", keyId: "c74f20a3" });
    expect(parseVerifier(ENOCH).verifierKey).toBe(ENOCH);
  });

  it("are refused when a part is missing or a character is another", () => {
    for (const [text, parse] of [
      [PRIVATE, parseSigner],
      [PETER, parseVerifier],
    ] as const) {
      for (let at = 0; at < text.length; at++) {
        const other = text[at] === "A" ? "B" : "A";
        expect(code(() => parse(text.slice(0, at) + other + text.slice(at + 1)))).toBe("BadInput");
        expect(code(() => parse(text.slice(at + 1)))).toBe("BadInput");
        expect(code(() => parse(text.slice(0, at)))).toBe("BadInput");
      }
    }
    // Ids that fit, but a key that is too long and a type that is not known.
    expect(
      code(() => parseVerifier("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==")),
    ).toBe("BadInput");
    expect(
      code(() => parseVerifier("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")),
    ).toBe("BadInput");
  });

  it("do not show a private key in an error", () => {
    for (const parse of [parseSigner, parseVerifier]) {
      try {
        parse(`${PRIVATE}x`);
        expect.unreachable();
      } catch (error) {
        expect(JSON.stringify(error) + String(error)).not.toContain("AYEKFALVFGyNhPJEMzD1QIDr");
      }
    }
  });

  it.each(["", "a b", "a+b", "a\u2003b", "a\nb", "a\u0001b", "\ud800", "x".repeat(257)])(
    "cannot be named %j",
    (name) => {
      expect(code(() => noteSigner(name, new Uint8Array(32)))).toBe("BadName");
    },
  );

  it("of this program sign what node:crypto verifies by itself", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const seed = privateKey.export({ format: "der", type: "pkcs8" }).subarray(-32);
    const signature = noteSigner("example.com/ä", seed).sign("über\n");
    expect(verify(null, Buffer.from("über\n"), publicKey, signature)).toBe(true);
  });
});

describe("notes", () => {
  const signer = parseSigner(PRIVATE);
  const peter = parseVerifier(PETER);
  const enoch = parseVerifier(ENOCH);

  it("are signed as other programs sign them", () => {
    expect(signNote(TEXT, [signer])).toBe(`${TEXT}\n${BY_PETER}`);
  });

  it("are true when a known key has signed them", () => {
    const note = `${TEXT}\n${BY_PETER}${BY_ENOCH}`;
    expect(verifyNote(note, [peter])).toEqual({ kind: "signed", text: TEXT, by: [peter] });
    expect(verifyNote(note, [enoch, peter])).toEqual({ kind: "signed", text: TEXT, by: [peter, enoch] });
    expect(verifyNote(note, [])).toEqual({ kind: "unknown", names: ["PeterNeumann", "EnochRoot"] });
  });

  it("of the specification are true", () => {
    const foo = parseVerifier("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
    const signed =
      "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    expect(verifyNote(`This is an example message.\n\n${signed}`, [foo]).kind).toBe("signed");
    expect(verifyNote(`This is an Example message.\n\n${signed}`, [foo]).kind).toBe("forged");
  });

  it("with a wrong signature of a known key are forged, whoever else has signed", () => {
    const note = `${TEXT}\n${BY_PETER}${BY_ENOCH.replace("zmZa", "zmZb")}`;
    expect(verifyNote(note, [peter, enoch])).toEqual({ kind: "forged", by: enoch });
    expect(verifyNote(note, [peter]).kind).toBe("signed");
  });

  it("may hold empty lines", () => {
    const note = signNote("a\n\nb\n", [signer]);
    expect(verifyNote(note, [peter])).toMatchObject({ kind: "signed", text: "a\n\nb\n" });
  });

  it.each([
    ["nothing", ""],
    ["no empty line", `a\n${BY_PETER}`],
    ["no line end", `${TEXT}\n${BY_PETER.trimEnd()}`],
    ["no signature", `${TEXT}\n`],
    ["a hyphen for a dash", `${TEXT}\n${BY_PETER.replace("—", "-")}`],
    ["a tab", `a\tb\n\n${BY_PETER}`],
    ["a carriage return", `a\r\n\n${BY_PETER}`],
    ["base64 that is cut", `${TEXT}\n${BY_PETER.replace("nAM=", "nAM")}`],
    ["a signature of four bytes", `${TEXT}\n— a AAAAAA==\n`],
    ["too many signatures", `${TEXT}\n${BY_PETER.repeat(65)}`],
    ["too much of it", `${"a".repeat(70_000)}\n\n${BY_PETER}`],
  ])("are not: %s", (_, note) => {
    expect(code(() => parseNote(note))).toBe("BadInput");
  });

  it("are not signed without a line end", () => {
    expect(code(() => signNote("a", [signer]))).toBe("BadInput");
  });
});

describe("checkpoints", () => {
  const text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

  it("are read and written as the specification has them", () => {
    const checkpoint = parseCheckpoint(text);
    expect(checkpoint).toMatchObject({ origin: "example.com/behind-the-sofa", size: 20_852_163 });
    expect(formatCheckpoint(checkpoint)).toBe(text);
    expect(parseCheckpoint(`${text}something more\n`)).toEqual(checkpoint);
  });

  it.each([
    text.replace("20852163", "020852163"),
    text.replace("20852163", "-1"),
    text.replace("20852163", "9007199254740992"),
    text.replace("q2I=", "q2J="),
    text.replace("CsUY", ""),
    text.slice(text.indexOf("\n")),
    "",
  ])("are not: %j", (broken) => {
    expect(code(() => parseCheckpoint(broken))).toBe("BadInput");
  });
});
