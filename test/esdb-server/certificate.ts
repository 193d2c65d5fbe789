import { generate } from "selfsigned";

/** A certificate for the name `localhost`, signed by itself, and its key; PEM. */
export async function makeCertificate(): Promise<{ readonly certificate: string; readonly key: string }> {
  const made = await generate([{ name: "commonName", value: "localhost" }], {
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: true },
      { name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] },
    ],
  });
  return { certificate: made.cert, key: made.private };
}
