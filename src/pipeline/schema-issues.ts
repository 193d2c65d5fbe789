import type { StandardSchemaV1 } from "@standard-schema/spec";

/** The first of a schema's complaints, how many more there are, and the path that it is about. */
export function describeIssues(issues: readonly StandardSchemaV1.Issue[]): {
  readonly message: string;
  /** As people write it, `$` being the value itself. */
  readonly path: string;
} {
  const [first] = issues;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  return {
    message: `${first?.message ?? "the schema refuses it"}${more}`,
    path: formatIssuePath(first?.path),
  };
}

function formatIssuePath(path: StandardSchemaV1.Issue["path"]): string {
  let text = "$";
  for (const step of path ?? []) {
    const key = typeof step === "object" ? step.key : step;
    text += typeof key === "number" ? `[${key}]` : `.${String(key)}`;
  }
  return text;
}
