import type { Clock } from "../ports/clock.ts";
import type { Append, Appended } from "../ports/event-log.ts";
import { type Activity, Pressure } from "./pressure.ts";
import { ProgressBoard, type Totals } from "./progress-board.ts";
import type { FromNode, ToldQuarantine } from "./thread-messages.ts";

/** What is told before it begins: who works may block the thread, and would be held for what it was before. */
const AT_ONCE: ReadonlySet<Activity["kind"]> = new Set<Activity["kind"]>(["working", "log"]);

/** The board of the units in a thread: what they report is told to the board of the process, a little later. */
export class ToldBoard extends ProgressBoard {
  readonly #clock: Clock;
  readonly #tell: (message: FromNode) => void;
  readonly #through = new Map<string, number>();
  readonly #recorded = new Map<string, number>();
  readonly #late = new Map<string, number>();
  readonly #retries = new Map<string, number>();
  readonly #activities = new Map<string, Activity | undefined>();
  override readonly pressure = new ToldPressure((unit, activity) => {
    if (activity !== undefined && AT_ONCE.has(activity.kind)) {
      this.#activities.delete(unit);
      this.#tell({ kind: "activity", unit, activity });
    } else {
      this.#activities.set(unit, activity);
      this.#tellSoon();
    }
  });
  #quarantined: ToldQuarantine[] = [];
  readonly #told: Totals = { ...this.totals };
  #due = false;

  constructor(clock: Clock, tell: (message: FromNode) => void) {
    super();
    this.#clock = clock;
    this.#tell = tell;
  }

  override report(unit: string, through: number): void {
    super.report(unit, through);
    this.#through.set(unit, through);
    this.#tellSoon();
  }

  override cameLate(stage: string, records: number): void {
    super.cameLate(stage, records);
    if (records > 0) this.#late.set(stage, records + (this.#late.get(stage) ?? 0));
  }

  override reportRetries(unit: string, taken: number): void {
    super.reportRetries(unit, taken);
    this.#retries.set(unit, taken);
    this.#tellSoon();
  }

  /** Told at once: it has to be known before the record is there. */
  override reportPutBack(ordinal: number): void {
    super.reportPutBack(ordinal);
    this.#tell({ kind: "putBack", ordinal });
  }

  quarantined(record: ToldQuarantine): void {
    this.#quarantined.push(record);
    this.#tellSoon();
  }

  /** What a unit reports by the end of this turn follows from these appends and those before. */
  recorded(appends: readonly Append[], answers: readonly Appended[]): void {
    const stream = appends.at(-1)?.stream;
    const revision = answers.at(-1)?.revision;
    if (stream === undefined || revision === undefined) return;
    this.#recorded.set(stream, revision);
    this.#tellSoon();
  }

  #tellSoon(): void {
    if (this.#due) return;
    this.#due = true;
    this.#clock.setTimeout(() => {
      this.#due = false;
      this.#tell({
        kind: "progress",
        through: [...this.#through],
        recorded: [...this.#recorded],
        totals: this.#since(),
        late: [...this.#late],
        quarantined: this.#quarantined,
        retries: [...this.#retries],
        activities: [...this.#activities],
      });
      this.#quarantined = [];
      for (const told of [this.#through, this.#recorded, this.#late, this.#retries, this.#activities]) {
        told.clear();
      }
    }, 0);
  }

  /** How much the totals have risen since they were told. */
  #since(): Partial<Totals> {
    const risen: Partial<Totals> = {};
    for (const name of Object.keys(this.totals) as (keyof Totals)[]) {
      // Those that came late have their own names.
      if (name !== "late" && this.totals[name] !== this.#told[name]) {
        risen[name] = this.totals[name] - this.#told[name];
      }
      this.#told[name] = this.totals[name];
    }
    return risen;
  }
}

/** Who holds back whom is found out where all units are known: here it is only told what they are doing. */
class ToldPressure extends Pressure {
  readonly #told: (unit: string, activity: Activity | undefined) => void;

  constructor(told: (unit: string, activity: Activity | undefined) => void) {
    super(() => false);
    this.#told = told;
  }

  override enters(unit: string, activity: Activity): void {
    this.#told(unit, activity);
  }

  /** What a thread computes keeps no door. */
  override computed(): void {}

  override leaves(unit: string): void {
    this.#told(unit, undefined);
  }
}
