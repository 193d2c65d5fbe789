import { generate } from "selfsigned";

/** A certificate for `name`, signed by itself, and its key; PEM. */
export async function makeCertificate(
  name = "localhost",
): Promise<{ readonly certificate: string; readonly key: string }> {
  const made = await generate([{ name: "commonName", value: name }], {
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: true },
      { name: "subjectAltName", altNames: [{ type: 2, value: name }] },
    ],
  });
  return { certificate: made.cert, key: made.private };
}
