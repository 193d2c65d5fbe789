import { resolve } from "node:path";
import { HeadwaterError } from "../core/errors.ts";
import type { DeployedFork, DeployedOutput } from "../core/events.ts";
import { durationMs } from "../pipeline/duration.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Surroundings } from "../runtime/compose.ts";
import { sinkHistory } from "../runtime/sink-history.ts";
import type { SinkTarget } from "../runtime/sink-target.ts";
import { CountTarget, StdoutTarget } from "../runtime/sink-targets.ts";
import { mustKnow } from "./pipeline-name.ts";
import { checkOutputPaths, checkOutputs, isAddress, mustWriteApart, STDIO } from "./run-outputs.ts";
import { boundTarget } from "./sink-bindings.ts";
import { given, mustBind } from "./start-options.ts";
import type { SinkBinding } from "./start-types.ts";
import type { ForkRequest } from "./what-if-types.ts";

/** Where a sink of a fork writes to: what a program may bind to one, or standard output. */
export type ForkBinding = SinkBinding | typeof STDIO;

/** Where sinks are asked to write to. Throws `BadUsage` for a binding, a path or a rotation that is none. */
export async function askedOutputs({
  outputs = new Map(),
  rotations,
  sinks,
}: Pick<ForkRequest, "outputs" | "rotations" | "sinks">): Promise<ReadonlyMap<string, ForkBinding>> {
  await checkOutputPaths({ outputs, ...(rotations !== undefined && { rotations }) });
  const asked = new Map<string, ForkBinding>();
  for (const [sink, output] of outputs) {
    const rotate = rotations?.get(sink) ?? rotations?.get("");
    if (output === STDIO) asked.set(sink, STDIO);
    else if (isAddress(output)) asked.set(sink, { url: output });
    else asked.set(sink, { file: output, ...(rotate !== undefined && { rotate }) });
  }
  for (const [sink, binding] of Object.entries(given(sinks, "sinks"))) {
    if (typeof binding !== "function") mustBind(`sinks.${sink}`, binding);
    if (!asked.has(sink)) asked.set(sink, binding);
    else {
      throw new HeadwaterError("BadUsage", "a sink has one output, and this one is given two", {
        where: sink,
        hint: "Name it in outputs or in sinks.",
      });
    }
  }
  return asked;
}

/** What the log is to know of outputs, so that who goes on with the fork writes there, too. */
export function rememberedOutputs(outputs: ReadonlyMap<string, ForkBinding>): readonly DeployedOutput[] {
  return [...outputs].map(([sink, binding]) => ({ sink, ...remembered(binding) }));
}

function remembered(binding: ForkBinding): Omit<DeployedOutput, "sink"> {
  if (binding === STDIO) return { to: "stdout" };
  if (typeof binding === "function" || "batch" in binding) return { to: "function" };
  if ("file" in binding) {
    const { file, rotate } = binding;
    return { to: "file", at: resolve(file), ...(rotate !== undefined && { rotate }) };
  }
  const { url: address, headers = {}, timeout } = binding;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || `${url.username}${url.password}` !== "" || Object.keys(headers).length > 0)
    return { to: "private" };
  return {
    to: "receiver",
    at: url.href,
    ...(timeout !== undefined && { timeoutMs: durationMs(timeout, "the timeout", address, 1) }),
  };
}

/**
 * Where the sinks of a fork that is gone on with write to: where it is `asked` for now, else where it was when it was
 * begun. Throws `BadUsage` where that is not known any more, of a sink that has not handed out everything.
 */
export async function outputsAgain(
  log: EventLog,
  name: string,
  fork: DeployedFork,
  asked: ReadonlyMap<string, ForkBinding>,
): Promise<ReadonlyMap<string, ForkBinding>> {
  const outputs = new Map<string, ForkBinding>();
  for (const output of fork.outputs ?? []) {
    if (asked.has(output.sink)) continue;
    const binding = bindingOf(output);
    if (binding !== undefined) outputs.set(output.sink, binding);
    else if (!(await handedOut(log, name, output.sink, fork.to))) throw notRemembered(name, output);
  }
  return new Map([...outputs, ...asked]);
}

function bindingOf({ to, at, rotate, timeoutMs }: DeployedOutput): ForkBinding | undefined {
  if (at === undefined) return undefined;
  if (to === "file") return { file: at, ...(rotate !== undefined && { rotate }) };
  return { url: at, ...(timeoutMs !== undefined && { timeout: `${timeoutMs}ms` }) };
}

async function handedOut(log: EventLog, name: string, sink: string, to: number): Promise<boolean> {
  const history = await sinkHistory(log, name, sink, new CountTarget());
  return history !== undefined && history.place.through >= to;
}

const FORGOTTEN: Readonly<Record<DeployedOutput["to"], string>> = {
  file: "a file",
  receiver: "a receiver",
  private: "a receiver with a password or headers, which the log does not keep",
  function: "a function of the program that began it, which the log cannot keep",
  stdout: "standard output",
};

function notRemembered(name: string, { sink, to }: DeployedOutput): HeadwaterError {
  return new HeadwaterError("BadUsage", `the sink ${sink} was to write to ${FORGOTTEN[to]}: name it again`, {
    where: `replay ${name}`,
    hint:
      to === "stdout"
        ? `Add --output ${sink}=-, or name a file or a receiver: it goes on where it was.`
        : `Add --output ${sink}=FILE or an address, or in a program resumeReplay with sinks: { ${JSON.stringify(sink)}: … }.`,
  });
}

/** Makes what the sinks of a fork write to. Throws `UnknownSink`, `BadUsage`, and what {@link checkOutputs} throws. */
export async function openForkTargets(
  surroundings: Surroundings,
  log: EventLog,
  plan: Plan,
  outputs: ReadonlyMap<string, ForkBinding>,
): Promise<Map<string, SinkTarget>> {
  mustKnow("UnknownSink", "sink", plan.definition, outputs, plan.definition.sinks);
  await checkOutputPaths({ outputs: pathsOf(outputs) });
  const targets = new Map(
    [...outputs].map(([sink, binding]) => [
      sink,
      binding === STDIO ? new StdoutTarget(surroundings.files) : boundTarget(sink, binding, surroundings),
    ]),
  );
  await mustWriteApart(targets);
  await checkOutputs(surroundings, log, plan, targets);
  return targets;
}

/** The files and addresses among outputs. */
function pathsOf(outputs: ReadonlyMap<string, ForkBinding>): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  for (const [sink, binding] of outputs) {
    if (binding === STDIO || typeof binding === "function" || "batch" in binding) continue;
    paths.set(sink, "file" in binding ? binding.file : binding.url);
  }
  return paths;
}
