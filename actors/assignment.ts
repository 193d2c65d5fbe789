/** Which node owns each unit. */
export type Ownership = Readonly<Record<string, string>>;

/**
 * Spreads units evenly over nodes and moves as few as it can: a unit stays with its node while that lives and has
 * no more than its share. Nodes and units are taken in the order of their names, so that the same facts give the
 * same answer.
 */
export function planOwnership(
  units: readonly string[],
  nodes: readonly string[],
  before: Ownership,
): Ownership {
  const alive = [...nodes].sort();
  if (alive.length === 0) return {};
  const share = Math.ceil(units.length / alive.length);
  const load = new Map(alive.map((node) => [node, 0]));
  const owners: Record<string, string> = {};
  const homeless: string[] = [];
  for (const unit of [...units].sort()) {
    const owner = before[unit];
    const has = owner === undefined ? undefined : load.get(owner);
    if (owner === undefined || has === undefined || has >= share) homeless.push(unit);
    else {
      owners[unit] = owner;
      load.set(owner, has + 1);
    }
  }
  for (const unit of homeless) {
    const [least] = [...load].sort(([a, loadA], [b, loadB]) => loadA - loadB || (a < b ? -1 : 1));
    if (least === undefined) break;
    owners[unit] = least[0];
    load.set(least[0], least[1] + 1);
  }
  return owners;
}
