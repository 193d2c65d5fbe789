import { encodeCanonical } from "./canonical.ts";
import { sha256 } from "./digest.ts";
import type { PipelineDeployed } from "./events.ts";

/** What makes a deployment what it is: see PipelineDeployed in docs/format.md. */
export type DeployedContent = Pick<
  PipelineDeployed,
  "code" | "sources" | "stages" | "sinks" | "partitions" | "parameters" | "provenance"
>;

/** The identity of a deployment with this content, 32 bytes. */
export function deploymentIdentity(content: DeployedContent): Uint8Array {
  const { code, sources, stages, sinks, partitions, parameters, provenance } = content;
  const identity = [code ?? null, sources, stages, sinks, partitions, parameters, provenance];
  return sha256(encodeCanonical(identity, Number.MAX_SAFE_INTEGER));
}
