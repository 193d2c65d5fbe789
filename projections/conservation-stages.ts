import { decodeDeltas, decodeRuns } from "../src/core/columns.ts";
import type { StageColumns, StepsRecorded, TypedEvent } from "../src/core/events.ts";
import { type AuditedEvent, fail } from "./audit.ts";
import { addTo, type ConservationState, eventAddress } from "./conservation-state.ts";
import { SEGMENT_INPUTS, type StepRows, sectionsOf, stepRowsOf } from "./step-rows.ts";
import type { Reader } from "./topology.ts";

/** What goes into a stage comes out, or is said to have come to an end; whatever leaves goes to one partition. */
export function checkEnds(
  state: ConservationState,
  item: AuditedEvent,
  event: StepsRecorded,
  reader: Reader | undefined,
): void {
  const rows = stepRowsOf(event);
  let failed = 0;
  for (const [at, columns] of (event.stages ?? []).entries()) {
    const ends = endsOf(columns, rows);
    const { late, failures, inputs, results } = ends;
    const fault = faultOf(ends, event, rows, columns, reader?.kinds[at]);
    if (fault !== undefined) {
      const origins = rows.rowsAhead(columns.input, SEGMENT_INPUTS);
      const n = event.first + (origins?.[fault.row] ?? fault.row);
      fail(state, `${item.stream}@${n}`, fault.code, fault.message);
    }
    failed += failures.length;
    addTo(state, item.stream, "steps", inputs);
    addTo(state, item.stream, "late", late.length);
    const nothing = results?.reduce((sum, count) => (count === 0 ? sum + 1 : sum), 0) ?? 0;
    const timed = columns.members !== undefined || columns.membersIn !== undefined || late.length > 0;
    const ended = nothing - late.length - failures.length;
    if (at === 0 && (timed || rows.inputs.firings.size > 0)) addTo(state, item.stream, "aggregated", ended);
    else if (columns.digests === undefined && columns.select === undefined)
      addTo(state, item.stream, "filtered", ended);
  }
  for (const outlet of event.outlets ?? []) sectionsOf(outlet.sections, rows.count(outlet.stage));
  // What comes back for a stage that is not there any more stays in quarantine.
  if (event.entry !== undefined && reader?.stages.includes(event.entry) === false) failed = event.count;
  addTo(state, item.stream, "quarantined", failed);
  checkQuarantine(state, item, event, failed);
}

/** What becomes of the rows that a stage is given, as far as they do not just have results. */
interface Ends {
  readonly inputs: number;
  readonly results: readonly number[] | undefined;
  readonly late: readonly number[];
  readonly failures: readonly number[];
}

function endsOf(columns: StageColumns, rows: StepRows): Ends {
  const inputs = rows.count(columns.input);
  return {
    inputs,
    results: columns.results && decodeRuns(columns.results, inputs),
    late: columns.late === undefined ? [] : decodeDeltas(columns.late),
    failures: columns.failed === undefined ? [] : decodeDeltas(columns.failed),
  };
}

interface EndFault {
  readonly row: number;
  readonly code: "TwoEnds" | "NotLetThrough";
  readonly message: string;
}

function faultOf(
  { results, late, failures }: Ends,
  event: StepsRecorded,
  rows: StepRows,
  columns: StageColumns,
  kind: string | undefined,
): EndFault | undefined {
  const ended = new Set<number>();
  const twice = [...late, ...failures].find(
    (row) => results?.[row] !== 0 || ended.size === ended.add(row).size,
  );
  if (twice !== undefined) {
    const message = "a record that failed, or was late, has results as well, or comes to that end twice";
    return { row: twice, code: "TwoEnds", message };
  }
  const passes = passing(event, rows, columns, kind);
  if (passes === undefined) return undefined;
  const count = rows.count(columns.input);
  for (let row = 0; row < count; row++) {
    if ((results?.[row] ?? 1) === (passes(row) ? 1 : 0)) continue;
    const message = `stage ${columns.select ?? kind} lets through what is not its own, or keeps back what is`;
    return { row, code: "NotLetThrough", message };
  }
  return undefined;
}

/** Of stages that choose by what a stage ahead has said of rows: whether they let a row through. */
function passing(
  event: StepsRecorded,
  rows: StepRows,
  { input, select }: StageColumns,
  kind: string | undefined,
): ((row: number) => boolean) | undefined {
  if (kind === "late" && input === SEGMENT_INPUTS) {
    const late = event.stages?.[0]?.late;
    const named = new Set(late === undefined ? [] : decodeDeltas(late));
    return (row) => named.has(row);
  }
  if (select === undefined || input === SEGMENT_INPUTS) return undefined;
  const { labels, label } = rows.stage(input);
  if (labels === undefined) return undefined;
  const of = label === undefined ? undefined : decodeRuns(label, rows.count(input));
  return (row) => labels[of?.[row] ?? 0] === select;
}

/** Whatever failed is in quarantine, and nothing else. */
function checkQuarantine(
  state: ConservationState,
  item: AuditedEvent,
  event: StepsRecorded,
  failed: number,
): void {
  if (event.quarantine === undefined) {
    if (failed === 0) return;
    fail(state, eventAddress(item), "Missing", "records failed, and are not in quarantine");
    return;
  }
  const found = state.beside.take(item.stream, "quarantine", event.quarantine);
  if (found === "gone") return;
  const records = found === "missing" ? [] : found.flatMap(quarantinedIn);
  if (records.length !== failed) {
    const message = `${failed} records failed, and ${records.length} are in quarantine`;
    fail(state, eventAddress(item), "BadCount", message);
  }
  const lost = records.find(({ code }) => code === "NodeLost" || code === "Withdrawn");
  if (lost !== undefined && event.count !== 1) {
    const message = "its stage is said not to have been called, and others were taken together with it";
    fail(state, `${item.stream}@${lost.n}`, "NotAlone", message);
  }
}

function quarantinedIn({ type, data }: TypedEvent) {
  return type === "RecordsQuarantined" ? data.records : [];
}
