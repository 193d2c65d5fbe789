import { readFileSync } from "node:fs";
import type { RuntimeVersions } from "./deployment.ts";

/** Of the program and what it runs on: what may change the result of the same code. */
export function runtimeVersions(): RuntimeVersions {
  const { timeZone, locale } = Intl.DateTimeFormat().resolvedOptions();
  return {
    headwater: ownVersion(),
    node: process.versions.node,
    v8: process.versions.v8,
    icu: process.versions["icu"] ?? "none",
    ...{ timeZone, locale },
  };
}

/** The version in package.json, which is beside `src` in a checkout and beside `dist` when installed. */
function ownVersion(): string {
  for (const above of ["../../package.json", "../../../package.json"]) {
    try {
      const text = readFileSync(new URL(above, import.meta.url), "utf8");
      const { name, version } = JSON.parse(text) as { name?: string; version?: string };
      if (name === "headwater" && version !== undefined) return version;
    } catch {
      // Not there: the other place.
    }
  }
  return "unknown";
}
