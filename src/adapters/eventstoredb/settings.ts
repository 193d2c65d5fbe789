import type { StreamMetadata } from "../../ports/event-log.ts";
import { NO_REVISION } from "./events.ts";

/** What the server keeps about a stream, and where. */
export interface StreamSettings extends StreamMetadata {
  /** Deleted, and not written since. */
  readonly deleted: boolean;
  /** Of the event that holds the settings; −1 if there are none. */
  readonly revision: number;
  /** Everything in it, also what others have put there. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** The stream of a stream's settings. */
export function settingsStream(serverName: string): string {
  return `$$${serverName}`;
}

export const NO_SETTINGS: StreamSettings = { deleted: false, revision: -1, raw: {} };

/** Reads settings as the server writes them. What does not parse sets nothing, as for the server. */
export function readSettings(data: Uint8Array, revision: number): StreamSettings {
  const raw = parseObject(Buffer.from(data).toString());
  const number = (key: string) => (typeof raw[key] === "number" ? raw[key] : undefined);
  const before = number("$tb");
  const maxCount = number("$maxCount");
  const maxAgeSeconds = number("$maxAge");
  const deleted = before !== undefined && before >= NO_REVISION;
  return {
    revision,
    raw,
    deleted,
    ...(before !== undefined && before > 0 && !deleted && { truncateBefore: before }),
    ...(maxCount !== undefined && { maxCount }),
    ...(maxAgeSeconds !== undefined && { maxAgeSeconds }),
  };
}

/** The settings of `metadata`, with what others have put beside them. */
export function writeSettings(before: StreamSettings, metadata: StreamMetadata): Uint8Array {
  const { $tb, $maxCount, $maxAge, ...others } = before.raw;
  const { truncateBefore, maxCount, maxAgeSeconds } = metadata;
  const settings = {
    ...others,
    ...(truncateBefore !== undefined && { $tb: truncateBefore }),
    ...(maxCount !== undefined && { $maxCount: maxCount }),
    ...(maxAgeSeconds !== undefined && { $maxAge: maxAgeSeconds }),
  };
  return Buffer.from(JSON.stringify(settings));
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
