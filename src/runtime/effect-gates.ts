/** Calls of one effect: how many are under way, and who waits for one to end. */
interface Gate {
  underWay: number;
  readonly waiting: Set<() => void>;
}

/**
 * Bounds the calls that are under way, effect by effect: shared by all partitions of a process, first come, first
 * served. A gate that nobody uses is forgotten, so that names may be anything.
 */
export class EffectGates {
  readonly #gates = new Map<string, Gate>();

  /**
   * Resolves when a call may begin, which then has to {@link leave}. Resolves with `false`, and the call may not begin,
   * when `signal` aborts before.
   */
  async enter(id: string, most: number, signal: AbortSignal): Promise<boolean> {
    let gate = this.#gates.get(id);
    if (gate === undefined) {
      gate = { underWay: 0, waiting: new Set() };
      this.#gates.set(id, gate);
    }
    if (signal.aborted) return false;
    if (gate.underWay < most && gate.waiting.size === 0) {
      gate.underWay++;
      return true;
    }
    const { waiting } = gate;
    return new Promise((resolve) => {
      const admit = () => {
        signal.removeEventListener("abort", giveUp);
        resolve(true);
      };
      const giveUp = () => {
        waiting.delete(admit);
        resolve(false);
      };
      waiting.add(admit);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  /** A call has ended: the one that has waited longest begins. */
  leave(id: string): void {
    const gate = this.#gates.get(id);
    if (gate === undefined) return;
    const [next] = gate.waiting;
    if (next === undefined) {
      gate.underWay--;
      if (gate.underWay === 0) this.#gates.delete(id);
      return;
    }
    gate.waiting.delete(next);
    next();
  }
}
