/**
 * How a `--log` may be shown: without the user and password that a connection string may hold. What has an "@" and
 * is none is not shown at all.
 */
export function withoutCredentials(spec: string): string {
  if (!spec.includes("@")) return spec;
  const parts = /^(esdb(?:\+discover)?:\/\/)[^/?#]*@([^@]*)$/i.exec(spec);
  return parts === null ? "…" : `${parts[1]}${parts[2]}`;
}
