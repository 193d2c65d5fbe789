import type { Lineage, LineageVertex } from "../app/lineage-types.ts";
import { jsonable, onOneLine, shortJson } from "./format.ts";

/** Characters of a value, and digits of a digest, that are shown in a line. */
const VALUE_CHARS = 120;
const DIGEST_DIGITS = 12;

/** How lineage is written. */
export const LINEAGE_FORMATS = ["text", "json", "dot", "mermaid"] as const;
export type LineageFormat = (typeof LINEAGE_FORMATS)[number];

/** Shows parts of a text as less, or more, important; what it is given is written as {@link onOneLine} has it. */
export interface Emphasis {
  dim(text: string): string;
  bold(text: string): string;
}

/**
 * For people: a record, and below it what it was made of (or what it went into). Records with one neighbour follow
 * each other at the left; several are indented, and what was told already is only named.
 */
export function* lineageLines(
  { vertices, edges }: Lineage,
  forward: boolean,
  { dim, bold }: Emphasis,
): Generator<string> {
  const byAddress = new Map(vertices.map((vertex) => [vertex.address, vertex]));
  const neighbours = new Map<string, string[]>();
  for (const { from, to } of edges) {
    const [of, other] = forward ? [from, to] : [to, from];
    const others = neighbours.get(of);
    if (others === undefined) neighbours.set(of, [other]);
    else others.push(other);
  }
  const told = new Set<string>();
  const [first] = vertices;
  // The next one to tell is last. A way may be thousands of steps long, so this is no recursion.
  const open = first === undefined ? [] : [{ address: first.address, indent: 0 }];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const space = "  ".repeat(at.indent);
    const vertex = byAddress.get(at.address);
    if (vertex === undefined) {
      yield `${space}${onOneLine(at.address)} ${dim("(further on)")}`;
      continue;
    }
    if (told.has(at.address)) {
      yield `${space}${onOneLine(at.address)} ${dim("(told above)")}`;
      continue;
    }
    told.add(at.address);
    const what = [whatOf(vertex), valueText(vertex)].filter(Boolean).join("  ");
    yield `${space}${bold(vertex.address)}  ${onOneLine(what)}`;
    const about = factsOf(vertex);
    if (about !== "") yield `${space}  ${dim(about)}`;
    if (vertex.reason !== null) yield `${space}  ${onOneLine(vertex.reason)}`;
    const next = neighbours.get(at.address) ?? [];
    // A reduce's result before goes on at the left, so that a long history of a key stays readable.
    const stays = next.length === 1 ? 0 : vertex.kind === "reduce" && !forward ? next.length - 1 : -1;
    const steps = next.map((address, index) => ({
      address,
      indent: index === stays ? at.indent : at.indent + 1,
    }));
    open.push(...steps.reverse());
  }
}

/** Graphviz: https://graphviz.org/doc/info/lang.html. */
export function* lineageDot({ vertices, edges }: Lineage): Generator<string> {
  const quoted = (text: string) => `"${onOneLine(text).replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  // In what is shown, Graphviz reads entities of HTML.
  const shown = (text: string) => quoted(text.replaceAll("&", "&amp;")).slice(1, -1);
  yield "digraph lineage {";
  yield "  rankdir=LR;";
  yield '  node [shape=box, fontname="monospace"];';
  for (const vertex of vertices) {
    const label = labelOf(vertex).map(shown);
    yield `  ${quoted(vertex.address)} [label="${label.join("\\n")}"${vertex.kind === "gone" ? ", style=dashed" : ""}];`;
  }
  for (const { from, to } of edges) yield `  ${quoted(from)} -> ${quoted(to)};`;
  yield "}";
}

/** Mermaid: https://mermaid.js.org/syntax/flowchart.html. */
export function* lineageMermaid({ vertices, edges }: Lineage): Generator<string> {
  const ids = new Map<string, string>();
  const idOf = (address: string) => {
    const id = ids.get(address) ?? `r${ids.size}`;
    ids.set(address, id);
    return id;
  };
  // What Mermaid would read as its own syntax is written as the numbers of characters.
  const escaped = (text: string) =>
    onOneLine(text).replace(/[^\w .,:/@+-]/gu, (char) => `#${char.codePointAt(0)};`);
  yield "flowchart LR";
  for (const vertex of vertices) {
    yield `  ${idOf(vertex.address)}["${labelOf(vertex).map(escaped).join("<br/>")}"]`;
  }
  for (const { from, to } of edges) yield `  ${idOf(from)} --> ${idOf(to)}`;
}

/** For programs: times as ISO 8601 text, and no fields that only say whether others count. */
export function lineageJson({ value, vertices, ...rest }: Lineage): unknown {
  const { record, recomputed, complete, cut, edges } = rest;
  return {
    record,
    value: jsonable(value, false),
    recomputed,
    complete,
    cut,
    vertices: vertices.map(({ hasValue: _, lost: __, time, eventTime, value: own, ...vertex }) => ({
      ...vertex,
      time: time === null ? null : isoTime(time),
      eventTime: eventTime === null ? null : isoTime(eventTime),
      value: jsonable(own, false),
    })),
    edges,
  };
}

/** What a node of a graph says, line by line: as the text, without what is dim there. */
function labelOf(vertex: LineageVertex): string[] {
  const value = valueText(vertex);
  const { address, reason } = vertex;
  return [address, whatOf(vertex), ...(value === "" ? [] : [value]), ...(reason === null ? [] : [reason])];
}

function whatOf({ kind, stage, label, firing, members, id }: LineageVertex): string {
  const notes = [
    ...(label === null ? [] : [`to ${label}`]),
    ...(firing === null ? [] : [firing]),
    ...(members === null ? [] : [`of ${members} ${members === 1 ? "record" : "records"}`]),
    ...(id === null ? [] : [`id ${id}`]),
  ];
  const name = stage === null || kind === "gone" ? kind : `${kind} ${stage}`;
  return notes.length === 0 ? name : `${name} (${notes.join(", ")})`;
}

function valueText({ hasValue, value, recomputed }: LineageVertex): string {
  if (!hasValue) return "";
  const text = shortJson(value);
  const short = text.length <= VALUE_CHARS ? text : `${text.slice(0, VALUE_CHARS)}…`;
  return recomputed ? `${short} (made again)` : short;
}

function factsOf(vertex: LineageVertex): string {
  const { before, after, function: made, version, node, time, eventTime, input } = vertex;
  const digests = [before, after].map((digest) => digest?.slice(0, DIGEST_DIGITS));
  const change =
    digests[0] === undefined ? digests[1] : digests[0] === digests[1] ? digests[1] : digests.join(" → ");
  return [
    ...(change === undefined ? [] : [change]),
    ...(version === null ? [] : [`version ${version}`]),
    ...(made === null ? [] : [`function ${made.slice(0, DIGEST_DIGITS)}`]),
    ...(node === null ? [] : [node]),
    ...(time === null ? [] : [isoTime(time)]),
    ...(eventTime === null ? [] : [`event time ${isoTime(eventTime)}`]),
    ...(input === null ? [] : [`from ${input}`]),
  ].join(", ");
}

function isoTime(time: number): string {
  return Number.isNaN(new Date(time).getTime()) ? `${time} ms` : new Date(time).toISOString();
}
